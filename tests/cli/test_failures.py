"""A failure is one sentence on stderr and a non-zero exit code; a traceback is for our own bugs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from core.errors import RagVisionError
from ragvision_app.cli import commands
from tests.cli.conftest import ROOT, shell

COMMANDS = ["run", "import", "predict", "export", "import-labels", "doctor", "bench", "demo"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_an_example(call, command):
    done = call(command, "--help")
    assert done.code == 0 and f"python -m ragvision_app {command}" in done.out and "Example" in done.out


def test_help_lists_the_commands_but_not_the_hidden_ones(call):
    done = call("--help")
    assert done.code == 0 and all(command in done.out for command in COMMANDS)
    assert "demo-check" not in done.out and "healthcheck" not in done.out


def test_nothing_but_help_is_loaded_for_help():
    code = (
        "import sys; from ragvision_app.cli.commands import main; main(['predict', '--help']);"
        "print([m for m in ('numpy', 'PIL', 'torch', 'onnxruntime', 'streamlit', 'fastapi') if m in sys.modules],"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "missing-folder", "--project", "{tmp}/p"],
        ["import", "{tmp}/empty", "--project", "{tmp}/p"],
        ["predict", "--support", "missing", "--queries", "{tmp}/empty", "--out", "{tmp}/x"],
        ["predict", "--support", "{tmp}/empty", "--queries", "{tmp}/empty", "--out", "{tmp}/x"],
        ["export", "--format", "csv", "--out", "{tmp}/x.csv", "--project", "{tmp}/missing"],
        ["import-labels", "{tmp}/missing.csv", "--project", "{tmp}/missing"],
        ["demo-check", "--project", "{tmp}/missing"],
        ["demo", "--project", "{tmp}/full"],
        ["run", "--images", "{tmp}/missing"],
        ["run", "--images", "{tmp}/empty", "--demo"],
        ["healthcheck", "--port", "1"],
    ],
    ids=lambda a: "-".join(a[:2]).replace("{tmp}/", ""),
)
def test_a_failure_is_one_sentence_and_exit_code_1(call, tmp_path, arguments):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    done = call(*[a.replace("{tmp}", str(tmp_path)) for a in arguments])
    assert done.code == 1
    assert done.err.startswith("Error: ") and done.err.strip().count("\n") == 0, done.err
    assert done.err.strip().endswith(".") and "Traceback" not in done.err


@pytest.mark.parametrize("arguments", [["fly"], ["predict"], ["export", "--format", "xml", "--out", "x"]])
def test_a_usage_error_is_exit_code_2(call, arguments):
    done = call(*arguments)
    assert done.code == 2 and done.err and "Traceback" not in done.err


def test_a_failure_of_the_core_never_shows_a_traceback(call, monkeypatch):
    def fail(*_args, **_kwargs):
        raise RagVisionError("The [red]lamp[/] is out. Change it.")

    monkeypatch.setattr("ragvision_app.cli.doctor.python_version", fail)
    done = call("doctor")
    assert done.code == 1 and done.err == "Error: The [red]lamp[/] is out. Change it.\n"


def test_a_full_disk_is_a_sentence(call, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ragvision_app.cli.doctor.python_version", fail)
    done = call("doctor")
    assert done.code == 1 and done.err == "Error: No space left on device.\n"


def test_a_bug_of_ours_is_not_hidden(monkeypatch):
    def fail(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr("ragvision_app.cli.doctor.python_version", fail)
    with pytest.raises(ZeroDivisionError):
        commands.main(["doctor"])


def test_a_reader_that_leaves_early_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [sys.executable, "-m", "ragvision_app", "doctor", "--json"],
        cwd=ROOT,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err and "Exception ignored" not in err


def test_an_unwritable_output_names_the_place(call, examples, photos):
    done = call("predict", "--support", examples, "--queries", photos, "--out", "/proc/nothing/p.jsonl")
    assert done.code == 1 and "/proc/nothing" in done.err and "Traceback" not in done.err


def test_the_module_runs_from_a_shell():
    done = shell("--help")
    assert done.returncode == 0 and "Usage: python -m ragvision_app" in done.stdout

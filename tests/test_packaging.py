"""What a stranger gets from a clone: pinned requirements, a Makefile and an image that agree, helpful failures."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"([\w.-]+)(?:\[\w+\])?==(\S+)\s+# \S.*")


def requirements(name: str) -> dict[str, str]:
    lines = [line.strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith(("#", "-r "))]
    unclear = [line for line in lines if not PIN.fullmatch(line)]
    assert unclear == [], "every requirement is pinned and says what it is for"
    return {PIN.fullmatch(line)[1].lower(): PIN.fullmatch(line)[2] for line in lines}


def third_party_imports(*folders: str) -> set[str]:
    found = set()
    for folder in folders:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    found.add((node.module or "").split(".")[0])
    return found - sys.stdlib_module_names - {"core", "ragvision_app", "pages", "tests", "conftest"}


def distributions(modules: set[str]) -> set[str]:
    known = packages_distributions()
    return {known.get(module, [module])[0].lower() for module in modules}


def make(*arguments: str) -> str:
    done = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def stub(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def script(name: str, *arguments: str, path: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": path, "HOME": os.environ.get("HOME", "/"), **environment}
    return subprocess.run(
        ["/bin/sh", ROOT / "scripts" / name, *arguments], env=env, capture_output=True, text=True, check=False
    )


# --------------------------------------------------------------------------- requirements
def test_every_package_that_the_workbench_imports_is_pinned():
    used = distributions(third_party_imports("core", "pages", "ragvision_app"))
    # these are parts of streamlit, fastapi, pydantic and transformers, which pin them
    # bench and evaluation import playwright and the data sets, inside the functions that need them
    development = set(requirements("requirements-dev.txt"))
    parts = {"starlette", "anyio", "pydantic_core", "huggingface_hub", "jinja2", "tokenizers"}
    assert used - set(requirements("requirements.txt")) - development - parts == set()


def test_what_only_development_needs_is_imported_inside_functions_only():
    """A workbench installed from requirements.txt alone has to start."""
    pinned = requirements("requirements-dev.txt").keys() | requirements("requirements-demo.txt")
    pinned -= requirements("requirements.txt").keys()
    known = packages_distributions()
    found = []
    for folder in ("core", "pages", "ragvision_app"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                names = []
                if isinstance(node, ast.Import):
                    names = [a.name for a in node.names]
                elif isinstance(node, ast.ImportFrom):
                    names = [node.module or ""]
                for name in names:
                    if known.get(name.split(".")[0], [""])[0].lower() in pinned:
                        found.append(f"{path.relative_to(ROOT)}:{node.lineno} imports {name}")
    assert found == []


def test_the_demos_package_is_a_requirement_of_the_demo_alone():
    assert list(requirements("requirements-demo.txt")) == ["elpv-dataset"]
    assert "elpv-dataset" not in requirements("requirements.txt")


def test_torch_is_pinned_exactly_and_torchvision_left_out():
    assert requirements("requirements.txt")["torch"] == "2.13.0"
    assert not any("torchvision" in requirements(f"requirements{kind}.txt") for kind in ("", "-dev", "-demo"))


# --------------------------------------------------------------------------- make and the image
def test_make_run_starts_the_demo_unless_images_or_a_project_are_named():
    assert '--port "8501" --demo' in make("run")
    own = make("run", "IMAGES=my photos")
    assert '--images "my photos"' in own and "--demo" not in own and "requirements-demo" not in own
    assert '--project "cells"' in make("run", "PROJECT=cells", "PORT=8600") and "--demo" not in make(
        "run", "PROJECT=cells"
    )


def test_setup_installs_nothing_a_second_time(tmp_path):
    venv = tmp_path / "venv"
    venv.mkdir()
    for stamp in (".made", ".base-installed", ".demo-installed", ".dev-installed"):
        (venv / stamp).touch()
    assert "pip install" not in make("setup", f"VENV={venv}")
    assert "pip install" not in make("run", f"VENV={venv}")


def test_setup_installs_again_when_a_requirement_changed(tmp_path):
    venv = tmp_path / "venv"
    venv.mkdir()
    for stamp in (".made", ".base-installed"):
        (venv / stamp).touch()
        os.utime(venv / stamp, (1, 1))
    assert "requirements.txt" in make("setup", f"VENV={venv}")


def test_ci_runs_what_a_developer_runs():
    assert "make test" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    planned = make("test")
    for tool in ("ruff check", "ruff format --check", "mypy", "hadolint Dockerfile", "pytest", "find-chromium"):
        assert tool in planned


def test_the_image_does_what_make_run_does():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "requirements.txt" in dockerfile and "requirements-demo.txt" in dockerfile
    assert 'ENTRYPOINT ["python", "-m", "ragvision_app"]' in dockerfile
    assert 'CMD ["run", "--host", "0.0.0.0", "--demo"]' in dockerfile
    assert "python -m ragvision_app run" in make("run").replace(".venv/bin/", "")


def test_the_image_is_not_run_by_root_and_keeps_the_project_on_a_volume():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    user = re.search(r"^USER (\d+)$", dockerfile, re.MULTILINE)
    assert user is not None and int(user[1]) > 0
    assert re.search(r"^VOLUME /data$", dockerfile, re.MULTILINE) and "RAGVISION_PROJECT=/data/" in dockerfile
    assert "HEALTHCHECK" in dockerfile and "EXPOSE 7860" in dockerfile


def test_no_project_gets_into_the_image():
    """What the build sees is named one by one, so that a folder of photographs never slips in."""
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [rule for rule in rules if rule and not rule.startswith("#")]
    assert rules[0] == "*" and "data/projects" in rules[rules.index("!data") :]
    for needed in ("core", "pages", "ragvision_app", ".streamlit", "requirements.txt", "requirements-demo.txt"):
        assert f"!{needed}" in rules and (ROOT / needed).exists()


def test_what_the_image_is_built_from_is_enough_to_start(tmp_path):
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name in (rule[1:] for rule in rules if rule.startswith("!")):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "projects"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    code = (
        "from pathlib import Path; from core.workbench import Workbench; from ragvision_app.asgi import create_app;"
        "from ragvision_app.demo import choose, recipe, truth;"
        "create_app(Workbench.open(Path('project')), token='t');"
        "print(choose(truth()).sha256 == recipe()['choice_sha256'])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr


# --------------------------------------------------------------------------- the scripts' failures
@pytest.fixture
def tools(tmp_path):
    """A PATH with the few tools that the scripts use, and nothing else; tests add to it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("grep", "cat"):
        stub(folder, name, f'exec /usr/bin/env -i PATH=/usr/bin:/bin {name} "$@"')
    stub(folder, "id", "echo 1000")
    return folder


def test_setup_names_the_package_that_debian_splits_off(tools, tmp_path):
    stub(tools, "python3", f'case "$2" in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"')
    done = script("make-venv", str(tmp_path / "venv"), path=str(tools))
    assert done.returncode == 1
    assert f"sudo apt-get install python3.{sys.version_info[1]}-venv" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_setup_says_which_python_is_needed(tools, tmp_path):
    stub(tools, "python3", "exit 1")
    done = script("make-venv", str(tmp_path / "venv"), path=str(tools))
    assert done.returncode == 1 and "Python 3.11" in done.stderr


def test_a_missing_browser_is_a_failure_with_a_sentence_not_a_skip(tools):
    stub(tools, "python", "exit 1")
    done = script("find-chromium", str(tools / "python"), path=str(tools))
    assert done.returncode == 1
    assert (
        done.stdout == "" and "There is no Chromium" in done.stderr and "sudo apt-get install chromium" in done.stderr
    )


def test_a_browser_that_does_not_start_is_passed_over(tools):
    stub(tools, "chromium", "exit 127")
    stub(tools, "google-chrome", "echo Chrome 1")
    done = script("find-chromium", "python-that-is-not-there", path=str(tools))
    assert done.returncode == 0 and done.stdout.strip() == str(tools / "google-chrome")

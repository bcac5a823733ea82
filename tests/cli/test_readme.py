"""The README is held to what it says: files that it links, commands that it shows, and its encoder in ten lines."""

from __future__ import annotations

import json
import re
import sys

import pytest

from core import encoders
from ragvision_app.cli.commands import app
from tests.cli.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_linked_file_is_there():
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)\)", README)
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_every_link_within_the_page_has_its_heading():
    headings = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.+)$", README, re.M)}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= headings


def test_every_command_that_is_shown_exists_and_none_is_left_out():
    groups = {group.typer_instance.info.name for group in app.registered_groups if group.typer_instance}
    known = {command.name for command in app.registered_commands} | groups
    shown = set(re.findall(r"python -m ragvision_app ([a-z][a-z-]+)", README))
    listed = set(re.findall(r"^\| `([a-z-]+)[ `]", README, re.M))
    public = {command.name for command in app.registered_commands if not command.hidden} | groups
    assert shown <= known and listed == public


def test_the_first_screen_names_both_commands_and_the_demos_licence():
    start = README[: README.index("## The keys")]
    assert "make run" in start and "make test" in start and "CC BY-NC-SA 4.0" in start and "evaluation only" in start


def test_the_encoder_in_the_readme_works_as_it_stands(call, tmp_path, monkeypatch, examples, photos):
    code = re.search(r"```python\n(# core/encoders/colour_grid\.py.*?)```", README, re.S)
    (tmp_path / "encoders").mkdir()
    (tmp_path / "encoders" / "colour_grid.py").write_text(code[1], encoding="utf-8")
    monkeypatch.setattr(encoders, "__path__", [*encoders.__path__, str(tmp_path / "encoders")])
    try:
        out = tmp_path / "colours.jsonl"
        done = call("predict", "--encoder", "colour-grid", "--support", examples, "--queries", photos, "--out", out)
    finally:
        sys.modules.pop("core.encoders.colour_grid", None)
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    lines = [line for line in lines if line["status"] == "ok"]
    assert lines and lines[0]["encoder"].startswith("colour-grid")
    for line in lines:
        parts = line["contributions"]
        total = sum(map(sum, parts["values"])) + parts["whole"] + parts["constant"]
        assert total == pytest.approx(line["logits"][line["flag"]] - line["logits"][line["runner_up"]], abs=1e-4)

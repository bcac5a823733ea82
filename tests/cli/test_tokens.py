"""``token``: shown once, listed without its secret, and ended for good."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest

from core.workbench import Workbench


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "cells"
    Workbench.open(root).close()
    return root


@pytest.mark.parametrize("command", ["create", "list", "revoke"])
def test_help_of_every_command_shows_an_example(call, command):
    done = call("token", command, "--help")
    assert done.code == 0 and f"python -m ragvision_app token {command}" in done.out and "Example" in done.out


def test_the_token_is_alone_on_stdout_and_never_shown_again(call, project):
    made = call("token", "create", "night batch", "--scope", "read", "--expires", 30, "--project", project)
    token = made.out.strip()
    assert made.code == 0 and re.fullmatch(r"rvw_[\w-]{43}", token) and token not in made.err
    assert "“night batch”, scope read, until 20" in made.err
    listed = call("token", "list", "--project", project)
    assert re.search(r"1 +night batch +read +active", listed.out) and token[4:] not in listed.out + listed.err
    rows = sqlite3.connect(project / "labels.db").execute("SELECT * FROM tokens").fetchall()
    assert len(rows) == 1 and not any(token[4:] in str(value) for value in rows[0])


def test_a_revoked_token_stays_in_the_list_as_revoked(call, project):
    call("token", "create", "ada", "--project", project)
    assert (
        call("token", "revoke", 1, "--project", project).out == "Token 1 “ada” is revoked; it opens nothing any more.\n"
    )
    again = call("token", "revoke", 1, "--project", project)
    assert again.code == 0
    assert re.search(r"1 +ada +label +revoked", call("token", "list", "--project", project).out)


def test_an_empty_list_says_how_a_token_is_made(call, project):
    assert "token create" in call("token", "list", "--project", project).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "a", "--scope", "root"], "There are: read, label, admin"),
        (["create", " "], "name is empty"),
        (["create", "a\x1b[1mb"], "control character U+001B"),
        (["create", "a", "--expires", "0"], "1 to 3650 days"),
        (["create", "a", "--expires", "99999999"], "1 to 3650 days"),
        (["revoke", "7"], "no token 7"),
        (["revoke", "--", "-1"], "at least 1"),
        (["revoke", "99999999999999999999"], "must be a whole number"),
    ],
)
def test_what_cannot_be_is_one_sentence(call, project, arguments, said):
    done = call("token", arguments[0], "--project", project, *arguments[1:])
    assert done.code == 1 and said in done.err and "Traceback" not in done.err and "\x1b[1m" not in done.err


def test_a_name_is_text_not_markup(call, project):
    call("token", "create", "[red]x[/red]", "--project", project)
    assert "[red]x[/red]" in call("token", "list", "--project", project).out


def test_a_project_that_is_not_there_is_not_made(call, tmp_path):
    done = call("token", "create", "ada", "--project", tmp_path / "missing")
    assert done.code == 1 and not (tmp_path / "missing").exists()

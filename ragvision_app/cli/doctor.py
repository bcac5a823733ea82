"""``doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

import json as json_
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

import typer

from core.errors import ProjectError
from ragvision_app.cli.console import complain, out, say
from ragvision_app.cli.options import ProjectOption, workbench_at
from ragvision_app.projects import ROOT, place

Finding = tuple[str, bool | None, str]  # what was checked; fine, or None for a warning; a sentence


def doctor(
    project: ProjectOption,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:
    """Say what is wrong with the environment or the project, and what to do.

    It checks the Python and its packages, the SQLite library, the labels against a rebuild from the events, and the
    files against the database. Exit code 1 when something is wrong; warnings alone leave it at 0.

    [bold]Example[/]

    python -m ragvision_app doctor --project data/projects/cells
    """
    findings = [python_version(), *pinned_versions(ROOT / "requirements.txt"), *project_findings(project)]
    if json:
        rows = [{"name": name, "ok": ok, "sentence": sentence} for name, ok, sentence in findings]
        say(json_.dumps(rows, ensure_ascii=False, indent=2))
    else:
        for name, ok, sentence in findings:
            mark = {True: "[green]ok     [/]", None: "[yellow]warning[/]", False: "[red]wrong  [/]"}[ok]
            out.print(mark, end=" ")
            out.print(f"{name}: {sentence}", markup=False)
    wrong = sum(ok is False for _, ok, _ in findings)
    if wrong:
        complain(f"{wrong} of {len(findings)} checks failed.")
        raise typer.Exit(1)


def python_version() -> Finding:
    """Whether this Python is new enough."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - a doctor has to look at the patient that is there
        return "Python", False, f"{found} is too old; 3.11 or newer is needed."
    return "Python", True, f"{found} in {place(Path(sys.prefix))}"


def pinned_versions(requirements: Path) -> Iterator[Finding]:
    """Whether the installed packages are the pinned ones, which are those that were tested together."""
    pins = re.findall(r"^([\w.-]+)==(\S+)", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    other: list[str] = []
    missing: list[str] = []
    for name, pinned in pins:
        try:
            found = version(name).split("+")[0]  # 2.13.0+cpu is 2.13.0 for one kind of machine
        except PackageNotFoundError:
            missing.append(name)
            continue
        if found != pinned:
            other.append(f"{name} {found} instead of {pinned}")
    if missing:
        yield "packages", False, f"not installed: {', '.join(missing)}. Run `make setup`."
    if other:
        yield "packages", None, f"{'; '.join(other)}. `make setup` installs what was tested."
    if not (missing or other):
        yield "packages", True, f"all {len(pins)} as pinned"


def project_findings(project: Path) -> Iterator[Finding]:
    """What the project's own checks say; a project that is not there is a warning, one that is broken is wrong."""
    if not project.exists():
        yield "project", None, f"there is no project at {place(project)} yet."
        return
    try:
        with workbench_at(project, create=False) as workbench:
            yield "project", True, place(project)
            for check in workbench.doctor():
                yield check.name, check.ok, check.sentence
    except ProjectError as error:
        yield "project", False, str(error)

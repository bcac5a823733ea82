"""``export`` and ``import-labels``: what people decided, out of a project and into another."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ragvision_app.cli.console import say
from ragvision_app.cli.options import ProjectOption, workbench_at


class Format(StrEnum):
    """Export formats."""

    CSV = "csv"
    JSONL = "jsonl"
    FOLDER = "folder"


def export(
    format: Annotated[Format, typer.Option("--format", help="csv and jsonl are files, folder a tree of images.")],
    out: Annotated[Path, typer.Option("--out", metavar="PATH", help="File or folder to write.", show_default=False)],
    project: ProjectOption,
    link: Annotated[
        bool, typer.Option("--link", help="folder: hard links instead of copies, where the disk allows.")
    ] = False,
) -> None:
    """Write the labels with their provenance.

    [bold]Examples[/]

    python -m ragvision_app export --format csv --out labels.csv

    python -m ragvision_app export --format folder --out labelled --project data/projects/cells
    """
    with workbench_at(project, create=False) as workbench:
        report = workbench.export(format.value, out, link=link)
    say(str(report))


def import_labels(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A CSV or JSONL file, or a folder, that export wrote.")],
    project: ProjectOption,
) -> None:
    """Take over labels that were exported elsewhere; images are matched by their content.

    [bold]Example[/]

    python -m ragvision_app import-labels labels.csv --project data/projects/cells
    """
    with workbench_at(project, create=False) as workbench:
        report = workbench.import_labels(path)
    say(str(report))

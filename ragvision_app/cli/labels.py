"""``export`` and ``import-labels``: what people decided, out of a project and into another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ragvision_app.cli.console import say
from ragvision_app.cli.options import NamedProjectOption, workbench_at
from ragvision_app.projects import named_or_demo, place


def known_format(name: str) -> str:
    """The name of an export format, or a usage error that lists those there are."""
    from core import exports
    from core.ports import adapter_names

    known = adapter_names(exports)
    if name not in known:
        raise typer.BadParameter(f"there is no format “{name}”. There are: {', '.join(known)}.")
    return name


def export(
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="csv|jsonl|folder",
            help="csv and jsonl are files, folder a tree of images.",
            show_default=False,
            callback=known_format,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="PATH",
            help="File or folder to write; - is stdout. A file is replaced, a folder has to be new or empty.",
            show_default=False,
        ),
    ],
    project: NamedProjectOption = None,
    link: Annotated[
        bool, typer.Option("--link", help="folder: hard links instead of copies, where the disk allows.")
    ] = False,
) -> None:
    """Write the labels with their provenance.

    [bold]Examples[/]

    python -m ragvision_app export --format csv --out labels.csv

    python -m ragvision_app export --format jsonl --out - | jq .class_name

    python -m ragvision_app export --format folder --out labelled --project data/projects/cells
    """
    project = named_or_demo(project)
    with workbench_at(project, create=False) as workbench:
        if str(out) == "-":
            workbench.write_export(format, sys.stdout)
            sys.stdout.flush()
            return
        replaced = out.is_file()
        report = workbench.export(format, out, link=link)
    say(str(report))
    if replaced:
        say("The file that was there is replaced.")
    say(f"Project: {place(project)}")


def import_labels(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A CSV or JSONL file, or a folder, that export wrote.")],
    project: NamedProjectOption = None,
) -> None:
    """Take over labels that were exported elsewhere; images are matched by their content.

    Of the suggestion behind a label the class comes along, and whether it was shown; the numbers, the encoder and the
    recipe stay in the file.

    [bold]Example[/]

    python -m ragvision_app import-labels labels.csv --project data/projects/cells
    """
    project = named_or_demo(project)
    with workbench_at(project, create=False) as workbench:
        report = workbench.import_labels(path)
    say(str(report))
    if report.added:
        say("The suggested classes came along; their probabilities, encoder and recipe stay in the file.")
    say(f"Project: {place(project)}")

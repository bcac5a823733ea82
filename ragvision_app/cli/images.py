"""``import``: images, or examples, into a project."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from core.errors import ImportFailed
from ragvision_app.cli.console import listed, progress_bar, say
from ragvision_app.cli.options import ProjectOption, workbench_at


def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH…", help="Folders (with sub-folders), zips, image files.", show_default=False),
    ],
    project: ProjectOption,
    as_support: Annotated[
        bool, typer.Option("--as-support", help="Examples: each sub-folder's name is a class.")
    ] = False,
) -> None:
    """Bring images into a project; every image is stored once, whatever it is called.

    [bold]Examples[/]

    python -m ragvision_app import photos more.zip --project data/projects/cells

    python -m ragvision_app import examples --as-support --project data/projects/cells
    """
    bring_in(paths, project, as_support=as_support)


def bring_in(paths: Sequence[Path], project: Path, *, as_support: bool = False) -> None:
    """Imports with a progress bar and says what became of every file; ImportFailed where nothing could be used."""
    from core.imports import sources_for

    usable = 0
    with workbench_at(project, create=True) as workbench:
        if as_support:
            for path in paths:
                with progress_bar(f"Importing {path.name}") as bar:
                    support = workbench.import_support(path, by="import", on_progress=bar)
                say(f"{path}: {support.summary()}")
                for name, count in support.classes.items():
                    say(f"  {name}: {count} examples")
                listed("Refused:", ((r.name, r.reason) for r in support.refused))
                usable += len(support.added) + len(support.duplicates)
        else:
            with progress_bar("Importing") as bar:
                report = workbench.import_images(sources_for(paths), on_progress=bar)
            say(report.summary())
            listed("Duplicates, stored once:", ((d.name, f"the same as {d.first}") for d in report.duplicates), limit=5)
            listed("Refused:", ((r.name, r.reason) for r in report.refused))
            usable = len(report.added) + len(report.duplicates)
    if not usable:
        raise ImportFailed("None of the files could be used.")

"""``import``: images, or examples, into a project."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from core.errors import ImportFailed
from ragvision_app.cli.console import listed, progress_bar, say, warn
from ragvision_app.cli.options import NamedProjectOption, workbench_at
from ragvision_app.projects import named_or_demo, place, removed_if_empty

if TYPE_CHECKING:
    from core.imports import ImportReport


def import_(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH…", help="Folders (with sub-folders), zips, image files.", show_default=False),
    ],
    project: NamedProjectOption = None,
    as_support: Annotated[
        bool, typer.Option("--as-support", help="Examples: each sub-folder's name is a class.")
    ] = False,
) -> None:
    """Bring images into a project; every image is stored once, whatever it is called.

    [bold]Examples[/]

    python -m ragvision_app import photos more.zip --project data/projects/cells

    python -m ragvision_app import examples --as-support --project data/projects/cells
    """
    project = named_or_demo(project)
    with removed_if_empty(project):
        bring_in(paths, project, as_support=as_support)
    say(f"Project: {place(project)}")


def bring_in(paths: Sequence[Path], project: Path, *, as_support: bool = False) -> None:
    """Imports with a progress bar and says what became of every file; ImportFailed where nothing could be used.

    What cannot be read as a whole is found out before the project is opened, or made.
    """
    from core.imports import sources_for

    reports: list[ImportReport] = []
    with ExitStack() as stack:
        sources = [stack.enter_context(source) for source in sources_for(paths)]
        workbench = stack.enter_context(workbench_at(project, create=True))
        if as_support:
            for path in paths:
                with progress_bar(f"Importing {path.name}") as bar:
                    support = workbench.import_support(path, by="import", on_progress=bar)
                say(f"{path}: {support.summary()}")
                for name, count in support.classes.items():
                    say(f"  {name}: {count:,} example{'' if count == 1 else 's'}")
                _tell(support)
                reports.append(support)
        else:
            with progress_bar("Importing") as bar:
                report = workbench.import_images(sources, on_progress=bar)
            say(report.summary())
            listed("Duplicates, stored once:", ((d.name, f"the same as {d.first}") for d in report.duplicates), limit=5)
            _tell(report)
            reports.append(report)
    if not any(True for report in reports for _ in report.accepted):
        raise ImportFailed("None of the files could be used.")


def _tell(report: ImportReport) -> None:
    """What was not taken in, by name."""
    from core.imports import zips_inside

    listed("Refused:", ((r.name, r.reason) for r in report.refused))
    if report.archives:
        warn(zips_inside(report.archives))

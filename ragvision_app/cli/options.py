"""Options that several commands share, and the workbench of the project that a command means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ragvision_app.projects import DEMO_PROJECT

if TYPE_CHECKING:
    from core.workbench import Workbench

ProjectOption = Annotated[
    Path,
    typer.Option(
        "--project",
        metavar="DIR",
        envvar="RAGVISION_PROJECT",
        help="Project folder; without it, the demo's.",
        show_default=False,
        default_factory=lambda: DEMO_PROJECT,
    ),
]

NamedProjectOption = Annotated[
    Path | None,
    typer.Option(
        "--project",
        metavar="DIR",
        envvar="RAGVISION_PROJECT",
        help="Project folder; without it, the demo's if there is one.",
        show_default=False,
    ),
]


@contextmanager
def workbench_at(project: Path, *, create: bool) -> Iterator[Workbench]:
    """The project's workbench, closed at the end; without ``create`` a missing one is a ProjectError."""
    from core.workbench import Workbench

    workbench = Workbench.open(project, create=create)
    try:
        yield workbench
    finally:
        workbench.close()

"""``demo`` makes the demo project; the hidden ``demo-check`` says what its labels are worth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from ragvision_app.cli.console import progress_bar, say, show_table, warn
from ragvision_app.cli.options import ProjectOption
from ragvision_app.projects import place

if TYPE_CHECKING:
    from ragvision_app.demo import Worth


def demo(project: ProjectOption) -> None:
    """Make the demo project: real photographs of solar cells.

    [bold]Example[/]

    python -m ragvision_app demo --project data/projects/my-demo
    """
    make_demo(project)
    say(f"The demo is in {place(project)}. Start it with: python -m ragvision_app run --project {place(project)}")


def make_demo(project: Path) -> None:
    """Creates the demo with a progress bar."""
    from ragvision_app.demo import create_demo

    with progress_bar("Making the demo project") as bar:
        create_demo(project, on_progress=bar)


def demo_check(project: ProjectOption) -> None:
    """Compare the demo's labels and suggestions with the truth, which the project never saw."""
    from ragvision_app.demo import check_demo

    report = check_demo(project)
    table = Table("", "images", "right", "accuracy", "balanced", box=None, pad_edge=False)
    for annotator, worth in report.labels.items():
        table.add_row(f"labels of {annotator}", *_cells(worth))
    table.add_row("suggestions, all", *_cells(report.suggestions))
    if report.labels:
        table.add_row("suggestions, where labelled", *_cells(report.suggestions_where_labelled))
    show_table(table)
    if not report.labels:
        warn("Nothing is labelled yet.")
    if not report.suggestions.answered:
        warn("There are no suggestions yet: start the workbench once and let it compute them.")


def _cells(worth: Worth) -> tuple[str, str, str, str]:
    if not worth.answered:
        return "0", "–", "–", "–"
    return str(worth.answered), str(worth.right), f"{worth.accuracy:.1%}", f"{worth.balanced_accuracy:.1%}"

"""What the commands say and how: results on stdout, everything else on stderr."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from core.text import printable

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def _safe(sentence: str) -> str:
    """A sentence that names files as they are called, without what would steer the terminal."""
    return escape(printable(sentence, keep="\n\t"))


def complain(sentence: str) -> None:
    """One error sentence on stderr."""
    err.print(f"[bold red]Error:[/] {_safe(sentence)}")


def warn(sentence: str) -> None:
    """One warning on stderr; the command goes on."""
    err.print(f"[yellow]Note:[/] {_safe(sentence)}")


def say(sentence: str) -> None:
    """One line on stdout, taken literally."""
    out.print(_safe(sentence))


def show_table(table: Table) -> None:
    """A table on stdout, as wide as it needs where that is no terminal: a pipe has no width to cut it at."""
    (out if out.is_terminal else Console(highlight=False, width=1000)).print(table)


class Bar:
    """A bar with count and time left. Call it with (done, total): the signature of ``on_progress``."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, task

    def __call__(self, done: int, total: int | None = None, *_: object) -> None:
        self._progress.update(self._task, completed=done, total=total)


@contextmanager
def progress_bar(title: str, total: int | None = None) -> Iterator[Bar]:
    """A progress bar on stderr, gone when the work is done; none where stderr is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("·"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        yield Bar(progress, progress.add_task(escape(title), total=total))


def listed(title: str, rows: Iterable[tuple[str, str]], limit: int = 20) -> None:
    """Names with a reason each, on stderr; the first ``limit`` and how many more."""
    rows = list(rows)
    if not rows:
        return
    warn(title)
    for name, reason in rows[:limit]:
        err.print(f"  {escape(printable(name))}: {_safe(reason)}")
    if len(rows) > limit:
        err.print(f"  and {len(rows) - limit} more")

"""What an export wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from core.errors import ProjectError
from core.exports._rows import LabelRow
from core.files import open_atomic
from core.text import quoted


@dataclass(frozen=True, slots=True)
class ExportReport:
    """``labels`` rows written to ``path``; ``images`` files beside them (folder export only).

    ``left_out`` counts labelled images that are in no class folder, since their annotators disagree. ``states``
    counts the rows by state; without it all are taken for labelled.
    """

    path: Path
    labels: int
    images: int = 0
    left_out: int = 0
    states: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        others = {state: count for state, count in self.states.items() if state != "labelled"}
        labels = self.labels - sum(others.values())
        text = f"{labels:,} label{'' if labels == 1 else 's'}"
        if others:
            text += f" (and {', '.join(f'{count:,} {state}' for state, count in sorted(others.items()))})"
        text += f" written to {quoted(self.path.absolute())}"
        if self.images:
            text += f", with {self.images:,} image{'' if self.images == 1 else 's'}"
        if self.left_out:
            text += f"; {self.left_out:,} on which annotators disagree lie in no class folder"
        return f"{text}."


@dataclass(slots=True)
class Tally:
    """Rows as they come, counted by state on their way."""

    rows: Iterable[LabelRow]
    states: Counter[str] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[LabelRow]:
        for row in self.rows:
            self.states[row.state] += 1
            yield row


def write_file(
    rows: Iterable[LabelRow], out: Path, write: Callable[[Iterable[LabelRow], IO[str]], int]
) -> ExportReport:
    """An export that is one file, written by ``write`` whole or not at all. Raises :class:`ProjectError`."""
    tally = Tally(rows)
    try:
        with open_atomic(out) as file:
            count = write(tally, file)
    except OSError as error:
        raise cannot_write(out, error) from error
    return ExportReport(out, count, states=tally.states)


def cannot_write(out: Path, error: OSError) -> ProjectError:
    """The sentence for a disk that refuses."""
    return ProjectError(
        f"The export to {quoted(out)} failed: {error.strerror or error}. Nothing was left there; choose another "
        "place, or make room."
    )

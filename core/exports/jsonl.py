"""JSON Lines (UTF-8): one object a label, keys as the columns of the CSV, nothing escaped or guarded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO

from core.exports._report import ExportReport, Tally, cannot_write
from core.exports._rows import LabelRow
from core.files import open_atomic
from core.project import Project
from core.text import json_line

MEDIA_TYPE = "application/x-ndjson"


def export(rows: Iterable[LabelRow], out: Path, *, project: Project | None = None, link: bool = False) -> ExportReport:
    """Write ``out`` whole or not at all, over what was there. Raises :class:`ProjectError`."""
    tally = Tally(rows)
    try:
        with open_atomic(out) as file:
            count = write(tally, file)
    except OSError as error:
        raise cannot_write(out, error) from error
    return ExportReport(out, count, states=tally.states)


def write(rows: Iterable[LabelRow], file: IO[str]) -> int:
    """Write to an open text file; the number of rows."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the count is what is returned
        file.write(json_line(row.to_dict()))
    return count

"""JSON Lines (UTF-8): one object a label, keys as the columns of the CSV, nothing escaped or guarded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO

from core.exports._report import ExportReport, write_file
from core.exports._rows import LabelRow
from core.project import Project
from core.text import json_line

MEDIA_TYPE = "application/x-ndjson"


def export(rows: Iterable[LabelRow], out: Path, *, project: Project | None = None, link: bool = False) -> ExportReport:
    """Write ``out`` whole or not at all, over what was there. Raises :class:`ProjectError`."""
    return write_file(rows, out, write)


def write(rows: Iterable[LabelRow], file: IO[str]) -> int:
    """Write to an open text file; the number of rows."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the count is what is returned
        file.write(json_line(row.to_dict()))
    return count

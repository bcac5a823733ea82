"""CSV (RFC 4180, UTF-8): one row a label, a header, line ends ``\\r\\n``.

Names and notes are other people's text, and a spreadsheet would run ``=HYPERLINK(…)``. So a text that
begins with ``= + - @``, a tab, a line end or an apostrophe gets one apostrophe in front; to read it back,
take one leading apostrophe away (:func:`unguarded`). Numbers are never touched; an empty cell is None.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

from core.exports._report import ExportReport, write_file
from core.exports._rows import COLUMNS, LabelRow
from core.project import Project

MEDIA_TYPE = "text/csv; charset=utf-8"
_RISKY = tuple("=+-@\t\r\n'＝＋－＠")


def export(rows: Iterable[LabelRow], out: Path, *, project: Project | None = None, link: bool = False) -> ExportReport:
    """Write ``out`` whole or not at all, over what was there. Raises :class:`ProjectError`."""
    return write_file(rows, out, write)


def write(rows: Iterable[LabelRow], file: IO[str]) -> int:
    """Write to an open text file (opened with ``newline=""``); the number of rows."""
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - the count is what is returned
        writer.writerow([_cell(value) for value in row.to_dict().values()])
    return count


def guarded(text: str) -> str:
    """``text`` as no spreadsheet takes it for a formula."""
    return f"'{text}" if text.startswith(_RISKY) else text


def unguarded(text: str) -> str:
    """The inverse of :func:`guarded`."""
    return text.removeprefix("'")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return guarded(value) if isinstance(value, str) else repr(value)

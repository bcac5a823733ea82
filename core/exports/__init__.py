"""Export formats. One file a format, found by its name: it defines ``export(rows, out, *, project, link)``."""

from __future__ import annotations

from core.exports._report import ExportReport
from core.exports._rows import COLUMNS, LabelRow, label_rows

__all__ = ["COLUMNS", "ExportReport", "LabelRow", "label_rows"]

"""Exports as the Export page offers them. Plain functions."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InvalidInput
from core.exports import label_rows

if TYPE_CHECKING:
    from core.exports import ExportReport
    from core.imports.labels import LabelImport
    from core.workbench import Workbench

PREVIEW_ROWS = 20
PREVIEW_COLUMNS = (
    "name", "state", "class_name", "annotator", "decided_at", "suggested_class", "suggestion_shown",
    "label_probability", "note", "conflict", "encoder", "reasoner", "recipe", "support_version",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Format:
    """One way out: its name for the core, for a person, and how it is handed over."""

    name: str
    title: str
    about: str
    ending: str = ""
    media_type: str = "application/octet-stream"

    @property
    def is_folder(self) -> bool:
        """A tree of images, made at a path on the server or packed into a zip."""
        return self.name == "folder"


FORMATS = (
    Format("csv", "CSV", "One row a label with its whole provenance; opens in a spreadsheet.", ".csv", "text/csv"),
    Format("jsonl", "JSONL", "One JSON object a label with its whole provenance.", ".jsonl", "application/jsonl"),
    Format(
        "folder",
        "Image folder",
        "One folder a class, holding the original images, and a manifest.",
        ".zip",
        "application/zip",
    ),
)


def format_named(name: str) -> Format:
    """InvalidInput lists what there is."""
    for each in FORMATS:
        if each.name == name:
            return each
    raise InvalidInput(f"There is no format called {name!r}. There are: {', '.join(f.name for f in FORMATS)}.")


def file_name(workbench: Workbench, chosen: Format) -> str:
    """``solar-cells-labels-2026-11-24.csv``"""
    return f"{workbench.project.root.name}-labels-{date.today().isoformat()}{chosen.ending}"


def preview_rows(workbench: Workbench, limit: int = PREVIEW_ROWS) -> list[dict[str, Any]]:
    """The first rows of every format, the columns that a person looks at first."""
    rows = (row.to_dict() for row in label_rows(workbench.store, limit=limit))
    return [{name: row[name] for name in PREVIEW_COLUMNS} for row in rows]


def download(workbench: Workbench, name: str) -> bytes:
    """The whole export as bytes; the folder as a zip. Raises as :meth:`Workbench.export`."""
    chosen = format_named(name)
    with _scratch() as scratch:
        if not chosen.is_folder:
            out = scratch / f"labels{chosen.ending}"
            workbench.export(name, out)
            return out.read_bytes()
        workbench.export(name, scratch / "labels")
        # Images are compressed already: packing them without another try is many times faster.
        return _store_zip(scratch / "labels", scratch / "labels.zip").read_bytes()


def export_to_path(workbench: Workbench, name: str, text: str, *, link: bool = False) -> ExportReport:
    """Writes the export where a person said, on the server's own disk."""
    chosen = format_named(name)
    typed = text.strip().strip("'\"")
    if not typed:
        raise InvalidInput("Name a path on the machine that runs the workbench.")
    out = Path(typed).expanduser()
    if not out.is_absolute():
        raise InvalidInput(f"{typed} is no absolute path. Begin with / so that there is no doubt where it goes.")
    if not chosen.is_folder:
        if out.is_dir():
            out = out / file_name(workbench, chosen)
        return workbench.export(name, out)
    return workbench.export(name, out, link=link)


def import_labels(workbench: Workbench, name: str, data: bytes) -> LabelImport:
    """Labels from an uploaded export (CSV or JSONL) into this project; the report of the core."""
    with _scratch() as scratch:
        path = scratch / f"labels{Path(name).suffix.lower()}"
        path.write_bytes(data)
        return workbench.import_labels(path)


def _store_zip(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(folder))
    return target


@contextmanager
def _scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="ragvision-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

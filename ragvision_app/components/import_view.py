"""The import report as a page shows it, and the sources a person can name. Plain functions."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from core.errors import InvalidInput
from core.imports import ImportReport, sources_for, upload_source
from ragvision_app.components.import_jobs import Progress as OnProgress
from ragvision_app.components.import_jobs import Work

if TYPE_CHECKING:
    from core.store import Progress
    from core.workbench import Workbench

LETTERS_A_LINE = 52  # in the columns of the report at the smallest window
UPLOAD_TYPES = ["jpg", "jpeg", "png", "webp", "bmp", "zip"]


def upload_work(workbench: Workbench, files: Sequence[tuple[str, IO[bytes]]]) -> Work:
    """What imports files that came through the browser."""

    def work(progress: OnProgress) -> ImportReport:
        return workbench.import_images([upload_source(files)], on_progress=progress)

    return work


def path_work(workbench: Workbench, text: str, *, as_support: bool, by: str) -> tuple[str, Work]:
    """Title and work for a path on the server, as a person typed it; InvalidInput when it leads nowhere."""
    typed = text.strip().strip("'\"")
    if not typed:
        raise InvalidInput("Name a folder, a zip or an image on the machine that runs the workbench.")
    path = Path(typed).expanduser()
    if not path.exists():
        raise InvalidInput(f"There is no {typed} on the machine that runs the workbench. Check the path.")

    def work(progress: OnProgress) -> ImportReport:
        if as_support:
            return workbench.import_support(path, by=by, on_progress=progress)
        return workbench.import_images(sources_for([path]), on_progress=progress)

    return path.name or typed, work


def refused_rows(report: ImportReport) -> list[dict[str, str]]:
    """Every refused file with its reason, sorted by name."""
    rows = [{"File": r.name, "Reason": _reason(r.name, r.reason)} for r in report.refused]
    return sorted(rows, key=lambda row: row["File"])


def row_height(rows: Sequence[dict[str, str]]) -> int:
    """Pixels in which the longest of the texts wraps without being cut."""
    longest = max((len(text) for row in rows for text in row.values()), default=0)
    return 14 + 21 * max(1, -(-longest // LETTERS_A_LINE))


def _reason(name: str, reason: str) -> str:
    """The reason without the file's name, which stands beside it."""
    short = reason.removeprefix(f"“{name}” ")
    return short[:1].upper() + short[1:]


def report_line(report: ImportReport) -> str:
    """What came of it, in one line."""
    counts = {
        "added": len(report.added),
        f"{'duplicate' if len(report.duplicates) == 1 else 'duplicates'}, stored once": len(report.duplicates),
        "refused": len(report.refused),
    }
    if report.ignored:
        counts[f"{'file' if report.ignored == 1 else 'files'} of other kinds passed over"] = report.ignored
    return " · ".join(f"**{count:,}** {what}" for what, count in counts.items())


def duplicate_rows(report: ImportReport) -> list[dict[str, str]]:
    """Every file that was there already, with the name that it is stored under."""
    rows = [{"File": d.name, "Same image as": d.first} for d in report.duplicates]
    return sorted(rows, key=lambda row: row["File"])


def report_csv(report: ImportReport) -> bytes:
    """The whole report, one file a line, for keeping."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["file", "outcome", "detail"])
    writer.writerows([_plain(a.name), "added", a.sha256] for a in report.added)
    writer.writerows([_plain(d.name), "duplicate", f"same image as {d.first}"] for d in report.duplicates)
    writer.writerows([_plain(r.name), "refused", r.reason] for r in report.refused)
    return out.getvalue().encode("utf-8-sig")


def _plain(name: str) -> str:
    """A file name that a spreadsheet does not take for a formula."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


def page_of_images(workbench: Workbench, page: int, size: int) -> list[dict[str, Any]]:
    """One page of the project's images in import order, with what each is used for."""
    records = workbench.store.images(size, page * size)
    shas = [r.sha256 for r in records]
    classes = {c.id: c for c in workbench.store.classes(include_archived=True)}
    support = {s.image: classes.get(s.class_id) for s in workbench.store.support()}
    labels = workbench.store.labels_of(shas)
    rows = []
    for record in records:
        row = {"image": record.sha256, "name": record.name, "note": "", "colour": None}
        if record.sha256 in support:
            cls = support[record.sha256]
            row |= {"note": f"support: {cls.name if cls else 'archived class'}", "colour": cls.colour if cls else None}
        elif given := labels.get(record.sha256):
            row |= _label_note(given, classes)
        rows.append(row)
    return rows


def _label_note(given: Sequence[Any], classes: dict[int, Any]) -> dict[str, Any]:
    """What people said about one image; several who differ are named as such."""
    labelled = {label.class_id for label in given if label.state == "labelled"}
    if len(labelled) > 1:
        return {"note": "labels differ"}
    if labelled:
        cls = classes.get(labelled.pop())
        return {"note": f"label: {cls.name if cls else 'unknown class'}", "colour": cls.colour if cls else None}
    return {"note": given[0].state}


def counts_line(total: int, progress: Progress) -> str:
    """What the project holds, in one line."""
    counts = {
        "images": total,
        "in the support set": total - progress.total,
        "labelled": progress.labelled,
        "not labelled yet": progress.total - progress.labelled,
    }
    return " · ".join(f"**{count:,}** {what}" for what, count in counts.items())


def page_count(images: int, size: int) -> int:
    """At least one page, also of nothing."""
    return max(1, -(-images // size))

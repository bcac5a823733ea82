"""Runs as the Runs page shows them. Plain functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from core.ports import short_name
from core.text import duration

if TYPE_CHECKING:
    from core.run_status import RunStatus
    from core.store.records import RunRecord
    from core.workbench import Workbench

NEXT_STEP = {
    "no_images": ("Import images", "images.py"),
    "no_support": ("Set up the support set", "support.py"),
    "done": ("Label", "label.py"),
}


def share(status: RunStatus) -> float:
    """0 … 1, for a progress bar."""
    return min(1.0, status.counted[0] / status.total) if status.total else 0.0


def progress_line(status: RunStatus) -> str:
    """``120 of 300 suggestions, about 8 s left``"""
    done, what = status.counted
    line = f"{done:,} of {status.total:,} {what}"
    if status.state == "computing" and status.seconds_left is not None:
        line += f", about {duration(status.seconds_left)} left"
    return line


def stale_sentence(status: RunStatus) -> str:
    """What is out of date and that it is being mended; empty when nothing is."""
    if not status.stale:
        return ""
    which = "1 suggestion rests" if status.stale == 1 else f"{status.stale:,} suggestions rest"
    return (
        f"{which} on an earlier support set or recipe. They are marked as such on the Label page and are being "
        "computed again from the stored embeddings; no image is encoded twice."
    )


def run_rows(workbench: Workbench, runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """One row a run, newest first, with its configuration, counts and times."""
    current = workbench.store.current_run()
    rows = []
    for run in sorted(runs, key=lambda r: r.id, reverse=True):
        rows.append(
            {
                "Run": run.id,
                "State": _state(run, current),
                "Started": moment(run.started_at),
                "Took": took(run),
                "Images": workbench.store.count_predictions(run.id),
                "Recipe": run.recipe,
                "Support version": run.support_version[:12],
                "Encoder": short_name(run.encoder),
                "Reasoner": run.reasoner,
                "Code": run.code_version,
                "Encoder's id": run.encoder,
            }
        )
    return rows


def _state(run: RunRecord, current: RunRecord | None) -> str:
    if current is not None and run.id == current.id:
        return "in force" if run.finished_at else "running"
    return "earlier" if run.finished_at else "superseded"


def moment(stamp: str) -> datetime:
    """A stored time stamp as a value that the table shows in the reader's own zone."""
    return datetime.fromisoformat(stamp)


def took(run: RunRecord) -> str:
    """From the (last) start to the end; empty while it runs."""
    if not run.finished_at:
        return ""
    return duration((moment(run.finished_at) - moment(run.resumed_at or run.started_at)).total_seconds())


def failed_rows(workbench: Workbench) -> list[dict[str, str]]:
    """The images that got no suggestion, by name, with the reason."""
    failed = workbench.store.failed_images()
    names = workbench.store.images_by_id([f.image for f in failed])
    return [
        {"Image": names[f.image].name if f.image in names else f.image, "State": str(f.status), "Reason": f.reason}
        for f in failed
    ]

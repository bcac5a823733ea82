"""How far the labelling is, from tallies: the cost does not grow with the number of images."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from core.store import preferences
from core.store.checks import a_name, as_utc_text
from core.store.records import Progress


def progress(db: sqlite3.Connection, annotator: str, now: str) -> Progress:
    """Counts over the images that are not support, as the annotator sees them."""
    me = a_name(annotator, "The annotator's name")
    overlap = preferences.overlap(db)
    tally = db.execute("SELECT queue_state, decided, n FROM image_tally WHERE queue_state >= 0").fetchall()
    mine = dict(db.execute("SELECT state, n FROM label_tally WHERE annotator = ?", (me,)).fetchall())
    skipped = _open_of_mine(db, me, "skipped", overlap) if mine.get("skipped") else 0
    finished = 0
    if overlap > 1:  # images that wait for somebody else's label, but have mine
        finished = sum(_open_of_mine(db, me, state, overlap) for state in ("labelled", "unsure") if mine.get(state))
    minute_ago = as_utc_text(datetime.fromisoformat(now) - timedelta(seconds=60))
    recent = db.execute(
        "SELECT count(*) FROM labels WHERE annotator = ? AND state = 'labelled' AND stored_at > ?", (me, minute_ago)
    ).fetchone()[0]
    return Progress(
        total=sum(row["n"] for row in tally),
        labelled=sum(row["n"] for row in tally if row["decided"] == "labelled"),
        unsure=sum(row["n"] for row in tally if row["decided"] == "unsure"),
        skipped=skipped,
        left=sum(row["n"] for row in tally if row["queue_state"] < overlap) - skipped - finished,
        mine=mine.get("labelled", 0),
        labelled_last_minute=recent,
    )


def _open_of_mine(db: sqlite3.Connection, me: str, state: str, overlap: int) -> int:
    count: int = db.execute(
        "SELECT count(*) FROM labels l CROSS JOIN images i ON i.sha256 = l.image"
        " WHERE l.annotator = ? AND l.state = ? AND i.queue_state BETWEEN 0 AND ?",
        (me, state, overlap - 1),
    ).fetchone()[0]
    return count

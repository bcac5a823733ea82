"""Who works on what: the next images of the queue, reserved for one annotator.

The walk goes along an index in the order of the queue and stops as soon as it has enough: open images only,
never every image. Nothing here tells what anybody else decided.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from core.errors import InvalidInput
from core.settings import LISTS, UNSURE
from core.store.checks import a_name, a_sha256, an_integer, as_utc_text
from core.store.records import Lease

MOST_AT_ONCE: Final = 1000

SORT_KEYS: Final = {
    "uncertainty": "p.uncertainty, p.position",
    "disagreement": "p.disagreement, p.position",
    "random": "p.image",  # a content hash: random, and the same for everybody
    "import": "p.position",
    "look-alikes": "p.look_alike, p.position",
}

# Free for :me: not at hand already, not decided or put off by me, and a place left beside those who are at it.
_FREE = """
    {image} NOT IN (SELECT value FROM json_each(:have))
    AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.image = {image} AND l.annotator = :me AND l.state <> 'noted')
    AND {state} + (SELECT count(*) FROM leases x WHERE x.image = {image} AND x.annotator <> :me
                   AND x.expires_at > :now) < :overlap
"""


def predicted_sql(order: str) -> str:
    """Open images with a prediction in :run_id and ``queue_state`` :state, in the order of the queue."""
    return (
        f"SELECT p.image, {SORT_KEYS[order].split(',')[0]}, p.position FROM predictions p"
        f" WHERE p.run_id = :run_id AND p.queue_state = :state AND {_FREE.format(image='p.image', state=':state')}"
        f" ORDER BY {SORT_KEYS[order]} LIMIT :limit"
    )


def unpredicted_sql(order: str) -> str:
    """Open images without a prediction in :run_id, in order of import (or random)."""
    key = "i.sha256" if order == "random" else "i.position"
    return (
        f"SELECT i.sha256, {key}, i.position FROM images i WHERE i.queue_state = :state AND NOT EXISTS ("
        "   SELECT 1 FROM predictions p WHERE p.image = i.sha256 AND p.run_id = :run_id AND p.superseded = 0)"
        f" AND {_FREE.format(image='i.sha256', state=':state')} ORDER BY {key} LIMIT :limit"
    )


# The annotator's own list of images to come back to, whoever else has finished with them meanwhile.
UNSURE_SQL: Final = """
    SELECT l.image FROM labels l CROSS JOIN images i ON i.sha256 = l.image
    WHERE l.annotator = :me AND l.state = 'unsure' AND i.queue_state > 0
    AND l.image NOT IN (SELECT value FROM json_each(:have))
    ORDER BY l.event_seq LIMIT :limit
"""

SKIPPED_SQL: Final = """
    SELECT l.image, l.event_seq FROM labels l CROSS JOIN images i ON i.sha256 = l.image
    WHERE l.annotator = :me AND l.state = 'skipped' AND i.queue_state BETWEEN 0 AND :overlap - 1
    AND l.image NOT IN (SELECT value FROM json_each(:have))
    AND i.queue_state + (SELECT count(*) FROM leases x WHERE x.image = l.image AND x.annotator <> :me
                         AND x.expires_at > :now) < :overlap
    ORDER BY l.event_seq LIMIT :limit
"""


def lease_next(
    db: sqlite3.Connection,
    annotator: str,
    *,
    limit: int,
    order: str,
    run_id: int | None,
    have: Collection[str],
    lease_seconds: int,
    overlap: int,
    now: str,
) -> list[Lease]:
    """Reserves up to ``limit`` images for the annotator, beside those that it has (whose leases are prolonged).

    Predicted ones first, in ``order``; then those without a prediction; then those that it skipped, the one
    skipped first before the others. The order ``unsure`` is a list of its own: what the annotator marked so.
    """
    if order not in LISTS:
        raise InvalidInput(f"There is no order {order!r} of the queue. There are: {', '.join(LISTS)}.")
    me = _arguments(annotator, limit, have, lease_seconds, overlap)
    values: dict[str, Any] = {"me": me, "now": now, "overlap": overlap, "run_id": run_id, "have": json.dumps([*have])}
    chosen: list[str] = []
    walks: list[str] = []
    if order == UNSURE:
        chosen = [row[0] for row in db.execute(UNSURE_SQL, {**values, "limit": limit})]
    else:
        walks = ([predicted_sql(order)] if run_id is not None else []) + [unpredicted_sql(order)]
    for sql in walks:
        if len(chosen) < limit:
            # One walk for each number of annotators so far: each follows its index without sorting.
            found: list[tuple[Any, int, str]] = []
            for state in range(overlap):
                rows = db.execute(sql, {**values, "state": state, "limit": limit - len(chosen)})
                found += [(row[1], row[2], row[0]) for row in rows]
            chosen += [image for _, _, image in sorted(found)[: limit - len(chosen)]]
    if len(chosen) < limit and order != UNSURE:
        chosen += [row[0] for row in db.execute(SKIPPED_SQL, {**values, "limit": limit - len(chosen)})]
    expires_at = _later(now, lease_seconds)
    db.execute(
        "UPDATE leases SET expires_at = :until WHERE annotator = :me AND expires_at > :now"
        " AND image IN (SELECT value FROM json_each(:have))",
        {**values, "until": expires_at},
    )
    return list(_give(db, me, chosen, expires_at, overlap, now))


def lease_images(
    db: sqlite3.Connection,
    annotator: str,
    wanted: Sequence[str],
    *,
    lease_seconds: int,
    overlap: int,
    now: str,
) -> list[Lease]:
    """Reserves those of the named images that the annotator may work on, in the given order.

    Also one that it decided itself (it came back by undo, or to be corrected); never active support, and none
    that others are at or have finished.
    """
    me = _arguments(annotator, 1, wanted, lease_seconds, overlap)
    rows = db.execute(
        "SELECT j.value FROM json_each(:wanted) j JOIN images i ON i.sha256 = j.value"
        " WHERE i.queue_state >= 0 AND"
        " (SELECT count(*) FROM labels l WHERE l.image = i.sha256 AND l.annotator <> :me"
        "   AND l.state IN ('labelled', 'unsure'))"
        " + (SELECT count(*) FROM leases x WHERE x.image = i.sha256 AND x.annotator <> :me AND x.expires_at > :now)"
        " < :overlap ORDER BY j.key",
        {"wanted": json.dumps([*dict.fromkeys(wanted)]), "me": me, "now": now, "overlap": overlap},
    )
    return list(_give(db, me, [row[0] for row in rows], _later(now, lease_seconds), overlap, now))


def release(db: sqlite3.Connection, annotator: str, shas: Collection[str] | None) -> int:
    """Gives the annotator's leases back, all or those named; returns how many."""
    me = a_name(annotator, "The annotator's name")
    if shas is None:
        return db.execute("DELETE FROM leases WHERE annotator = ?", (me,)).rowcount
    return db.execute(
        "DELETE FROM leases WHERE annotator = ? AND image IN (SELECT value FROM json_each(?))",
        (me, json.dumps([*shas])),
    ).rowcount


def free_at(db: sqlite3.Connection, annotator: str, overlap: int, now: str) -> str | None:
    """When the first image that others hold and this annotator may label is free at the latest, if nobody prolongs
    its lease; None where others hold none."""
    me = a_name(annotator, "The annotator's name")
    found: str | None = db.execute(
        "SELECT min(x.expires_at) FROM leases x CROSS JOIN images i ON i.sha256 = x.image"
        " WHERE x.annotator <> :me AND x.expires_at > :now AND i.queue_state BETWEEN 0 AND :overlap - 1"
        " AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.image = x.image AND l.annotator = :me"
        "   AND l.state IN ('labelled', 'unsure'))",
        {"me": me, "now": now, "overlap": overlap},
    ).fetchone()[0]
    return found


def _arguments(annotator: str, limit: int, shas: Collection[str], lease_seconds: int, overlap: int) -> str:
    an_integer(limit, "The number of images", 1, MOST_AT_ONCE)
    an_integer(lease_seconds, "The length of a lease in seconds", 1, 7 * 86400)
    an_integer(overlap, "The overlap", 1, 100)
    if len(shas) > 10 * MOST_AT_ONCE:
        raise InvalidInput(f"{len(shas)} images at hand; {10 * MOST_AT_ONCE} are the most.")
    for sha in shas:
        a_sha256(sha)
    return a_name(annotator, "The annotator's name")


def _later(now: str, seconds: int) -> str:
    return as_utc_text(datetime.fromisoformat(now) + timedelta(seconds=seconds))


def _give(
    db: sqlite3.Connection, me: str, chosen: Sequence[str], expires_at: str, overlap: int, now: str
) -> Iterator[Lease]:
    """A live lease of one's own is prolonged; else a new one with a greater token."""
    for image in chosen:
        row = db.execute(
            "UPDATE leases SET expires_at = ?, overlap = ? WHERE image = ? AND annotator = ? AND expires_at > ?"
            " RETURNING token",
            (expires_at, overlap, image, me, now),
        ).fetchone()
        if row is None:
            token = db.execute("UPDATE lease_tokens SET last = last + 1 RETURNING last").fetchone()[0]
            db.execute(
                "INSERT OR REPLACE INTO leases (image, annotator, token, issued_seq, overlap, expires_at)"
                " VALUES (?, ?, ?, (SELECT coalesce(max(seq), 0) FROM events), ?, ?)",
                (image, me, token, overlap, expires_at),
            )
        else:
            token = row[0]
        version = db.execute("SELECT coalesce(max(image_version), 0) FROM events WHERE image = ?", (image,))
        yield Lease(image, token, expires_at, version.fetchone()[0])

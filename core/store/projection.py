"""Labels are a fold over events: the same function serves every decision, the rebuild and the check.

For one annotator and one image: an event is void if an ``undo`` by that annotator on that image names it,
also when the undo arrived first. The last non-void accept, correct or adjudicate makes the label, the last
unsure or skip makes those states, and the note is that of the last non-void event that carries one.

An image is in conflict from a non-void event that was stored as a conflict until somebody adjudicates it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final, NamedTuple

from core.store import queue
from core.types import Label

STATES: Final = {
    "accept": "labelled",
    "correct": "labelled",
    "adjudicate": "labelled",
    "unsure": "unsure",
    "skip": "skipped",
}
IN_FORCE: Final = ("labelled", "unsure")
NOTED: Final = "noted"  # a note, but nothing decided: kept in the projection, not given out as a label

_EVENT_COLUMNS = "seq, id, kind, image, annotator, class_id, undoes, note, made_at, at, outcome"
# A few labels are found by walking the images in order, all of them by sorting the labels once.
_FROM_IMAGES = "images i CROSS JOIN labels l ON l.image = i.sha256"
_FROM_LABELS = "labels l JOIN images i ON i.sha256 = l.image"
_LABEL_COLUMNS = "image, annotator, state, class_id, event_id, event_seq, decided_at, stored_at, note, conflict"


class Row(NamedTuple):
    """One row of ``labels``."""

    image: str
    annotator: str
    state: str
    class_id: int | None
    event_id: str
    event_seq: int
    decided_at: str
    stored_at: str
    note: str | None
    conflict: int

    def as_label(self) -> Label | None:
        """None where only a note is there."""
        if self.state == NOTED:
            return None
        return Label(
            image=self.image,
            annotator=self.annotator,
            state=self.state,
            class_id=self.class_id,
            event_id=self.event_id,
            decided_at=self.decided_at,
            note=self.note,
            conflict=bool(self.conflict),
        )


def fold(events: Iterable[sqlite3.Row]) -> list[Row]:
    """The events of ONE image in order of arrival → its rows, by annotator."""
    events = list(events)
    undone = {(e["annotator"], e["undoes"]) for e in events if e["kind"] == "undo"}
    valid = [e for e in events if e["kind"] != "undo" and (e["annotator"], e["id"]) not in undone]

    rows: dict[str, Row] = {}
    in_conflict = False
    for event in valid:
        name, old = event["annotator"], rows.get(event["annotator"])
        note = old.note if old else None
        if event["note"] is not None:
            note = event["note"] or None  # an empty note takes the note away
        state = STATES.get(event["kind"])
        if state is not None:
            class_id = event["class_id"] if state == "labelled" else None
            rows[name] = _row(event, state, class_id, note)
            in_conflict = event["kind"] != "adjudicate" and (in_conflict or event["outcome"] == "conflict")
        elif old is not None and old.state != NOTED:
            rows[name] = old._replace(note=note)
        elif note is not None:
            rows[name] = _row(event, NOTED, None, note)
        elif old is not None:
            del rows[name]
    if in_conflict:
        rows = {n: r._replace(conflict=1) if r.state in IN_FORCE else r for n, r in rows.items()}
    return [rows[name] for name in sorted(rows)]


def _row(event: sqlite3.Row, state: str, class_id: int | None, note: str | None) -> Row:
    return Row(
        image=event["image"],
        annotator=event["annotator"],
        state=state,
        class_id=class_id,
        event_id=event["id"],
        event_seq=event["seq"],
        decided_at=event["made_at"],
        stored_at=event["at"],
        note=note,
        conflict=0,
    )


def reproject(db: sqlite3.Connection, image: str) -> None:
    """Brings the labels and the queue state of one image in line with its events."""
    events = db.execute(f"SELECT {_EVENT_COLUMNS} FROM events WHERE image = ? ORDER BY image_version", (image,))
    wanted = {row.annotator: row for row in fold(events)}
    there = {row.annotator: row for row in _stored(db, "WHERE image = ?", (image,))}
    if wanted == there:
        return
    _write(db, image, wanted, there)
    queue.refresh(db, image)


def _write(db: sqlite3.Connection, image: str, wanted: dict[str, Row], there: dict[str, Row]) -> None:
    for annotator in there.keys() - wanted.keys():
        db.execute("DELETE FROM labels WHERE image = ? AND annotator = ?", (image, annotator))
    for annotator, row in wanted.items():
        if there.get(annotator) == row:
            continue
        if annotator in there:
            db.execute(
                "UPDATE labels SET state = ?, class_id = ?, event_id = ?, event_seq = ?, decided_at = ?,"
                " stored_at = ?, note = ?, conflict = ? WHERE image = ? AND annotator = ?",
                (*row[2:], image, annotator),
            )
        else:
            db.execute(f"INSERT INTO labels ({_LABEL_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def labels_of(db: sqlite3.Connection, shas: Iterable[str]) -> dict[str, list[Label]]:
    """Image → its labels by all annotators, for those that have any."""
    found: dict[str, list[Label]] = {}
    rows = db.execute(
        f"SELECT {_LABEL_COLUMNS} FROM labels WHERE image IN (SELECT value FROM json_each(?)) ORDER BY annotator",
        (json.dumps(list(shas)),),
    )
    for row in rows:
        label = Row(*row).as_label()
        if label is not None:
            found.setdefault(label.image, []).append(label)
    return found


def label(db: sqlite3.Connection, image: str, annotator: str) -> Label | None:
    """The annotator's label of an image, None where nothing is decided."""
    for row in _stored(db, "WHERE image = ? AND annotator = ?", (image, annotator)):
        return row.as_label()
    return None


def note(db: sqlite3.Connection, image: str, annotator: str) -> str | None:
    """The annotator's note on an image, decided or not."""
    row = db.execute("SELECT note FROM labels WHERE image = ? AND annotator = ?", (image, annotator)).fetchone()
    return None if row is None else row[0]


def labels(db: sqlite3.Connection, annotator: str | None, limit: int | None = None) -> list[Label]:
    """Labels in order of import, then by annotator; of one annotator or of all; the first ``limit`` if given."""
    columns = ", ".join(f"l.{name.strip()}" for name in _LABEL_COLUMNS.split(","))
    rows = db.execute(
        f"SELECT {columns} FROM {_FROM_IMAGES if limit is not None else _FROM_LABELS}"
        " WHERE l.state <> 'noted' AND (:annotator IS NULL OR l.annotator = :annotator)"
        " ORDER BY i.position, l.annotator LIMIT :limit",
        {"annotator": annotator, "limit": -1 if limit is None else limit},
    )
    return [found for row in rows if (found := Row(*row).as_label()) is not None]


def _stored(db: sqlite3.Connection, where: str, parameters: tuple[str, ...]) -> Iterator[Row]:
    return (Row(*row) for row in db.execute(f"SELECT {_LABEL_COLUMNS} FROM labels {where}", parameters))


def differences(db: sqlite3.Connection) -> list[str]:
    """What differs between the projection and a rebuild, a sentence each; [] where they are equal."""
    found: list[str] = []
    stored = groupby(_stored(db, "ORDER BY image, annotator", ()), lambda row: row.image)
    there = next(stored, None)
    for image, events in groupby(_all_events(db), lambda event: str(event["image"])):
        while there is not None and there[0] < image:  # labels of an image without events
            found += [_differs(row.image, row.annotator, row, None) for row in there[1]]
            there = next(stored, None)
        live: dict[str, Row] = {}
        if there is not None and there[0] == image:
            live = {row.annotator: row for row in there[1]}
            there = next(stored, None)
        rebuilt = {row.annotator: row for row in fold(events)}
        for annotator in sorted(live.keys() | rebuilt.keys()):
            if live.get(annotator) != rebuilt.get(annotator):
                found.append(_differs(image, annotator, live.get(annotator), rebuilt.get(annotator)))
    while there is not None:
        found += [_differs(row.image, row.annotator, row, None) for row in there[1]]
        there = next(stored, None)
    return found + _queue_differences(db)


def _differs(image: str, annotator: str, live: Row | None, rebuilt: Row | None) -> str:
    def told(row: Row | None) -> str:
        if row is None:
            return "nothing"
        return row.state + (f" as class {row.class_id}" if row.class_id is not None else "")

    what = f"{told(live)} in the labels, {told(rebuilt)} by the events"
    if live is not None and rebuilt is not None and told(live) == told(rebuilt):
        fields = [name for name in Row._fields if getattr(live, name) != getattr(rebuilt, name)]
        what = f"{', '.join(fields)} not as the events say"
    return f"Image {image[:12]}, annotator {annotator!r}: {what}."


_QUEUE = f"""
    SELECT i.sha256, i.queue_state, i.decided,
           CASE WHEN s.image IS NULL THEN coalesce(l.n, 0) ELSE -1 END AS true_state,
           coalesce(l.best, 'none') AS true_decided
    FROM images i
    LEFT JOIN support s ON s.image = i.sha256 AND s.removed_at IS NULL
    LEFT JOIN (SELECT image, count(*) AS n, min(state) AS best FROM labels WHERE {queue.IN_FORCE} GROUP BY image) l
        ON l.image = i.sha256
    WHERE i.queue_state <> true_state OR i.decided <> true_decided
"""
_COPIES = (
    "SELECT p.id FROM predictions p JOIN images i ON i.sha256 = p.image"
    " WHERE p.superseded = 0 AND p.queue_state <> i.queue_state"
)
_TALLIES = (
    "SELECT queue_state, decided, n FROM image_tally WHERE n <> 0"
    " EXCEPT SELECT queue_state, decided, count(*) FROM images GROUP BY 1, 2",
    "SELECT queue_state, decided, count(*) FROM images GROUP BY 1, 2 EXCEPT SELECT * FROM image_tally",
    "SELECT annotator, state, n FROM label_tally WHERE n <> 0"
    " EXCEPT SELECT annotator, state, count(*) FROM labels GROUP BY 1, 2",
    "SELECT annotator, state, count(*) FROM labels GROUP BY 1, 2 EXCEPT SELECT * FROM label_tally",
)


def _queue_differences(db: sqlite3.Connection) -> list[str]:
    found = [
        f"Image {row[0][:12]}: its queue state is {row[1]} ({row[2]}), by labels and support it is {row[3]} ({row[4]})."
        for row in db.execute(_QUEUE)
    ]
    found += [f"Prediction {row[0]}: its queue state is not that of its image." for row in db.execute(_COPIES)]
    if any(db.execute(sql).fetchone() is not None for sql in _TALLIES):
        found.append("The tallies are not the counts of the rows.")
    return found


def rebuild(db: sqlite3.Connection) -> list[str]:
    """Writes the projection anew from the events; returns what was different before."""
    found = differences(db)
    if not found:
        return []
    db.execute("DELETE FROM labels")
    insert = f"INSERT INTO labels ({_LABEL_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    for _, events in groupby(_all_events(db), lambda event: event["image"]):
        db.executemany(insert, fold(events))
    for image, _, _, state, best in db.execute(_QUEUE).fetchall():
        db.execute("UPDATE images SET queue_state = ?, decided = ? WHERE sha256 = ?", (state, best, image))
    db.execute(
        "UPDATE predictions SET queue_state = (SELECT i.queue_state FROM images i WHERE i.sha256 = image)"
        f" WHERE id IN ({_COPIES})"
    )
    db.execute("DELETE FROM image_tally")
    db.execute("DELETE FROM label_tally")
    db.execute("INSERT INTO image_tally SELECT queue_state, decided, count(*) FROM images GROUP BY 1, 2")
    db.execute("INSERT INTO label_tally SELECT annotator, state, count(*) FROM labels GROUP BY 1, 2")
    return found


def _all_events(db: sqlite3.Connection) -> Iterator[sqlite3.Row]:
    return db.execute(f"SELECT {_EVENT_COLUMNS} FROM events ORDER BY image, image_version")

"""Decisions: one transaction stores the event, updates the projection and gives the lease back."""

from __future__ import annotations

import dataclasses
import sqlite3
from typing import Any, Final

from core.errors import InvalidInput, NotFound
from core.store import images, preferences, projection
from core.store.checks import a_name, a_sha256, a_text, a_time, a_uuid, an_integer
from core.store.records import DecisionResult, UndoableEvent
from core.types import Decision, Kind, Outcome

LABELLING: Final = frozenset({Kind.ACCEPT, Kind.CORRECT, Kind.ADJUDICATE})
DECIDING: Final = frozenset({Kind.ACCEPT, Kind.CORRECT, Kind.UNSURE})  # those that can collide with somebody's
RELEASING: Final = frozenset({*DECIDING, Kind.SKIP, Kind.ADJUDICATE})
UNDOABLE: Final = frozenset({*RELEASING, Kind.NOTE})

_BODY = (
    *("kind", "image", "annotator", "class_id", "undoes", "note", "prediction_id", "suggested_class"),
    *("suggestion_shown", "expected_version", "attention_ms", "lease_token", "group", "made_at"),
)


def checked(decision: Decision) -> Decision:
    """The decision with every value in its canonical form; InvalidInput says which one cannot be."""
    kind = Kind(decision.kind)
    for value, what in (
        (decision.class_id, "The class id"),
        (decision.prediction_id, "The prediction's id"),
        (decision.suggested_class, "The suggested class"),
        (decision.expected_version, "The expected version"),
        (decision.attention_ms, "The time of attention"),
        (decision.lease_token, "The lease token"),
    ):
        if value is not None:
            an_integer(value, what)
    if kind in LABELLING and decision.class_id is None:
        raise InvalidInput(f"{kind.value} needs a class. Choose the class, then decide again.")
    if (kind is Kind.UNDO) != (decision.undoes is not None):
        raise InvalidInput("An undo names the decision that it takes back, and nothing else does.")
    if kind is Kind.NOTE and decision.note is None:
        raise InvalidInput("A note needs its text; an empty text takes the note away.")
    return dataclasses.replace(
        decision,
        id=a_uuid(decision.id, "The decision's id"),
        kind=kind,
        image=a_sha256(decision.image),
        annotator=a_name(decision.annotator, "The annotator's name"),
        made_at=a_time(decision.made_at, "The time of the decision"),
        undoes=None if decision.undoes is None else a_uuid(decision.undoes, "The decision to take back"),
        note=None if decision.note is None else a_text(decision.note, "The note"),
        suggestion_shown=bool(decision.suggestion_shown),
        group=None if decision.group is None else a_text(decision.group, "The group", 64),
    )


def decide(db: sqlite3.Connection, decision: Decision, now: str) -> DecisionResult:
    """Stores one checked decision, once.

    NotFound for an image that is not stored; InvalidInput for a class that never was, and for taking back
    what is not one's own. A class that was archived meanwhile is accepted: no label is lost.
    """
    stored = db.execute("SELECT * FROM events WHERE id = ?", (decision.id,)).fetchone()
    if stored is not None:
        return _duplicate(db, decision, stored)
    images.get(db, decision.image)
    _check_class(db, decision.class_id)
    _check_undo(db, decision)

    outcome = _outcome(db, decision)
    version: int = db.execute(
        "INSERT INTO events (id, kind, image, annotator, class_id, undoes, note, prediction_id, suggested_class,"
        ' suggestion_shown, expected_version, attention_ms, lease_token, "group", made_at, at, outcome, image_version)'
        " VALUES (:id, :kind, :image, :annotator, :class_id, :undoes, :note, :prediction_id, :suggested_class,"
        " :suggestion_shown, :expected_version, :attention_ms, :lease_token, :group, :made_at, :at, :outcome,"
        " (SELECT coalesce(max(image_version), 0) + 1 FROM events WHERE image = :image)) RETURNING image_version",
        {"id": decision.id, **_body(decision), "at": now, "outcome": outcome.value},
    ).fetchone()[0]
    projection.reproject(db, decision.image)
    if decision.kind in RELEASING:
        db.execute("DELETE FROM leases WHERE image = ? AND annotator = ?", (decision.image, decision.annotator))
    message = ""
    if outcome is Outcome.CONFLICT:
        message = "Somebody else decided on this image in between. Both decisions are kept, to be settled in review."
    return DecisionResult(outcome, projection.label(db, decision.image, decision.annotator), version, message)


def _body(decision: Decision) -> dict[str, Any]:
    return {name: getattr(decision, name) for name in _BODY} | {
        "kind": decision.kind.value,
        "suggestion_shown": int(decision.suggestion_shown),
    }


def _duplicate(db: sqlite3.Connection, decision: Decision, stored: sqlite3.Row) -> DecisionResult:
    same = all(stored[name] == value for name, value in _body(decision).items())
    return DecisionResult(
        Outcome.DUPLICATE,
        projection.label(db, stored["image"], stored["annotator"]),
        version(db, stored["image"]),
        "" if same else "A decision with this id, but with another content, was stored before. That one stands.",
    )


def _check_class(db: sqlite3.Connection, class_id: int | None) -> None:
    if class_id is not None and db.execute("SELECT 1 FROM classes WHERE id = ?", (class_id,)).fetchone() is None:
        raise InvalidInput(f"There is no class {class_id} in this project. Reload the page and decide again.")


def _check_undo(db: sqlite3.Connection, decision: Decision) -> None:
    if decision.undoes is None:
        return
    target = db.execute("SELECT kind, image, annotator FROM events WHERE id = ?", (decision.undoes,)).fetchone()
    if target is None:  # it may still come: the undo then takes it back on arrival
        return
    if target["annotator"] != decision.annotator:
        raise InvalidInput("That decision is somebody else's. Only one's own decisions can be taken back.")
    if target["image"] != decision.image:
        raise InvalidInput("That decision is about another image. Reload the page and try again.")
    if Kind(target["kind"]) not in UNDOABLE:
        raise InvalidInput(f"{target['kind']} cannot be taken back. Decide on the image again instead.")


def _outcome(db: sqlite3.Connection, decision: Decision) -> Outcome:
    """CONFLICT where somebody else decided since this annotator was given the image, and one more than wanted did.

    "Since" is known by the lease, else by the version that the annotator saw; a decision that claims neither
    (an import) cannot be late.
    """
    if decision.kind not in DECIDING:
        return Outcome.STORED
    others = [
        row[0]
        for row in db.execute(
            "SELECT event_seq FROM labels WHERE image = ? AND annotator <> ? AND state IN ('labelled', 'unsure')",
            (decision.image, decision.annotator),
        )
    ]
    if not others:
        return Outcome.STORED
    lease = db.execute(
        "SELECT issued_seq, overlap FROM leases WHERE image = ? AND annotator = ? AND token = ?",
        (decision.image, decision.annotator, decision.lease_token),
    ).fetchone()
    if lease is not None:
        since, overlap = lease
    else:
        overlap = preferences.overlap(db)
        if decision.expected_version is not None:
            since = db.execute(
                "SELECT coalesce(max(seq), 0) FROM events WHERE image = ? AND image_version <= ?",
                (decision.image, decision.expected_version),
            ).fetchone()[0]
        elif decision.lease_token is not None:
            since = 0
        else:
            return Outcome.STORED
    late = max(others) > since and len(others) + 1 > overlap
    return Outcome.CONFLICT if late else Outcome.STORED


def version(db: sqlite3.Connection, image: str) -> int:
    """The image's event count."""
    count: int = db.execute("SELECT coalesce(max(image_version), 0) FROM events WHERE image = ?", (image,)).fetchone()[
        0
    ]
    return count


def history(db: sqlite3.Connection, image: str) -> list[dict[str, Any]]:
    """Every event on an image, oldest first, as stored, plus ``void``. By all annotators: for review, not for
    an annotator who has not decided yet."""
    images.get(db, image)
    events = db.execute("SELECT * FROM events WHERE image = ? ORDER BY image_version", (image,)).fetchall()
    undone = {(e["annotator"], e["undoes"]) for e in events if e["kind"] == "undo"}
    return [
        {**dict(e), "suggestion_shown": bool(e["suggestion_shown"]), "void": (e["annotator"], e["id"]) in undone}
        for e in events
    ]


def get(db: sqlite3.Connection, event_id: str) -> dict[str, Any]:
    """One event as stored; NotFound for an id that never came."""
    row = db.execute("SELECT * FROM events WHERE id = ?", (a_uuid(event_id, "The event's id"),)).fetchone()
    if row is None:
        raise NotFound(f"There is no event {event_id} in this project.")
    return {**dict(row), "suggestion_shown": bool(row["suggestion_shown"])}


def undoable(db: sqlite3.Connection, annotator: str, limit: int) -> list[UndoableEvent]:
    """The annotator's decisions that are not taken back, newest first."""
    an_integer(limit, "The limit", 1)
    rows = db.execute(
        'SELECT e.id, e.image, e.kind, e.class_id, e."group" FROM events e WHERE e.annotator = :annotator'
        " AND e.kind IN ('accept', 'correct', 'skip', 'unsure') AND NOT EXISTS ("
        "   SELECT 1 FROM events u WHERE u.undoes = e.id AND u.annotator = e.annotator AND u.image = e.image)"
        " ORDER BY e.seq DESC LIMIT :limit",
        {"annotator": a_name(annotator, "The annotator's name"), "limit": limit},
    )
    return [UndoableEvent(row[0], row[1], Kind(row[2]), row[3], row[4]) for row in rows]

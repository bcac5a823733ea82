"""Predictions of a run: a small row for the queue to walk over, and the whole value as JSON beside it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from core.errors import NotFound
from core.store import images, queue, runs
from core.store.checks import an_integer
from core.store.records import FailedImage, StoredPrediction
from core.types import Prediction, Status, from_json, to_json

_RECENT = 2_000  # predictions, of which "lately" is told
_NO_MARGIN = 2.0  # sorts after every margin, which is at most 1


def save(db: sqlite3.Connection, run_id: int, predictions: Sequence[Prediction], now: str) -> list[int]:
    """Stores predictions; returns their ids in order.

    A prediction is never overwritten, since an event may name it: computed again, the new one takes its place
    in the queue and the old one is kept. Only one that was merely scored, of which nothing is shown, is completed
    in place, under its id.
    """
    runs.get(db, run_id)
    return [_save_one(db, run_id, prediction, now) for prediction in predictions]


def _save_one(db: sqlite3.Connection, run_id: int, prediction: Prediction, now: str) -> int:
    there = db.execute(
        "SELECT i.position, i.phash, i.queue_state, p.id, p.complete FROM images i LEFT JOIN predictions p"
        " ON p.image = i.sha256 AND p.run_id = ? AND p.superseded = 0 WHERE i.sha256 = ?",
        (run_id, prediction.image),
    ).fetchone()
    if there is None:
        images.get(db, prediction.image)  # raises the sentence
    margin = _NO_MARGIN if prediction.margin is None else prediction.margin
    row = {
        "status": prediction.status.value,
        "reason": prediction.reason,
        "flag": prediction.flag,
        "runner_up": prediction.runner_up,
        "margin": prediction.margin,
        "created_at": now,
        "uncertainty": margin,
        "disagreement": _disagreement(prediction) + margin,
        "look_alike": f"{prediction.flag or 0:08d}:{there['phash']}",
        "complete": int(is_complete(prediction)),
        "reasoning": prediction.reasoning.value,
    }
    body = to_json(prediction)
    old = there["id"]
    if old is not None and not there["complete"]:
        changes = ", ".join(f"{name} = :{name}" for name in row)
        db.execute(f"UPDATE predictions SET {changes} WHERE id = :id", {**row, "id": old})
        db.execute("UPDATE prediction_bodies SET body = ? WHERE id = ?", (body, old))
        return int(old)
    if old is not None:
        db.execute(f"UPDATE predictions SET superseded = 1, queue_state = {queue.SUPERSEDED} WHERE id = ?", (old,))
    row |= {
        "run_id": run_id,
        "image": prediction.image,
        "queue_state": there["queue_state"],
        "position": there["position"],
    }
    names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
    new: int = db.execute(f"INSERT INTO predictions ({names}) VALUES ({marks}) RETURNING id", row).fetchone()[0]
    db.execute("INSERT INTO prediction_bodies VALUES (?, ?)", (new, body))
    return new


def is_complete(prediction: Prediction) -> bool:
    """Whether nothing is left to compute; one that is merely scored lacks its contributions and evidence."""
    return prediction.status is not Status.OK or prediction.contributions is not None


def _disagreement(prediction: Prediction) -> float:
    """0 where scores and reasoner differ, 2 where the reasoner abstained, 4 else: looked at in that order."""
    best = prediction.best
    if best is None:
        return 4.0
    if prediction.flag is None:
        return 2.0
    return 4.0 if best.class_id == prediction.flag else 0.0


def of_image(db: sqlite3.Connection, run_id: int, image: str) -> tuple[int, Prediction] | None:
    """(id, prediction) of an image in a run, None where it is not predicted yet."""
    return of_images(db, run_id, [image]).get(image)


def of_images(db: sqlite3.Connection, run_id: int, shas: Iterable[str]) -> dict[str, tuple[int, Prediction]]:
    """Image → (id, prediction) in a run, for those that are predicted."""
    rows = db.execute(
        "SELECT p.image, p.id, b.body FROM json_each(?) j"
        " JOIN predictions p ON p.image = j.value AND p.run_id = ? AND p.superseded = 0"
        " JOIN prediction_bodies b ON b.id = p.id",
        (json.dumps(list(shas)), run_id),
    )
    return {row[0]: (row[1], from_json(Prediction, row[2])) for row in rows}


def get(db: sqlite3.Connection, prediction_id: int) -> Prediction:
    """One prediction, also one that was computed again since; NotFound for an id that is not stored."""
    an_integer(prediction_id, "The prediction's id")
    row = db.execute("SELECT body FROM prediction_bodies WHERE id = ?", (prediction_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no prediction {prediction_id} in this project.")
    return from_json(Prediction, row[0])


def latest(db: sqlite3.Connection, image: str) -> StoredPrediction | None:
    """The image's prediction in the newest run that has one; a complete one of an older run before a scored one."""
    row = db.execute(
        "SELECT p.id, p.run_id, b.body FROM predictions p JOIN runs r ON r.id = p.run_id"
        " JOIN prediction_bodies b ON b.id = p.id WHERE p.image = ? AND p.superseded = 0"
        " ORDER BY p.complete DESC, r.turn DESC LIMIT 1",
        (image,),
    ).fetchone()
    return None if row is None else StoredPrediction(row[0], row[1], from_json(Prediction, row[2]))


def predicted_images(db: sqlite3.Connection, run_id: int, *, complete: bool = True) -> set[str]:
    """Ids of the images that have a prediction in the run; with ``complete`` False also those merely scored."""
    rows = db.execute(
        "SELECT image FROM predictions WHERE run_id = ? AND superseded = 0 AND complete >= ?", (run_id, complete)
    )
    return {row[0] for row in rows}


def unreasoned(db: sqlite3.Connection, run_id: int) -> list[str]:
    """Images of the run whose reasoner has still to answer, or failed to, the least certain first."""
    rows = db.execute(
        "SELECT image FROM predictions WHERE run_id = ? AND superseded = 0 AND reasoning IN ('pending', 'failed')"
        " ORDER BY uncertainty, position",
        (run_id,),
    )
    return [row[0] for row in rows]


def margins(db: sqlite3.Connection, run_id: int) -> dict[str, float]:
    """Image → margin, for the images of the run that have one."""
    rows = db.execute(
        "SELECT image, margin FROM predictions WHERE run_id = ? AND superseded = 0 AND margin IS NOT NULL", (run_id,)
    )
    return {row[0]: row[1] for row in rows}


def open_images(db: sqlite3.Connection, run_id: int, flag: int, limit: int) -> list[str]:
    """Undecided images that the run gave this flag, in order of import."""
    rows = db.execute(
        "SELECT image FROM predictions WHERE run_id = ? AND flag = ? AND superseded = 0 AND queue_state = 0"
        " ORDER BY position LIMIT ?",
        (run_id, flag, limit),
    )
    return [row[0] for row in rows]


def count(db: sqlite3.Connection, run_id: int) -> int:
    """Number of images that have a prediction in the run."""
    total: int = db.execute(
        "SELECT count(*) FROM predictions WHERE run_id = ? AND queue_state > ?", (run_id, queue.SUPERSEDED)
    ).fetchone()[0]
    return total


def failed(db: sqlite3.Connection, run_id: int) -> list[FailedImage]:
    """Images that the run could not predict, in order of import."""
    rows = db.execute(
        "SELECT image, status, reason FROM predictions WHERE run_id = ? AND superseded = 0"
        " AND status IN ('unreadable', 'failed') ORDER BY position",
        (run_id,),
    )
    return [FailedImage(row[0], Status(row[1]), row[2]) for row in rows]


def prune(db: sqlite3.Connection, keep_runs: int) -> int:
    """Deletes predictions of all but the newest runs, except those that an event names; returns how many."""
    an_integer(keep_runs, "The number of runs to keep", 1)
    return db.execute(
        "DELETE FROM predictions WHERE run_id NOT IN (SELECT id FROM runs ORDER BY turn DESC LIMIT ?)"
        " AND NOT EXISTS (SELECT 1 FROM events e WHERE e.prediction_id = predictions.id)",
        (keep_runs,),
    ).rowcount


def recent_milliseconds(db: sqlite3.Connection, run_id: int, step: str, limit: int) -> list[float]:
    """How long a step (``reason``, ``score`` …) took for the last complete predictions of a run, newest first.

    Only the newest predictions are looked at, so that it is cheap however many there are.
    """
    rows = db.execute(
        "SELECT json_extract(b.body, ?) FROM predictions p JOIN prediction_bodies b ON b.id = p.id"
        " WHERE p.id > (SELECT coalesce(max(id), 0) FROM predictions) - ? AND +p.run_id = ? AND +p.complete = 1"
        " AND +p.status = 'ok' ORDER BY p.id DESC LIMIT ?",
        (f'$.ms."{step}"', _RECENT, run_id, limit),
    )
    return [float(row[0]) for row in rows if row[0] is not None]

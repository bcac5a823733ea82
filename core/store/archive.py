"""Taking a class out of use and bringing it back, together with its support images."""

from __future__ import annotations

import sqlite3

from core.store import classes, support
from core.store.checks import a_name
from core.types import ClassRecord


def archive(db: sqlite3.Connection, class_id: int, *, by: str, now: str) -> ClassRecord:
    """Takes a class out of use: its labels stay, its support images leave the support set."""
    by = a_name(by, "The annotator")
    record = classes.get(db, class_id)
    if record.archived_at is not None:
        return record
    version = support.remove_class(db, class_id, by=by, now=now)
    db.execute("UPDATE classes SET archived_at = ?, archived_in = ? WHERE id = ?", (now, version, class_id))
    return classes.get(db, class_id)


def restore(db: sqlite3.Connection, class_id: int, *, by: str, now: str) -> ClassRecord:
    """Brings an archived class back, with the support images that left with it.

    A key that another class has by now is replaced by the next free one; a taken name is an InvalidInput.
    """
    by = a_name(by, "The annotator")
    record = classes.get(db, class_id)
    if record.archived_at is None:
        return record
    classes.refuse_name(db, record.name, class_id)
    key = classes.next_key(db) if record.key in classes.keys_in_use(db) else record.key
    db.execute("UPDATE classes SET archived_at = NULL, key = ? WHERE id = ?", (key, class_id))
    support.restore_class(db, class_id, by=by, now=now)
    db.execute("UPDATE classes SET archived_in = NULL WHERE id = ?", (class_id,))
    return classes.get(db, class_id)

"""Classes: names are data, ids are never given twice, and a class that labels point at is only archived."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from enum import Enum
from typing import Final

from core.errors import ClassInUse, InvalidInput, NotFound
from core.store.checks import a_colour, a_name, a_text, an_integer, folded
from core.store.palette import PALETTE
from core.types import ClassRecord

RESERVED_KEYS: Final = frozenset("asuznhedrcpb?")
"""Keys of the Label page and of Streamlit; Space and Enter are reserved too."""
CLASS_KEYS: Final = tuple("1234567890" + "".join(c for c in "abcdefghijklmnopqrstuvwxyz" if c not in RESERVED_KEYS))
"""Keys that new classes are given, in this order."""

_COLUMNS = "id, name, key, colour, description, position, archived_at"


class Keep(Enum):
    """The mark of an argument that was not given, where None means something."""

    KEEP = "keep"


def every(db: sqlite3.Connection, *, include_archived: bool = False) -> list[ClassRecord]:
    """Classes by position."""
    where = "" if include_archived else "WHERE archived_at IS NULL"
    return [ClassRecord(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM classes {where} ORDER BY position, id")]


def get(db: sqlite3.Connection, class_id: int) -> ClassRecord:
    """One class, archived or not; NotFound for an id that never was."""
    an_integer(class_id, "The class id")
    row = db.execute(f"SELECT {_COLUMNS} FROM classes WHERE id = ?", (class_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no class {class_id} in this project. Reload the page to see the classes there are.")
    return ClassRecord(*row)


def add(
    db: sqlite3.Connection, name: str, *, key: str | None = None, colour: str | None = None, description: str = ""
) -> ClassRecord:
    """A new class at the end; key and colour are chosen where they are not given."""
    name = a_name(name, "The class name")
    description = a_text(description, "The class description")
    refuse_name(db, name, None)
    key = next_key(db) if key is None else _a_free_key(db, key, None)
    colour = _next_colour(db) if colour is None else a_colour(colour)
    class_id = db.execute(
        "INSERT INTO classes (name, folded, key, colour, description, position)"
        " VALUES (?, ?, ?, ?, ?, (SELECT coalesce(max(position), -1) + 1 FROM classes)) RETURNING id",
        (name, folded(name), key, colour, description),
    ).fetchone()[0]
    return get(db, class_id)


def update(
    db: sqlite3.Connection,
    class_id: int,
    *,
    name: str | None = None,
    key: str | Keep | None = Keep.KEEP,
    colour: str | None = None,
    description: str | None = None,
) -> ClassRecord:
    """Changes what is given; ``key=None`` takes the key away."""
    old = get(db, class_id)
    active = old.archived_at is None
    new_name = old.name if name is None else a_name(name, "The class name")
    if active and name is not None:
        refuse_name(db, new_name, class_id)
    new_key = old.key
    if not isinstance(key, Keep):
        new_key = None if key is None else _a_free_key(db, key, class_id)
    db.execute(
        "UPDATE classes SET name = ?, folded = ?, key = ?, colour = ?, description = ? WHERE id = ?",
        (
            new_name,
            folded(new_name),
            new_key,
            old.colour if colour is None else a_colour(colour),
            old.description if description is None else a_text(description, "The class description"),
            class_id,
        ),
    )
    return get(db, class_id)


def reorder(db: sqlite3.Connection, ids: Sequence[int]) -> list[ClassRecord]:
    """Puts the active classes into the order of ``ids``, which holds each of them once."""
    active = {c.id for c in every(db)}
    if len(ids) != len(set(ids)) or set(ids) != active:
        raise InvalidInput("The order must name every active class once. Reload the page and try again.")
    db.executemany("UPDATE classes SET position = ? WHERE id = ?", list(enumerate(ids)))
    return every(db)


def delete(db: sqlite3.Connection, class_id: int) -> None:
    """Deletes a class that nothing ever pointed at; else ClassInUse, with the counts."""
    record = get(db, class_id)
    labels, images, events = (
        db.execute(f"SELECT count(*) FROM {table} WHERE class_id = ?", (class_id,)).fetchone()[0]
        for table in ("labels", "support", "events")
    )
    if labels or images or events:
        raise ClassInUse(
            f"{record.name!r} is in use: {labels} labels, {images} support images (removed ones included) and "
            f"{events} decisions point at it. Archive it instead: that takes it out of sight and keeps them."
        )
    db.execute("DELETE FROM classes WHERE id = ?", (class_id,))


def refuse_name(db: sqlite3.Connection, name: str, but: int | None) -> None:
    """InvalidInput where an active class other than ``but`` has the name, whatever its case."""
    row = db.execute(
        "SELECT name FROM classes WHERE folded = ? AND archived_at IS NULL AND id IS NOT ?", (folded(name), but)
    ).fetchone()
    if row is not None:
        raise InvalidInput(f"There is a class {row[0]!r} already. Choose another name.")


def keys_in_use(db: sqlite3.Connection) -> set[str]:
    """Keys of active classes."""
    return {row[0] for row in db.execute("SELECT key FROM classes WHERE archived_at IS NULL AND key IS NOT NULL")}


def next_key(db: sqlite3.Connection) -> str | None:
    """The first free key, None where all are taken."""
    used = keys_in_use(db)
    return next((key for key in CLASS_KEYS if key not in used), None)


def _a_free_key(db: sqlite3.Connection, key: str, but: int | None) -> str:
    key = key.lower() if isinstance(key, str) else ""
    if len(key) != 1 or not key.isprintable() or key.isspace() or key in RESERVED_KEYS:
        raise InvalidInput(
            f"{key[:20]!r} cannot be the key of a class. Choose one digit or letter other than "
            f"{', '.join(sorted(RESERVED_KEYS - {'?'})).upper()}, which the Label page needs itself."
        )
    row = db.execute(
        "SELECT name FROM classes WHERE key = ? AND archived_at IS NULL AND id IS NOT ?", (key, but)
    ).fetchone()
    if row is not None:
        raise InvalidInput(f"The key {key!r} belongs to {row[0]!r} already. Choose another key.")
    return key


def _next_colour(db: sqlite3.Connection) -> str:
    """The palette's first colour that the fewest active classes have."""
    used = [row[0] for row in db.execute("SELECT colour FROM classes WHERE archived_at IS NULL")]
    return min(PALETTE, key=used.count)

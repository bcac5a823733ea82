"""Stored images, by content address, in order of import."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence

from core.errors import NotFound
from core.store import queue
from core.store.checks import a_file_name, a_sha256, a_text, a_time, an_integer
from core.types import ImageRecord

_COLUMNS = "sha256, name, source, width, height, bytes, phash, imported_at"


def add(db: sqlite3.Connection, records: Sequence[ImageRecord]) -> int:
    """Stores new images, ignores those that are there; returns how many were new."""
    before = count(db)
    db.executemany(
        f"INSERT INTO images ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sha256) DO NOTHING",
        [_row(record) for record in records],
    )
    return count(db) - before


def _row(record: ImageRecord) -> tuple[str | int, ...]:
    return (
        a_sha256(record.sha256),
        a_file_name(record.name, "The image's name"),
        a_file_name(record.source, "The image's source"),
        an_integer(record.width, "The image's width", 1),
        an_integer(record.height, "The image's height", 1),
        an_integer(record.bytes, "The image's size in bytes"),
        a_text(record.phash, "The image's perceptual hash", 64),
        a_time(record.imported_at, "The time of import"),
    )


def present(db: sqlite3.Connection, shas: Iterable[str]) -> set[str]:
    """Those of the ids that are stored."""
    rows = db.execute(
        "SELECT sha256 FROM images WHERE sha256 IN (SELECT value FROM json_each(?))", (json.dumps(list(shas)),)
    )
    return {row[0] for row in rows}


def get(db: sqlite3.Connection, sha256: str) -> ImageRecord:
    """One image; NotFound for an id that is not stored."""
    row = db.execute(f"SELECT {_COLUMNS} FROM images WHERE sha256 = ?", (sha256,)).fetchone()
    if row is None:
        raise NotFound(f"There is no image {str(sha256)[:16]!r} in this project. Import it first.")
    return ImageRecord(*row)


def get_many(db: sqlite3.Connection, shas: Iterable[str]) -> dict[str, ImageRecord]:
    """Id → image, for those that are stored."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM images WHERE sha256 IN (SELECT value FROM json_each(?))", (json.dumps(list(shas)),)
    )
    return {row["sha256"]: ImageRecord(*row) for row in rows}


def page(db: sqlite3.Connection, limit: int | None, offset: int) -> list[ImageRecord]:
    """Images in order of import; ``limit`` None means all."""
    an_integer(offset, "The offset")
    size = -1 if limit is None else an_integer(limit, "The limit")
    rows = db.execute(f"SELECT {_COLUMNS} FROM images ORDER BY position LIMIT ? OFFSET ?", (size, offset))
    return [ImageRecord(*row) for row in rows]


def count(db: sqlite3.Connection) -> int:
    """Number of stored images, support included."""
    total: int = db.execute("SELECT coalesce(sum(n), 0) FROM image_tally").fetchone()[0]
    return total


def query_at(db: sqlite3.Connection, place: int) -> str | None:
    """The image at this place among those that are not support, in order of import, from 0."""
    row = db.execute(
        "SELECT sha256 FROM images WHERE queue_state > ? ORDER BY position LIMIT 1 OFFSET ?", (queue.SUPPORT, place)
    ).fetchone()
    return None if row is None else row[0]


def queries(db: sqlite3.Connection) -> list[str]:
    """Ids of all images that are not support, in order of import."""
    rows = db.execute("SELECT sha256 FROM images WHERE queue_state > ? ORDER BY position", (queue.SUPPORT,))
    return [row[0] for row in rows]

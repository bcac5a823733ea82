"""Is the database sound? Each check is a function that returns findings, never raises for a bad result."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from core.errors import RagVisionError
from core.store import projection
from core.store.connection import connect
from core.store.records import Finding

# https://sqlite.org/wal.html#walresetbug: a rare corruption when a checkpoint and a writer meet
_FIXED_IN = {44: (3, 44, 6), 50: (3, 50, 7), 51: (3, 51, 3)}
SHOWN = 5


def sqlite_version(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> Finding:
    """Warns where the linked SQLite has the WAL-reset bug (3.7.0 to 3.51.2, but 3.44.6+ and 3.50.7+)."""
    text = ".".join(str(part) for part in version[:3])
    if version < (3, 37, 0):
        return Finding("sqlite", False, f"SQLite {text} is too old for STRICT tables. Use Python with 3.37 or newer.")
    affected = (3, 7, 0) <= version < (3, 51, 3) and not version[:3] >= _FIXED_IN.get(version[1], (4, 0, 0))
    if affected:
        return Finding(
            "sqlite",
            None,
            f"SQLite {text} has a rare bug that can corrupt a database in WAL mode when several processes write. "
            "Update to 3.51.3, 3.50.7 or 3.44.6 where you can, and keep backups.",
        )
    return Finding("sqlite", True, f"SQLite {text}.")


def integrity(path: Path) -> list[Finding]:
    """SQLite's own check of the file and of the foreign keys."""
    if not path.exists():
        return [Finding("database", False, f"{path.name} is missing.")]
    try:
        with closing(connect(path)) as db:
            problems = [str(row[0]) for row in db.execute(f"PRAGMA integrity_check({SHOWN})") if row[0] != "ok"]
            dangling = [str(row[0]) for row in db.execute("PRAGMA foreign_key_check").fetchmany(SHOWN)]
    except sqlite3.DatabaseError as error:
        return [Finding("database", False, f"{path.name} cannot be read: {error}. Restore it from a backup.")]
    if problems:
        return [Finding("database", False, f"{path.name} is damaged: {'; '.join(problems)}. Restore it from a backup.")]
    if dangling:
        where = ", ".join(sorted(set(dangling)))
        return [Finding("database", False, f"{path.name} has rows that point at nothing, in {where}.")]
    return [Finding("database", True, f"{path.name} is sound.")]


def projected(path: Path) -> list[Finding]:
    """The labels against a rebuild from the events."""
    try:
        with closing(connect(path)) as db:
            db.execute("BEGIN")
            found = projection.differences(db)
            events = db.execute("SELECT count(*) FROM events").fetchone()[0]
            db.execute("ROLLBACK")
    except (sqlite3.DatabaseError, RagVisionError) as error:
        return [Finding("labels", False, f"The labels could not be checked: {error}.")]
    if not found:
        return [Finding("labels", True, f"The labels are what the {events} events add up to.")]
    shown = " ".join(found[:SHOWN])
    return [
        Finding(
            "labels",
            False,
            f"The labels differ from what the events add up to in {len(found)} places; the events are the truth, and "
            f"rebuilding the labels sets it right. {shown}",
        )
    ]


def check(path: Path) -> list[Finding]:
    """All checks of one database, in order."""
    return [sqlite_version(), *integrity(path), *projected(path)]

"""The project's settings and the fitted bases of its encoders."""

from __future__ import annotations

import json
import sqlite3

from core.errors import InvalidInput
from core.settings import Settings
from core.store.checks import a_text


def settings(db: sqlite3.Connection) -> Settings:
    """The saved settings, or the defaults."""
    row = db.execute("SELECT body FROM settings WHERE id = 1").fetchone()
    return Settings() if row is None else Settings.from_dict(json.loads(row[0]))


def save_settings(db: sqlite3.Connection, value: Settings, now: str) -> None:
    """Replaces the saved settings."""
    db.execute(
        "INSERT INTO settings VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body,"
        " saved_at = excluded.saved_at",
        (json.dumps(value.to_dict(), ensure_ascii=False), now),
    )


def overlap(db: sqlite3.Connection) -> int:
    """How many annotators label the same image, by the saved settings."""
    row = db.execute("SELECT json_extract(body, '$.labelling.overlap') FROM settings WHERE id = 1").fetchone()
    return 1 if row is None or row[0] is None else int(row[0])


def save_basis(
    db: sqlite3.Connection, basis_id: str, encoder: str, blob: bytes, support_version: str, now: str
) -> None:
    """Stores a fitted basis as the newest of its encoder; one saved before under the same id is replaced."""
    basis_id, encoder = a_text(basis_id, "The basis' id", 200), a_text(encoder, "The encoder's id", 500)
    if not basis_id or not encoder:
        raise InvalidInput("A basis needs an id and the id of its encoder.")
    db.execute(
        "INSERT OR REPLACE INTO bases (id, encoder, blob, support_version, created_at) VALUES (?, ?, ?, ?, ?)",
        (basis_id, encoder, blob, support_version, now),
    )


def basis(db: sqlite3.Connection, encoder: str) -> tuple[str, bytes, str] | None:
    """(id, blob, support version) of the encoder's newest basis."""
    row = db.execute(
        "SELECT id, blob, support_version FROM bases WHERE encoder = ? ORDER BY number DESC LIMIT 1", (encoder,)
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])

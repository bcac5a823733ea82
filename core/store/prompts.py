"""Saved prompts: a version is its content's hash, has a name and a number, and is never changed or deleted."""

from __future__ import annotations

import sqlite3

from core.errors import InvalidInput, NotFound
from core.prompts import BUILT_IN, PromptTemplate
from core.store.checks import a_name, a_text, folded
from core.store.records import PromptRecord

_COLUMNS = 'version, name, number, system, "user", author, created_at'


def save(db: sqlite3.Connection, name: str, template: PromptTemplate, author: str, now: str) -> PromptRecord:
    """The version of this content: the one that is there already, else the next number under ``name``.

    What is stored are the words in force, so that a version reads the same when the built-in ones change.
    Raises InvalidSettings for a placeholder that there is not, InvalidInput for the name.
    """
    template.check()
    name, author = a_name(name, "The prompt's name"), a_name(author, "The author's name")
    words = template.in_force
    system, user = a_text(words.system, "The system prompt"), a_text(words.user, "The user prompt")
    known = of_version(db, template.version)
    if known is not None:
        return known
    if folded(name) == folded(BUILT_IN):
        raise InvalidInput(f"The name {BUILT_IN} is that of the prompt that comes with the workbench. Choose another.")
    rows = db.execute("SELECT name, max(number) FROM prompts GROUP BY name").fetchall()
    there = next(((known_name, number) for known_name, number in rows if folded(known_name) == folded(name)), (name, 0))
    db.execute(
        f"INSERT INTO prompts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (template.version, there[0], there[1] + 1, system, user, author, now),
    )
    return get(db, template.version)


def every(db: sqlite3.Connection) -> list[PromptRecord]:
    """All versions, the newest first."""
    return [PromptRecord(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM prompts ORDER BY id DESC")]


def of_version(db: sqlite3.Connection, version: str) -> PromptRecord | None:
    """The version with this hash; None where it was never saved."""
    row = db.execute(f"SELECT {_COLUMNS} FROM prompts WHERE version = ?", (version,)).fetchone()
    return None if row is None else PromptRecord(*row)


def get(db: sqlite3.Connection, version: str) -> PromptRecord:
    """The same; NotFound where it was never saved."""
    found = of_version(db, version)
    if found is None:
        raise NotFound(f"No prompt of the version {version!r:.40} is saved in this project.")
    return found


def title(db: sqlite3.Connection, version: str) -> str:
    """What people call a version; empty where it was never saved."""
    if version == PromptTemplate().version:
        return BUILT_IN
    found = of_version(db, version)
    return "" if found is None else found.title


def titles(db: sqlite3.Connection) -> dict[str, str]:
    """Version → what people call it, the built-in one included."""
    known = {PromptTemplate().version: BUILT_IN}
    return known | {record.version: record.title for record in every(db)}

"""Runs: one configuration over many queries. The same configuration goes on with the run that it had."""

from __future__ import annotations

import sqlite3

from core.errors import NotFound
from core.store.checks import an_integer
from core.store.records import RunRecord

_CONFIGURATION = ("encoder", "reasoner", "recipe", "settings_json", "support_version", "code_version")
_COLUMNS = ", ".join(("id", *_CONFIGURATION, "started_at", "resumed_at", "finished_at"))


def start(
    db: sqlite3.Connection,
    *,
    encoder: str,
    reasoner: str,
    recipe: str,
    settings_json: str,
    support_version: str,
    code_version: str,
    now: str,
) -> int:
    """Makes the run of this configuration the current one, a new run where there is none; returns its id."""
    configuration = (encoder, reasoner, recipe, settings_json, support_version, code_version)
    same = " AND ".join(f"{name} = ?" for name in _CONFIGURATION)
    row = db.execute(f"SELECT id FROM runs WHERE {same}", configuration).fetchone()
    turn = db.execute("SELECT coalesce(max(turn), 0) + 1 FROM runs").fetchone()[0]
    if row is not None:
        db.execute("UPDATE runs SET turn = ?, resumed_at = ?, finished_at = NULL WHERE id = ?", (turn, now, row[0]))
        return int(row[0])
    new: int = db.execute(
        f"INSERT INTO runs ({', '.join(_CONFIGURATION)}, turn, started_at, resumed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (*configuration, turn, now, now),
    ).fetchone()[0]
    return new


def current(db: sqlite3.Connection) -> RunRecord | None:
    """The run that was started or resumed last."""
    row = db.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY turn DESC LIMIT 1").fetchone()
    return None if row is None else RunRecord(*row)


def get(db: sqlite3.Connection, run_id: int) -> RunRecord:
    """One run; NotFound for an id that never was."""
    an_integer(run_id, "The run's id")
    row = db.execute(f"SELECT {_COLUMNS} FROM runs WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise NotFound(f"There is no run {run_id} in this project.")
    return RunRecord(*row)


def every(db: sqlite3.Connection) -> list[RunRecord]:
    """Runs, the current one first."""
    return [RunRecord(*row) for row in db.execute(f"SELECT {_COLUMNS} FROM runs ORDER BY turn DESC")]


def finish(db: sqlite3.Connection, run_id: int, now: str) -> RunRecord:
    """Marks a run as finished: nothing is left to predict."""
    get(db, run_id)
    db.execute("UPDATE runs SET finished_at = ? WHERE id = ?", (now, run_id))
    return get(db, run_id)

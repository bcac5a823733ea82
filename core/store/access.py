"""Opening and closing a store; what every part of it works through."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, Self

from core.errors import ProjectError
from core.store.checks import utc_now
from core.store.connection import ConnectionPool
from core.store.migrations import migrate

WORKBENCH: Final = "workbench"  # the author of what no annotator did


class Access:
    """One database file, its connections and its clock."""

    def __init__(self, path: Path, *, clock: Callable[[], str] = utc_now) -> None:
        self.path = path
        self._pool = ConnectionPool(path)
        self._clock = clock

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], str] = utc_now) -> Self:
        """Opens the store, creates it or brings its schema up to date.

        Raises SchemaTooNew where a newer version wrote it, ProjectError where the file cannot be used.
        """
        path = Path(path)
        migrate(path)
        return cls(path, clock=clock)

    def close(self) -> None:
        """Closes all connections; the store cannot be used after it."""
        self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def backup(self, path: Path) -> None:
        """A consistent copy of the database, also while others write; ProjectError where it cannot be written."""
        if path.exists():
            raise ProjectError(f"{path.name} exists already. Choose another name for the backup.")
        try:
            with self._pool.read() as db, closing(sqlite3.connect(path)) as target:
                db.backup(target)
        except sqlite3.Error as error:
            raise ProjectError(f"The backup {path.name} could not be written: {error}.") from error

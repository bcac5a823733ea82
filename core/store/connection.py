"""Connections to one database file, safe across threads.

Streamlit and FastAPI run every call in some thread of theirs, so a connection belongs to one operation,
not to a thread: it is borrowed from a small stack of idle ones and given back after it.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import ProjectError

BUSY_SECONDS = 30.0
MOST_IDLE = 8


def connect(path: Path) -> sqlite3.Connection:
    """A connection with the rules of the store: full durability, foreign keys, waiting instead of failing."""
    connection = sqlite3.connect(
        path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        # REPLACE must not get past the triggers that guard the events.
        connection.execute("PRAGMA recursive_triggers=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
    except sqlite3.DatabaseError:  # no database
        connection.close()
        raise
    return connection


class ConnectionPool:
    """Hands out connections, one an operation, inside a transaction that always ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._closed = False
        self._file: tuple[int, int] | None = None  # which file it was that was opened first

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """One snapshot for all reads inside."""
        with self._transaction("BEGIN", "The label store could not be read") as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """All writes inside land together or not at all; an acknowledged one survives a kill."""
        # IMMEDIATE: a transaction that reads first and then writes fails at once under contention,
        # whatever the time-out is.
        with self._transaction("BEGIN IMMEDIATE", "The label store could not be written") as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str, failed: str) -> Iterator[sqlite3.Connection]:
        connection = self._borrow()
        try:
            connection.execute(begin)
            yield connection
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:  # locked for too long, disk full, file gone …
            raise ProjectError(f"{failed}: {error}. Nothing was changed; please try again.") from error
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise ProjectError(f"{failed}: {error}. Run the doctor on this project.") from error
        finally:
            if connection.in_transaction:
                connection.rollback()
            self._give_back(connection)

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise ProjectError("The label store is closed. Open the project again.")
            if self._process != os.getpid():
                # After a fork the parent's connections must not be used, nor closed, by the child.
                self._idle, self._process = [], os.getpid()
            self._check_file()
            if self._idle:
                return self._idle.pop()
        try:
            return connect(self.path)
        except sqlite3.DatabaseError as error:
            raise ProjectError(f"The label store {self.path.name} cannot be opened: {error}.") from error

    def _check_file(self) -> None:
        """Refuses where the name no longer leads to the file that was opened.

        A file that was deleted or moved can be written to as long as it is open: a decision acknowledged then
        would be gone with the last connection.
        """
        try:
            info = self.path.stat()
        except OSError:
            found = None
        else:
            found = info.st_dev, info.st_ino
        if self._file is None:
            self._file = found  # None still where there is no file yet: connecting makes it
        elif found != self._file:
            raise ProjectError(
                f"{self.path.name} was deleted, moved or replaced while it was open. Put it back, or start the "
                "workbench again on the folder that holds it."
            )

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Closes what is idle now, and what is in use as soon as it is given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

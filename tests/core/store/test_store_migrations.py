from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_utils import Database
from store_values import MADE_AT, Clock, leased, sha

from core.errors import ProjectError, SchemaTooNew
from core.store import Store
from core.store.connection import connect
from core.store.migrations import STEPS, ledger


def oldest(path: Path) -> sqlite3.Connection:
    """A database as the first migration alone leaves it."""
    db = connect(path)
    ledger().apply(Database(db, strict=True), stop_before=STEPS[1].__name__)
    return db


def test_the_oldest_schema_with_rows_becomes_the_newest_with_all_of_them(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "labels.db"
    with closing(oldest(path)) as db:
        db.execute("INSERT INTO classes VALUES (1, 'a', 'a', '1', '#e69f00', '', 0, NULL, NULL)")
        for n in range(5):
            db.execute(
                "INSERT INTO images (sha256, name, source, width, height, bytes, phash, imported_at)"
                " VALUES (?, ?, 'folder', 3, 2, 9, ?, ?)",
                (sha(n), f"{n}.png", f"{n:016x}", MADE_AT),
            )
        db.execute(
            "INSERT INTO support (image, class_id, origin, added_by, added_at, added_in)"
            " VALUES (?, 1, 'upload', 'anna', ?, 1)",
            (sha(0), MADE_AT),
        )
        for n, (kind, state) in enumerate((("accept", "labelled"), ("unsure", "unsure"), ("skip", "skipped")), start=1):
            class_id = 1 if kind == "accept" else None
            db.execute(
                "INSERT INTO events (id, kind, image, annotator, class_id, suggestion_shown, made_at, at, outcome,"
                " image_version) VALUES (?, ?, ?, 'anna', ?, 1, ?, ?, 'stored', 1)",
                (f"e{n}", kind, sha(n), class_id, MADE_AT, MADE_AT),
            )
            db.execute(
                "INSERT INTO labels VALUES (?, 'anna', ?, ?, ?, ?, ?, ?, NULL, 0)",
                (sha(n), state, class_id, f"e{n}", n, MADE_AT, MADE_AT),
            )
        db.execute("INSERT INTO runs VALUES (1, 'e', 'r', 'vote', '{}', 'v', '1', 1, ?, ?, NULL)", (MADE_AT, MADE_AT))
        for n, margin, superseded in ((4, 0.3, 1), (4, 0.9, 0), (3, 0.1, 0), (1, 0.5, 0)):
            db.execute(
                "INSERT INTO predictions (run_id, image, status, reason, flag, margin, superseded, created_at)"
                " VALUES (1, ?, 'ok', '', 1, ?, ?, ?)",
                (sha(n), margin, superseded, MADE_AT),
            )
    with Store.open(path, clock=clock) as store:
        assert store.check_projection() == []
        assert [(label.image, label.state) for label in store.labels()] == [
            (sha(1), "labelled"),
            (sha(2), "unsure"),
            (sha(3), "skipped"),
        ]
        progress = store.counts("anna")
        assert (progress.total, progress.labelled, progress.unsure, progress.skipped, progress.left) == (4, 1, 1, 1, 1)
        assert leased(store, run_id=1) == [sha(4), sha(3)]
        store.release_leases("anna")
        assert leased(store, "berta", run_id=1) == [sha(3), sha(4)]
        assert store.count_images() == 5


def test_the_oldest_schema_without_rows_becomes_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    oldest(path).close()
    with Store.open(path) as store, Store.open(tmp_path / "fresh.db") as fresh:
        assert store.images() == [] and store.check_projection() == []
        assert schema(store.path) == schema(fresh.path)


def schema(path: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def test_every_table_is_strict_and_the_ledger_names_every_migration(tmp_path: Path) -> None:
    Store.open(tmp_path / "labels.db").close()
    with closing(sqlite3.connect(tmp_path / "labels.db")) as db:
        loose = [row[1] for row in db.execute("PRAGMA table_list") if not row[1].startswith("sqlite_") and not row[5]]
        assert loose == []
        ledger = [row[0] for row in db.execute("SELECT name FROM _sqlite_migrations ORDER BY rowid")]
        assert ledger == [step.__name__ for step in STEPS]
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_connection_is_fully_durable_and_checks_foreign_keys(store: Store) -> None:
    with store._pool.read() as db:
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
        assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1
        assert db.execute("PRAGMA busy_timeout").fetchone()[0] >= 10_000


def test_a_failed_migration_leaves_the_old_schema_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "labels.db"
    with closing(oldest(path)) as db:  # a table that the second migration wants to create is in its way
        db.execute("CREATE TABLE label_tally (a INTEGER) STRICT")
    before = schema(path)
    with pytest.raises(ProjectError, match="label_tally already exists"):
        Store.open(path)
    assert schema(path) == before


def test_a_newer_schema_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    Store.open(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES (?, ?, ?)",
            (ledger().name, "m9999_from_the_future", MADE_AT),
        )
        db.commit()
    with pytest.raises(SchemaTooNew, match="m9999_from_the_future"):
        Store.open(path)


@pytest.mark.parametrize(
    "content", [b"this is no database at all, but long enough to be looked at" * 20, b"SQLite format 3\0"]
)
def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.db"
    path.write_bytes(content)
    with pytest.raises(ProjectError):
        Store.open(path)
    assert path.read_bytes() == content


def test_somebody_elses_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
    with pytest.raises(ProjectError, match="not a label store"):
        Store.open(path)
    assert [name for name, _ in schema(path)] == ["theirs"]


def test_a_missing_folder_is_a_project_error(tmp_path: Path) -> None:
    with pytest.raises(ProjectError):
        Store.open(tmp_path / "nowhere" / "labels.db")


def test_many_open_a_new_store_at_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with ThreadPoolExecutor(8) as pool:
        for opened in list(pool.map(lambda _: Store.open(path), range(8))):
            opened.close()
    assert len(schema(path)) > 20

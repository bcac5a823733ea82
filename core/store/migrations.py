"""The schema's history, to be read from top to bottom. A released migration is never edited.

``_sqlite_migrations`` is the ledger of what was applied (sqlite-utils keeps it). All pending migrations
run in one transaction: a database is never left between two schemas.

sqlite-utils is imported only where something is to be applied: it brings pandas, for which the first page of
a project that is up to date would wait.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from core.errors import ProjectError, SchemaTooNew
from core.store.checks import utc_now
from core.store.connection import connect

if TYPE_CHECKING:
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations

# The content hash of no images at all: support.version_of([]).
EMPTY_SUPPORT = "e3b0c44298fc1c14"


def m0001_tables(db: Database) -> None:
    """Images, classes, support, runs, predictions, events and what is projected from them."""
    _run(
        db,
        """
        CREATE TABLE images (
            position INTEGER PRIMARY KEY,  -- order of import
            sha256 TEXT NOT NULL UNIQUE CHECK (length(sha256) = 64),
            name TEXT NOT NULL,
            source TEXT NOT NULL,
            width INTEGER NOT NULL CHECK (width > 0),
            height INTEGER NOT NULL CHECK (height > 0),
            bytes INTEGER NOT NULL,
            phash TEXT NOT NULL,
            imported_at TEXT NOT NULL
        ) STRICT;

        CREATE TABLE classes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never given twice: old labels must not change their meaning
            name TEXT NOT NULL,
            folded TEXT NOT NULL,
            key TEXT,
            colour TEXT NOT NULL,
            description TEXT NOT NULL,
            position INTEGER NOT NULL,
            archived_at TEXT,
            archived_in INTEGER REFERENCES support_versions (number)
        ) STRICT;
        CREATE UNIQUE INDEX classes_name ON classes (folded) WHERE archived_at IS NULL;
        CREATE UNIQUE INDEX classes_key ON classes (key) WHERE archived_at IS NULL AND key IS NOT NULL;

        CREATE TABLE support_versions (
            number INTEGER PRIMARY KEY,
            version TEXT NOT NULL,
            parent TEXT,
            author TEXT NOT NULL,
            created_at TEXT NOT NULL,
            images INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX support_versions_version ON support_versions (version);

        CREATE TABLE support (  -- in force in the versions added_in <= number < removed_in
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            image TEXT NOT NULL REFERENCES images (sha256),
            class_id INTEGER NOT NULL REFERENCES classes (id),
            origin TEXT NOT NULL CHECK (origin IN ('upload', 'promoted')),
            added_by TEXT NOT NULL,
            added_at TEXT NOT NULL,
            added_in INTEGER NOT NULL REFERENCES support_versions (number) DEFERRABLE INITIALLY DEFERRED,
            removed_by TEXT,
            removed_at TEXT,
            removed_in INTEGER REFERENCES support_versions (number) DEFERRABLE INITIALLY DEFERRED
        ) STRICT;
        CREATE UNIQUE INDEX support_active ON support (image) WHERE removed_at IS NULL;
        CREATE INDEX support_image ON support (image);
        CREATE INDEX support_class ON support (class_id);
        CREATE INDEX support_added ON support (added_in);
        CREATE INDEX support_removed ON support (removed_in);

        CREATE TABLE settings (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            body TEXT NOT NULL,
            saved_at TEXT NOT NULL
        ) STRICT;

        CREATE TABLE bases (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            encoder TEXT NOT NULL,
            blob BLOB NOT NULL,
            support_version TEXT NOT NULL,
            created_at TEXT NOT NULL
        ) STRICT;
        CREATE INDEX bases_encoder ON bases (encoder, number);

        CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            encoder TEXT NOT NULL,
            reasoner TEXT NOT NULL,
            recipe TEXT NOT NULL,
            settings_json TEXT NOT NULL,
            support_version TEXT NOT NULL,
            code_version TEXT NOT NULL,
            turn INTEGER NOT NULL UNIQUE,  -- the run with the greatest is the current one
            started_at TEXT NOT NULL,
            resumed_at TEXT NOT NULL,
            finished_at TEXT
        ) STRICT;
        CREATE INDEX runs_configuration ON runs (support_version, encoder, recipe);

        CREATE TABLE predictions (  -- small rows: the queue walks over them; the rest is in the bodies
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id INTEGER NOT NULL REFERENCES runs (id),
            image TEXT NOT NULL REFERENCES images (sha256),
            status TEXT NOT NULL,
            reason TEXT NOT NULL,
            flag INTEGER,
            runner_up INTEGER,
            margin REAL,
            superseded INTEGER NOT NULL DEFAULT 0,  -- computed again: kept since an event may name it
            created_at TEXT NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX predictions_image ON predictions (image, run_id) WHERE superseded = 0;
        CREATE INDEX predictions_failed ON predictions (run_id) WHERE superseded = 0
            AND status IN ('unreadable', 'failed');
        CREATE TABLE prediction_bodies (
            id INTEGER PRIMARY KEY REFERENCES predictions (id) ON DELETE CASCADE,
            body TEXT NOT NULL
        ) STRICT;

        CREATE TABLE events (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival
            id TEXT NOT NULL UNIQUE,
            kind TEXT NOT NULL CHECK (kind IN
                ('accept', 'correct', 'skip', 'unsure', 'undo', 'note', 'adjudicate', 'promote')),
            image TEXT NOT NULL REFERENCES images (sha256),
            annotator TEXT NOT NULL,
            class_id INTEGER REFERENCES classes (id),
            undoes TEXT,
            note TEXT,
            prediction_id INTEGER,
            suggested_class INTEGER,
            suggestion_shown INTEGER NOT NULL,
            expected_version INTEGER,
            attention_ms INTEGER,
            lease_token INTEGER,
            "group" TEXT,
            made_at TEXT NOT NULL,  -- by the annotator's clock
            at TEXT NOT NULL,       -- by ours
            outcome TEXT NOT NULL CHECK (outcome IN ('stored', 'conflict')),
            image_version INTEGER NOT NULL  -- the image's event count with this one
        ) STRICT;
        CREATE UNIQUE INDEX events_image ON events (image, image_version);
        CREATE INDEX events_annotator ON events (annotator, seq);
        CREATE INDEX events_undoes ON events (undoes) WHERE undoes IS NOT NULL;
        CREATE INDEX events_class ON events (class_id) WHERE class_id IS NOT NULL;
        CREATE INDEX events_prediction ON events (prediction_id) WHERE prediction_id IS NOT NULL;

        CREATE TABLE labels (  -- the projection: always what a rebuild from the events gives
            image TEXT NOT NULL REFERENCES images (sha256),
            annotator TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('labelled', 'unsure', 'skipped', 'noted')),
            class_id INTEGER REFERENCES classes (id),
            event_id TEXT NOT NULL,
            event_seq INTEGER NOT NULL,
            decided_at TEXT NOT NULL,
            stored_at TEXT NOT NULL,
            note TEXT,
            conflict INTEGER NOT NULL,
            PRIMARY KEY (image, annotator)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX labels_annotator ON labels (annotator, state, event_seq);
        CREATE INDEX labels_stored ON labels (annotator, state, stored_at);
        CREATE INDEX labels_class ON labels (class_id) WHERE class_id IS NOT NULL;

        CREATE TABLE leases (
            image TEXT NOT NULL REFERENCES images (sha256),
            annotator TEXT NOT NULL,
            token INTEGER NOT NULL UNIQUE,
            issued_seq INTEGER NOT NULL,  -- the last event when it was given
            overlap INTEGER NOT NULL,
            expires_at TEXT NOT NULL,
            PRIMARY KEY (image, annotator)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX leases_annotator ON leases (annotator, expires_at);
        CREATE TABLE lease_tokens (id INTEGER PRIMARY KEY CHECK (id = 1), last INTEGER NOT NULL) STRICT;
        INSERT INTO lease_tokens VALUES (1, 0);
        """,
    )
    db.conn.execute("INSERT INTO support_versions VALUES (1, ?, NULL, 'workbench', ?, 0)", (EMPTY_SUPPORT, utc_now()))
    for name, event, rule, message in (
        ("no_update", "UPDATE", "", "events are append-only: they cannot be changed"),
        ("no_delete", "DELETE", "", "events are append-only: they cannot be deleted"),
        # INSERT OR REPLACE fires no delete trigger on a connection without recursive triggers.
        (
            "no_replace",
            "INSERT",
            "WHEN EXISTS (SELECT 1 FROM events WHERE id = NEW.id OR seq = NEW.seq"
            " OR (image = NEW.image AND image_version = NEW.image_version))",
            "events are append-only: they cannot be replaced",
        ),
    ):
        db.conn.execute(
            f"CREATE TRIGGER events_{name} BEFORE {event} ON events {rule} BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )


def m0002_queue_state_and_tallies(db: Database) -> None:
    """The queue and the counts no longer look at every image.

    ``queue_state`` is −1 for an active support image, else the number of annotators who have a label
    (labelled or unsure) on the image; predictions carry a copy, so that a walk in the order of the queue
    meets open images only. Tallies are kept by triggers.
    """
    _run(
        db,
        """
        ALTER TABLE images ADD COLUMN queue_state INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE images ADD COLUMN decided TEXT NOT NULL DEFAULT 'none';  -- none, unsure or labelled, by anybody
        ALTER TABLE predictions ADD COLUMN queue_state INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE predictions ADD COLUMN position INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE predictions ADD COLUMN uncertainty REAL NOT NULL DEFAULT 2;
        ALTER TABLE predictions ADD COLUMN disagreement REAL NOT NULL DEFAULT 6;
        ALTER TABLE predictions ADD COLUMN look_alike TEXT NOT NULL DEFAULT '';

        UPDATE images SET
            queue_state = CASE
                WHEN EXISTS (SELECT 1 FROM support s WHERE s.image = sha256 AND s.removed_at IS NULL) THEN -1
                ELSE (SELECT count(*) FROM labels l WHERE l.image = sha256 AND l.state IN ('labelled', 'unsure'))
            END,
            decided = coalesce((SELECT min(l.state) FROM labels l  -- 'labelled' sorts before 'unsure'
                                WHERE l.image = sha256 AND l.state IN ('labelled', 'unsure')), 'none');
        UPDATE predictions SET
            position = (SELECT i.position FROM images i WHERE i.sha256 = image),
            queue_state = CASE superseded WHEN 1 THEN -2
                          ELSE (SELECT i.queue_state FROM images i WHERE i.sha256 = image) END,
            uncertainty = coalesce(margin, 2),
            disagreement = 4 + coalesce(margin, 2),
            look_alike = printf('%08d:', coalesce(flag, 0)) || (SELECT i.phash FROM images i WHERE i.sha256 = image);

        CREATE INDEX images_queue ON images (queue_state, position);
        CREATE INDEX images_random ON images (queue_state, sha256);
        CREATE INDEX predictions_uncertainty ON predictions (run_id, queue_state, uncertainty, position);
        CREATE INDEX predictions_disagreement ON predictions (run_id, queue_state, disagreement, position);
        CREATE INDEX predictions_look_alike ON predictions (run_id, queue_state, look_alike, position);
        CREATE INDEX predictions_import ON predictions (run_id, queue_state, position);
        CREATE INDEX predictions_flag ON predictions (run_id, flag, queue_state, position) WHERE superseded = 0;
        CREATE INDEX predictions_random ON predictions (run_id, queue_state, image);

        CREATE TABLE image_tally (
            queue_state INTEGER NOT NULL, decided TEXT NOT NULL, n INTEGER NOT NULL,
            PRIMARY KEY (queue_state, decided)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE label_tally (
            annotator TEXT NOT NULL, state TEXT NOT NULL, n INTEGER NOT NULL,
            PRIMARY KEY (annotator, state)
        ) STRICT, WITHOUT ROWID;
        INSERT INTO image_tally SELECT queue_state, decided, count(*) FROM images GROUP BY 1, 2;
        INSERT INTO label_tally SELECT annotator, state, count(*) FROM labels GROUP BY 1, 2;
        """,
    )
    for table, columns in (("image", ("queue_state", "decided")), ("label", ("annotator", "state"))):
        a, b = columns
        more = (
            f"INSERT INTO {table}_tally VALUES (NEW.{a}, NEW.{b}, 1) ON CONFLICT ({a}, {b}) DO UPDATE SET n = n + 1; "
        )
        less = f"UPDATE {table}_tally SET n = n - 1 WHERE {a} = OLD.{a} AND {b} = OLD.{b}; "
        for event, body in (("INSERT", more), (f"UPDATE OF {a}, {b}", less + more), ("DELETE", less)):
            db.conn.execute(
                f"CREATE TRIGGER {table}s_tally_{event.split()[0].lower()} AFTER {event} ON {table}s BEGIN {body} END"
            )


def m0003_scored_before_explained(db: Database) -> None:
    """A prediction may be stored with its scores first and be completed with its evidence later."""
    _run(
        db,
        """
        ALTER TABLE predictions ADD COLUMN complete INTEGER NOT NULL DEFAULT 1;
        CREATE INDEX predictions_complete ON predictions (run_id, complete, image) WHERE superseded = 0;
        """,
    )


def m0004_access_tokens(db: Database) -> None:
    """Tokens of the HTTP API: only their hash is kept."""
    _run(
        db,
        """
        CREATE TABLE tokens (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),  -- sha256 of the token
            scope TEXT NOT NULL CHECK (scope IN ('read', 'label', 'admin')),
            created_at TEXT NOT NULL,
            expires_at TEXT,
            last_used_at TEXT,
            revoked_at TEXT
        ) STRICT;
        """,
    )


def m0005_prompt_versions(db: Database) -> None:
    """Prompts as versioned templates; a version is never changed, since predictions name it."""
    _run(
        db,
        """
        CREATE TABLE prompts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            version TEXT NOT NULL UNIQUE,  -- hash of the content
            name TEXT NOT NULL,
            number INTEGER NOT NULL CHECK (number > 0),
            system TEXT NOT NULL,
            "user" TEXT NOT NULL,
            author TEXT NOT NULL,
            created_at TEXT NOT NULL,
            UNIQUE (name, number)
        ) STRICT;
        """,
    )


def m0006_shown_before_reasoned(db: Database) -> None:
    """A prediction may be shown with its scores and evidence before its reasoner has answered."""
    _run(
        db,
        """
        ALTER TABLE predictions ADD COLUMN reasoning TEXT NOT NULL DEFAULT 'none';
        CREATE INDEX predictions_reasoning ON predictions (run_id, reasoning, image)
            WHERE superseded = 0 AND reasoning IN ('pending', 'failed');
        """,
    )


def _run(db: Database, script: str) -> None:
    """Statement by statement: ``executescript`` would commit, and a migration must stay in its transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            db.conn.execute(statement)
            statement = ""


STEPS = (
    m0001_tables,
    m0002_queue_state_and_tallies,
    m0003_scored_before_explained,
    m0004_access_tokens,
    m0005_prompt_versions,
    m0006_shown_before_reasoned,
)
NAME: Final = "ragvision.labels"  # of our set of migrations in the ledger
TABLE: Final = "_sqlite_migrations"


@cache
def ledger() -> Migrations:
    """The steps as sqlite-utils applies them."""
    from sqlite_utils.migrations import Migrations

    migrations = Migrations(NAME)
    for step in STEPS:
        migrations()(step)
    return migrations


def migrate(path: Path) -> None:
    """Creates the database or brings it to this version's schema.

    Raises SchemaTooNew where a newer version wrote it, ProjectError where it is no label store.
    """
    try:
        with closing(connect(path)) as connection:
            _refuse_strangers(connection, path)
            _use_wal(connection)
            if _applied(connection) != {step.__name__ for step in STEPS}:
                _apply(connection, path)
    except sqlite3.DatabaseError as error:
        raise ProjectError(
            f"{path.name} cannot be used as a label store: {error}. Restore it from a backup or choose another folder."
        ) from error


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _applied(connection: sqlite3.Connection) -> set[str]:
    """Names of the steps that were applied."""
    if TABLE not in _tables(connection):
        return set()
    return {row[0] for row in connection.execute(f"SELECT name FROM {TABLE} WHERE migration_set = ?", (NAME,))}


def _refuse_strangers(connection: sqlite3.Connection, path: Path) -> None:
    tables = _tables(connection)
    if tables and TABLE not in tables:
        raise ProjectError(f"{path.name} is a database, but not a label store. Choose another project folder.")
    newer = sorted(_applied(connection) - {step.__name__ for step in STEPS})
    if newer:
        raise SchemaTooNew(
            f"{path.name} was written by a newer version of the workbench (its schema is at {newer[-1]}). "
            "Update the workbench, then open the project again."
        )


def _use_wal(connection: sqlite3.Connection) -> None:
    # When two processes create the store at once, this switch fails instead of waiting for the other.
    for attempt in range(100):
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == 99:
                raise
            time.sleep(0.05)


def _apply(connection: sqlite3.Connection, path: Path) -> None:
    from sqlite_utils import Database

    connection.execute("BEGIN IMMEDIATE")
    try:
        _refuse_strangers(connection, path)  # again: somebody may have migrated it while this waited for the lock
        ledger().apply(Database(connection, strict=True, execute_plugins=False))
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")

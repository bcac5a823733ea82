from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from store_values import add_images, decision, prediction, sha, start_run

from core.store import Store, health


@pytest.mark.parametrize(
    ("version", "ok"),
    [
        ((3, 36, 0), False),  # no STRICT tables
        ((3, 40, 1), None),
        ((3, 44, 5), None),
        ((3, 44, 6), True),
        ((3, 45, 0), None),
        ((3, 50, 6), None),
        ((3, 50, 7), True),
        ((3, 51, 2), None),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_sqlite_with_the_wal_reset_bug_is_a_warning(version: tuple[int, int, int], ok: bool | None) -> None:
    assert health.sqlite_version(version).ok is ok


def test_a_sound_store_has_no_bad_findings(store: Store) -> None:
    add_images(store, 2)
    store.decide(decision("accept", sha(0), class_id=1))
    assert [(f.name, f.ok) for f in health.check(store.path)[1:]] == [("database", True), ("labels", True)]


TAMPERINGS = [
    "UPDATE labels SET class_id = 2",
    "UPDATE labels SET state = 'unsure', class_id = NULL",
    "UPDATE labels SET conflict = 1",
    "UPDATE labels SET note = 'never said'",
    "DELETE FROM labels",
    "INSERT INTO labels SELECT image, 'ghost', state, class_id, event_id, event_seq, decided_at, stored_at, note,"
    " conflict FROM labels",
    "INSERT INTO labels SELECT (SELECT sha256 FROM images WHERE position = 2), annotator, state, class_id, event_id,"
    " event_seq, decided_at, stored_at, note, conflict FROM labels",
    "UPDATE images SET queue_state = 3",
    "UPDATE images SET decided = 'unsure'",
    "UPDATE predictions SET queue_state = 5",
    "UPDATE image_tally SET n = n + 1",
    "DELETE FROM label_tally",
]


@pytest.mark.parametrize("sql", TAMPERINGS)
def test_a_projection_that_was_tampered_with_is_found_and_rebuilt(store: Store, sql: str) -> None:
    add_images(store, 3)
    run = start_run(store)
    store.save_predictions(run, [prediction(sha(0), 0.5)])
    store.decide(decision("accept", sha(0), class_id=1))
    before = (store.labels(), store.counts("anna"))
    with closing(sqlite3.connect(store.path)) as db:
        db.execute(sql)
        db.commit()
    (finding,) = health.projected(store.path)
    assert finding.ok is False and "rebuilding" in finding.sentence
    assert store.rebuild_labels() != []
    assert store.check_projection() == [] and store.rebuild_labels() == []
    assert (store.labels(), store.counts("anna")) == before


def test_a_damaged_or_missing_file_is_a_finding_and_not_an_exception(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    assert [f.ok for f in health.integrity(path)] == [False]
    with Store.open(path) as store:
        add_images(store, 200)
    data = bytearray(path.read_bytes())
    data[4096 * 2 : 4096 * 40] = b"\xff" * (4096 * 38)
    path.write_bytes(data)
    assert [f.ok for f in health.integrity(path)] == [False]
    assert [f.ok for f in health.projected(path)] == [False]

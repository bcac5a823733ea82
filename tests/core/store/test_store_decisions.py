"""decide(): what one human event does to events, labels and leases."""

from __future__ import annotations

import dataclasses
import sqlite3
from pathlib import Path

import pytest
from store_values import MADE_AT, Clock, add_images, decision, in_force, leased, sha, undo

from core.errors import InvalidInput, NotFound
from core.settings import LabellingSettings, Settings
from core.store import Store
from core.types import Kind, Label, Outcome


def test_an_accepted_suggestion_becomes_a_label_with_its_provenance(store: Store) -> None:
    add_images(store, 1)
    told = decision("accept", sha(0), class_id=2, prediction_id=7, suggested_class=2, suggestion_shown=True)
    result = store.decide(told)
    expected = Label(sha(0), "anna", "labelled", 2, told.id, MADE_AT)
    assert (result.outcome, result.label, result.version, result.message) == (Outcome.STORED, expected, 1, "")
    assert store.label(sha(0), "anna") == expected
    (event,) = store.history(sha(0))
    assert event["prediction_id"] == 7 and event["suggested_class"] == 2 and event["suggestion_shown"] is True
    assert event["void"] is False and event["image_version"] == 1


@pytest.mark.parametrize(
    ("kind", "state", "class_id"),
    [
        ("accept", "labelled", 1),
        ("correct", "labelled", 1),
        ("adjudicate", "labelled", 1),
        ("unsure", "unsure", None),
        ("skip", "skipped", None),
    ],
)
def test_each_kind_projects_to_its_state(store: Store, kind: str, state: str, class_id: int | None) -> None:
    add_images(store, 1)
    store.decide(decision(kind, sha(0), class_id=class_id))
    assert in_force(store) == [(sha(0), "anna", state, class_id)]


def test_pressing_the_key_of_the_suggested_class_stores_that_class_and_not_nothing(store: Store) -> None:
    add_images(store, 1)
    store.decide(decision("correct", sha(0), class_id=2, suggested_class=2, suggestion_shown=True))
    assert in_force(store) == [(sha(0), "anna", "labelled", 2)]


def test_the_same_id_again_is_a_duplicate_and_changes_nothing(store: Store) -> None:
    add_images(store, 1)
    told = decision("accept", sha(0), class_id=1)
    store.decide(told)
    again = store.decide(told)
    assert (again.outcome, again.version, again.message) == (Outcome.DUPLICATE, 1, "")
    assert len(store.history(sha(0))) == 1


def test_the_same_id_with_another_body_is_a_duplicate_that_says_so(store: Store) -> None:
    add_images(store, 2)
    told = decision("accept", sha(0), class_id=1)
    store.decide(told)
    again = store.decide(dataclasses.replace(told, class_id=2, image=sha(1)))
    assert again.outcome is Outcome.DUPLICATE and "another content" in again.message
    assert again.label is not None and (again.label.image, again.label.class_id) == (sha(0), 1)
    assert in_force(store) == [(sha(0), "anna", "labelled", 1)]
    assert store.history(sha(1)) == []


def test_an_upper_case_uuid_is_the_same_decision(store: Store) -> None:
    add_images(store, 1)
    told = decision("accept", sha(0), class_id=1)
    store.decide(told)
    assert store.decide(dataclasses.replace(told, id=told.id.upper())).outcome is Outcome.DUPLICATE


def test_a_decision_on_an_unknown_image_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="Import it first"):
        store.decide(decision("accept", sha(5), class_id=1))


def test_a_class_that_was_archived_meanwhile_is_accepted(store: Store) -> None:
    add_images(store, 1)
    store.archive_class(2)
    assert store.decide(decision("accept", sha(0), class_id=2)).outcome is Outcome.STORED
    assert in_force(store) == [(sha(0), "anna", "labelled", 2)]


@pytest.mark.parametrize(
    "changes",
    [
        {"class_id": 99},  # a class that never was
        {"class_id": None},
        {"class_id": -1},
        {"class_id": 2**63},  # more than SQLite holds
        {"class_id": True},
        {"id": "not a uuid"},
        {"image": "../../etc/passwd"},
        {"by": ""},
        {"by": "\N{ZERO WIDTH SPACE}"},
        {"by": "an\nna"},
        {"by": "x" * 201},
        {"made_at": "yesterday"},
        {"undoes": "00000000-0000-0000-0000-000000000001"},  # only an undo names another decision
        {"note": "\ud800"},  # a lone surrogate cannot be stored
        {"attention_ms": -5},
        {"prediction_id": 10**30},
    ],
)
def test_a_value_that_cannot_be_is_refused_and_stores_nothing(store: Store, changes: dict[str, object]) -> None:
    add_images(store, 1)
    values = {"kind": "accept", "image": sha(0), "class_id": 1, **changes}
    with pytest.raises(InvalidInput):
        store.decide(decision(**values))  # type: ignore[arg-type]
    assert store.history(sha(0)) == [] and store.labels() == []


def test_a_refused_decision_keeps_the_lease(store: Store) -> None:
    add_images(store, 1)
    store.lease_next("anna", limit=1)
    with pytest.raises(InvalidInput):
        store.decide(decision("accept", sha(0), class_id=99))
    assert leased(store, "berta") == []


# ---------------------------------------------------------------------------- undo
def test_undo_restores_the_previous_label(store: Store) -> None:
    add_images(store, 1)
    first, second = decision("accept", sha(0), class_id=1), decision("correct", sha(0), class_id=2)
    for told in (first, second, undo(second)):
        result = store.decide(told)
    assert result.label is not None and (result.label.class_id, result.label.event_id) == (1, first.id)
    assert result.version == 3


def test_undo_restores_the_previous_label_after_restart(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with Store.open(path) as store:
        store.add_class("a")
        store.add_class("b")
        add_images(store, 1)
        first, second = decision("accept", sha(0), class_id=1), decision("unsure", sha(0))
        store.decide(first)
        store.decide(second)
    with Store.open(path) as store:
        (newest, oldest) = store.undoable("anna")
        assert (newest.event_id, oldest.event_id) == (second.id, first.id)
        store.decide(undo(second))
        assert in_force(store) == [(sha(0), "anna", "labelled", 1)]
        assert [e["void"] for e in store.history(sha(0))] == [False, True, False]


def test_undo_at_depth_takes_back_fifty_decisions_across_images_newest_first(store: Store) -> None:
    images = add_images(store, 50)
    told = [decision("accept", image, class_id=1) for image in images]
    for one in told:
        store.decide(one)
    for expected in reversed(told):
        event = store.undoable("anna")[0]
        assert (event.event_id, event.image, event.kind, event.class_id) == (
            *(expected.id, expected.image, Kind.ACCEPT, 1),
        )
        store.decide(undo(expected))
    assert store.undoable("anna") == [] and store.labels() == []
    assert store.counts("anna").left == 50


def test_an_undo_that_arrives_before_its_target_voids_it_on_arrival(store: Store) -> None:
    add_images(store, 1)
    late = decision("accept", sha(0), class_id=1)
    assert store.decide(undo(late)).label is None
    result = store.decide(late)
    assert result.outcome is Outcome.STORED and result.label is None
    assert store.labels() == [] and store.undoable("anna") == []
    assert store.counts("anna").left == 1


def test_nobody_takes_back_what_somebody_else_decided(store: Store) -> None:
    add_images(store, 1)
    told = decision("accept", sha(0), class_id=1)
    store.decide(told)
    with pytest.raises(InvalidInput, match="somebody else's"):
        store.decide(decision("undo", sha(0), "berta", undoes=told.id))


def test_an_undo_by_somebody_else_that_came_first_has_no_effect(store: Store) -> None:
    add_images(store, 1)
    told = decision("accept", sha(0), class_id=1)
    store.decide(decision("undo", sha(0), "berta", undoes=told.id))
    assert store.decide(told).label is not None
    assert [event.event_id for event in store.undoable("anna")] == [told.id]


def test_an_undo_must_name_a_decision_on_its_image_and_not_an_undo(store: Store) -> None:
    add_images(store, 2)
    told = decision("accept", sha(0), class_id=1)
    back = undo(told)
    store.decide(told)
    with pytest.raises(InvalidInput, match="another image"):
        store.decide(decision("undo", sha(1), undoes=told.id))
    store.decide(back)
    with pytest.raises(InvalidInput, match="cannot be taken back"):
        store.decide(decision("undo", sha(0), undoes=back.id))


def test_bulk_decisions_carry_their_group_to_undo(store: Store) -> None:
    for number, image in enumerate(add_images(store, 3)):
        store.decide(decision("accept", image, class_id=1, group="g1" if number else None))
    assert [event.group for event in store.undoable("anna")] == ["g1", "g1", None]


# ---------------------------------------------------------------------------- notes
def test_a_note_stays_with_an_undecided_image_and_joins_its_label(store: Store) -> None:
    add_images(store, 1)
    assert store.decide(decision("note", sha(0), note="  dark corner ")).label is None
    assert store.note(sha(0), "anna") == "dark corner"
    assert store.labels() == [] and store.counts("anna").left == 1
    assert leased(store) == [sha(0)]
    label = store.decide(decision("accept", sha(0), class_id=1)).label
    assert label is not None and label.note == "dark corner"


def test_an_empty_note_or_an_undo_takes_the_note_away(store: Store) -> None:
    add_images(store, 2)
    for number, last in ((0, decision("note", sha(0), note="")), (1, None)):
        first = decision("note", sha(number), note="n")
        store.decide(first)
        store.decide(last or undo(first))
        assert store.note(sha(number), "anna") is None
    assert store.check_projection() == []


# ---------------------------------------------------------------------------- several annotators
def test_a_late_decision_of_an_expired_lease_is_kept_as_a_conflict(store: Store, clock: Clock) -> None:
    add_images(store, 1)
    (hers,) = store.lease_next("anna", limit=1, lease_seconds=60)
    assert leased(store, "berta") == []
    clock.go_on(61)
    (his,) = store.lease_next("berta", limit=1, lease_seconds=60)
    assert his.token > hers.token
    assert store.decide(decision("accept", sha(0), "berta", 1, lease_token=his.token)).outcome is Outcome.STORED
    late = store.decide(decision("accept", sha(0), "anna", 2, lease_token=hers.token, expected_version=0))
    assert late.outcome is Outcome.CONFLICT and "in between" in late.message
    assert [(label.annotator, label.class_id, label.conflict) for label in store.labels()] == [
        ("anna", 2, True),
        ("berta", 1, True),
    ]
    assert store.check_projection() == []


def test_a_late_decision_that_nobody_overtook_is_stored(store: Store, clock: Clock) -> None:
    add_images(store, 1)
    (lease,) = store.lease_next("anna", limit=1, lease_seconds=60)
    clock.go_on(3600)
    result = store.decide(decision("accept", sha(0), class_id=2, lease_token=lease.token, expected_version=0))
    assert result.outcome is Outcome.STORED


def test_a_decision_under_a_live_lease_collides_with_a_late_one_that_came_in_between(
    store: Store, clock: Clock
) -> None:
    add_images(store, 1)
    (hers,) = store.lease_next("anna", limit=1, lease_seconds=60)
    clock.go_on(61)
    (his,) = store.lease_next("berta", limit=1, lease_seconds=60)
    assert store.decide(decision("accept", sha(0), "anna", 1, lease_token=hers.token)).outcome is Outcome.STORED
    assert store.decide(decision("accept", sha(0), "berta", 1, lease_token=his.token)).outcome is Outcome.CONFLICT


def test_a_stale_version_without_a_lease_is_a_conflict(store: Store) -> None:
    add_images(store, 1)
    store.decide(decision("accept", sha(0), "anna", 1, expected_version=0))
    assert store.decide(decision("accept", sha(0), "berta", 1, expected_version=0)).outcome is Outcome.CONFLICT


def test_labels_brought_in_without_lease_or_version_are_no_conflict(store: Store) -> None:
    add_images(store, 1)
    for by in ("anna", "berta"):
        assert store.decide(decision("accept", sha(0), by, 1)).outcome is Outcome.STORED
    assert [label.conflict for label in store.labels()] == [False, False]


def test_with_overlap_two_annotators_on_one_image_are_no_conflict_but_a_third_is(store: Store, clock: Clock) -> None:
    store.save_settings(Settings(labelling=LabellingSettings(overlap=2)))
    add_images(store, 1)
    leases = {}
    for by in ("anna", "berta", "carla"):
        (leases[by],) = store.lease_next(by, limit=1, overlap=2, lease_seconds=60)
        clock.go_on(40)  # two leases live at once, never three
    outcomes = [
        store.decide(decision("accept", sha(0), by, 1, lease_token=leases[by].token, expected_version=0)).outcome
        for by in leases
    ]
    assert outcomes == [Outcome.STORED, Outcome.STORED, Outcome.CONFLICT]


@pytest.mark.parametrize("settled_by", ["undo", "adjudicate"])
def test_a_conflict_ends_when_it_is_taken_back_or_adjudicated(store: Store, settled_by: str) -> None:
    add_images(store, 1)
    store.decide(decision("accept", sha(0), "anna", 1, expected_version=0))
    late = decision("accept", sha(0), "berta", 2, expected_version=0)
    store.decide(late)
    store.decide(undo(late) if settled_by == "undo" else decision("adjudicate", sha(0), "carla", 2))
    assert not any(label.conflict for label in store.labels())
    assert store.check_projection() == []


def test_annotators_labels_stand_side_by_side(store: Store) -> None:
    add_images(store, 2)
    store.decide(decision("accept", sha(1), "berta", 1))
    store.decide(decision("accept", sha(0), "anna", 1))
    store.decide(decision("unsure", sha(0), "berta"))
    assert [(image, by, state) for image, by, state, _ in in_force(store)] == [
        (sha(0), "anna", "labelled"),
        (sha(0), "berta", "unsure"),
        (sha(1), "berta", "labelled"),
    ]
    assert in_force(store, "anna") == [(sha(0), "anna", "labelled", 1)]


# ---------------------------------------------------------------------------- append-only
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE events SET class_id = 2",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events SELECT * FROM events",
        "REPLACE INTO events (id, kind, image, annotator, suggestion_shown, made_at, at, outcome, image_version)"
        " SELECT id, 'skip', image, annotator, 0, made_at, at, 'stored', 9 FROM events",
    ],
)
def test_events_cannot_be_changed_even_from_outside(store: Store, sql: str) -> None:
    add_images(store, 1)
    store.decide(decision("accept", sha(0), class_id=1))
    with sqlite3.connect(store.path) as stranger, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        stranger.execute(sql)
    stranger.close()
    assert in_force(store) == [(sha(0), "anna", "labelled", 1)]


def test_the_first_labels_alone_are_the_first_of_all_of_them(store: Store) -> None:
    add_images(store, 6)
    for number in (5, 3, 1, 4):
        store.decide(decision("accept", sha(number), class_id=1))
        store.decide(decision("correct", sha(number), "bert", class_id=2))
    every = store.labels()
    assert [store.labels(limit=n) for n in range(9)] == [every[:n] for n in range(9)]
    assert store.labels("bert", limit=2) == store.labels("bert")[:2]

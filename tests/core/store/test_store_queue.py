"""The queue: who gets which image, in which order, and what it costs."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from store_values import Clock, add_images, decision, image, leased, prediction, sha, start_run, undo

from core.errors import InvalidInput
from core.settings import ORDERS, LabellingSettings, Settings
from core.store import Store, leases
from core.store.records import Progress
from core.types import Status


def test_without_a_run_images_come_in_order_of_import(store: Store) -> None:
    images = add_images(store, 5)
    assert leased(store, limit=3) == images[:3]


def test_uncertain_ones_first_then_those_without_prediction_then_skipped_ones(store: Store) -> None:
    images = add_images(store, 7)
    run = start_run(store)
    margins = {0: 0.9, 1: 0.1, 2: 0.5, 3: None, 4: 0.3}
    store.save_predictions(run, [prediction(images[n], margin) for n, margin in margins.items()])
    store.decide(decision("skip", images[4]))
    store.decide(decision("skip", images[1]))
    expected = [images[n] for n in (2, 0, 3, 5, 6, 4, 1)]
    assert leased(store, limit=10, run_id=run) == expected
    assert leased(store, limit=4, run_id=run) == expected[:4]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("uncertainty", [2, 3, 1, 0]),
        ("disagreement", [1, 3, 2, 0]),  # 1: another flag than the best score; 3: abstained
        ("import", [0, 1, 2, 3]),
        ("look-alikes", [3, 0, 2, 1]),  # by flag, then by perceptual hash
        ("random", sorted(range(4), key=sha)),
    ],
)
def test_each_order_of_the_queue(store: Store, order: str, expected: list[int]) -> None:
    store.add_images([image(n, phash=phash) for n, phash in enumerate(["00", "50", "0f", "01"])])
    run = start_run(store)
    store.save_predictions(
        run,
        [
            prediction(sha(0), 0.9),
            prediction(sha(1), 0.8, flag=2, best=1),
            prediction(sha(2), 0.1),
            prediction(sha(3), 0.5, flag=None),
        ],
    )
    assert leased(store, order=order, run_id=run) == [sha(n) for n in expected]


def test_an_unknown_order_is_refused_with_those_there_are(store: Store) -> None:
    with pytest.raises(InvalidInput, match="uncertainty, disagreement"):
        store.lease_next("anna", limit=1, order="alphabetical")


def test_every_order_of_the_settings_has_a_sort_key() -> None:
    assert set(leases.SORT_KEYS) == set(ORDERS)


def test_active_support_never_comes_and_removed_support_comes_back(store: Store) -> None:
    images = add_images(store, 2)
    member = store.add_support(images[0], 1, by="anna")
    assert leased(store) == [images[1]]
    store.remove_support(member.id, by="anna")
    assert leased(store) == images


def test_two_annotators_never_hold_the_same_image(store: Store) -> None:
    images = add_images(store, 6)
    assert leased(store, "anna", limit=4) == images[:4]
    assert leased(store, "berta", limit=4) == images[4:]
    assert leased(store, "carla", limit=4) == []


def test_an_expired_lease_goes_to_the_next_with_a_greater_token(store: Store, clock: Clock) -> None:
    add_images(store, 1)
    (first,) = store.lease_next("anna", limit=1, lease_seconds=30)
    clock.go_on(29)
    assert leased(store, "berta") == []
    clock.go_on(1)
    (second,) = store.lease_next("berta", limit=1, lease_seconds=30)
    assert second.token > first.token and second.image == first.image


def test_asking_again_gives_the_same_images_and_tokens_after_a_refresh(store: Store, clock: Clock) -> None:
    add_images(store, 3)
    before = store.lease_next("anna", limit=3, lease_seconds=60)
    clock.go_on(30)
    after = store.lease_next("anna", limit=3, lease_seconds=60)
    assert [(x.image, x.token) for x in after] == [(x.image, x.token) for x in before]
    assert all(new.expires_at > old.expires_at for new, old in zip(after, before, strict=True))


def test_what_the_annotator_has_is_not_given_again_but_stays_reserved(store: Store, clock: Clock) -> None:
    images = add_images(store, 4)
    have = leased(store, limit=2, lease_seconds=60)
    clock.go_on(50)
    assert leased(store, limit=2, have=have, lease_seconds=60) == images[2:]
    clock.go_on(50)  # the first leases would have run out, had they not been prolonged
    assert leased(store, "berta") == []


def test_a_decision_gives_the_lease_back_and_an_undo_brings_the_image_back_to_the_queue(store: Store) -> None:
    (only,) = add_images(store, 1)
    store.lease_next("anna", limit=1)
    told = decision("accept", only, class_id=1)
    store.decide(told)
    assert leased(store, "anna") == [] and leased(store, "berta") == []
    store.decide(undo(told))
    assert leased(store, "berta") == [only]


def test_a_skipped_image_comes_last_to_its_annotator_and_at_once_to_others(store: Store) -> None:
    images = add_images(store, 2)
    store.decide(decision("skip", images[0]))
    assert leased(store, "berta", limit=1) == [images[0]]
    store.release_leases("berta")
    assert leased(store, "anna") == [images[1], images[0]]


def test_what_an_annotator_marked_unsure_is_a_list_of_its_own_until_it_is_decided(store: Store) -> None:
    images = add_images(store, 4)
    for put_aside in (images[2], images[0]):
        store.decide(decision("unsure", put_aside))
    store.decide(decision("unsure", images[1], "bert"))
    mine = store.lease_next("anna", limit=9, order="unsure")
    assert [lease.image for lease in mine] == [images[2], images[0]], "in the order in which they were put aside"
    assert [lease.image for lease in store.lease_next("anna", limit=9, order="unsure", have=[images[2]])] == [images[0]]
    store.decide(decision("correct", images[2], class_id=1))
    assert [lease.image for lease in store.lease_next("anna", limit=9, order="unsure")] == [images[0]]


def test_an_unsure_image_leaves_the_queue_for_everybody(store: Store) -> None:
    images = add_images(store, 2)
    store.decide(decision("unsure", images[0]))
    assert leased(store, "anna") == [images[1]]
    store.release_leases("anna")
    assert leased(store, "berta") == [images[1]]


def test_overlap_gives_an_image_to_n_annotators_and_never_twice_to_one(store: Store) -> None:
    images = add_images(store, 2)
    store.decide(decision("accept", images[0], "anna", 1))
    assert leased(store, "anna", overlap=2) == [images[1]]
    assert leased(store, "berta", overlap=2) == images
    assert leased(store, "carla", overlap=2) == []  # anna and berta are at both already
    store.decide(decision("accept", images[0], "berta", 2))
    assert leased(store, "carla", overlap=3) == images


def test_a_lease_tells_nothing_of_what_others_decided(store: Store) -> None:
    (only,) = add_images(store, 1)
    store.decide(decision("accept", only, "anna", 2, note="clearly defective"))
    (lease,) = store.lease_next("berta", limit=1, overlap=2)
    assert set(type(lease).__slots__) == {"image", "token", "expires_at", "version"}
    assert lease.version == 1


def test_named_images_can_be_leased_unless_others_are_at_them_or_have_finished(store: Store) -> None:
    images = add_images(store, 5)
    store.add_support(images[0], 1, by="anna")
    store.decide(decision("accept", images[1], "berta", 1))
    assert leased(store, "berta", limit=1) == [images[2]]
    store.decide(decision("accept", images[3], "anna", 1))  # one's own comes back, to be corrected
    wanted = [images[4], images[3], images[2], images[1], images[0], images[4], sha(99)]
    assert [lease.image for lease in store.lease_images("anna", wanted)] == [images[4], images[3]]


@pytest.mark.parametrize("bad", [{"limit": 0}, {"limit": 10**6}, {"lease_seconds": 0}, {"overlap": 0}, {"have": ["x"]}])
def test_arguments_that_cannot_be_are_refused(store: Store, bad: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        store.lease_next("anna", **{"limit": 1, **bad})  # type: ignore[arg-type]


def test_images_whose_prediction_failed_are_listed_and_stay_in_the_queue(store: Store) -> None:
    images = add_images(store, 3)
    assert store.failed_images() == []
    run = start_run(store)
    store.save_predictions(
        run,
        [
            prediction(images[0], None, flag=None, status=Status.UNREADABLE, reason="It is truncated."),
            prediction(images[1], 0.5),
            prediction(images[2], None, flag=None, status=Status.FAILED, reason="The server was away."),
        ],
    )
    assert [(f.image, f.status, f.reason) for f in store.failed_images()] == [
        (images[0], Status.UNREADABLE, "It is truncated."),
        (images[2], Status.FAILED, "The server was away."),
    ]
    assert set(leased(store, run_id=run)) == set(images)


# ---------------------------------------------------------------------------- counts
def test_progress_counts_add_up(store: Store, clock: Clock) -> None:
    images = add_images(store, 8)
    store.add_support(images[0], 1, by="anna")
    store.decide(decision("accept", images[1], class_id=1))
    clock.go_on(100)
    store.decide(decision("correct", images[2], class_id=2))
    store.decide(decision("accept", images[3], "berta", 2))
    store.decide(decision("unsure", images[4]))
    store.decide(decision("skip", images[5]))
    assert store.counts("anna") == Progress(
        total=7, labelled=3, unsure=1, skipped=1, left=2, mine=2, labelled_last_minute=1
    )
    assert store.counts("berta") == Progress(
        total=7, labelled=3, unsure=1, skipped=0, left=3, mine=1, labelled_last_minute=1
    )


def test_progress_with_overlap_leaves_what_others_still_have_to_label(store: Store) -> None:
    store.save_settings(Settings(labelling=LabellingSettings(overlap=2)))
    images = add_images(store, 4)
    store.decide(decision("accept", images[0], "anna", 1))
    store.decide(decision("accept", images[1], "anna", 1))
    store.decide(decision("accept", images[1], "berta", 1))
    assert (store.counts("anna").left, store.counts("berta").left, store.counts("carla").left) == (2, 3, 3)
    assert store.counts("anna").left == len(leased(store, "anna", overlap=2))


def test_a_skipped_image_that_somebody_else_labelled_is_no_longer_counted_as_skipped(store: Store) -> None:
    images = add_images(store, 2)
    store.decide(decision("skip", images[0], "anna"))
    store.decide(decision("accept", images[0], "berta", 1))
    progress = store.counts("anna")
    assert (progress.labelled, progress.skipped, progress.left) == (1, 0, 1)


# ---------------------------------------------------------------------------- cost
def plan(store: Store, sql: str) -> list[str]:
    values = {"run_id": 1, "state": 0, "me": "anna", "now": "2026", "have": "[]", "overlap": 1, "limit": 30}
    with closing(sqlite3.connect(store.path)) as db:
        return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]


@pytest.mark.parametrize("order", ORDERS)
def test_the_walk_of_every_order_follows_an_index_and_never_sorts_or_scans(store: Store, order: str) -> None:
    for sql in (leases.predicted_sql(order), leases.unpredicted_sql(order), leases.SKIPPED_SQL):
        steps = plan(store, sql)
        assert not [step for step in steps if "TEMP B-TREE" in step]
        assert not [step for step in steps if step.startswith("SCAN") and "json_each" not in step]
    index = "predictions_" + order.replace("look-alikes", "look_alike")
    assert f"INDEX {index} " in plan(store, leases.predicted_sql(order))[0]


def test_look_alikes_are_the_undecided_images_of_one_flag_in_order_of_import_without_sorting(store: Store) -> None:
    images = add_images(store, 5)
    run = start_run(store)
    store.save_predictions(run, [prediction(images[n], 0.5, flag=1 + n % 2) for n in (4, 3, 2, 1, 0)])
    store.decide(decision("accept", images[2], class_id=1))
    asked: list[str] = []
    with store._pool.read() as db:
        db.set_trace_callback(asked.append)
    assert store.open_images(run, 1) == [images[0], images[4]]
    (sql,) = [text for text in asked if "predictions" in text]
    assert [step for step in plan(store, sql) if "TEMP B-TREE" in step or step.startswith("SCAN")] == []


def test_the_queue_and_the_counts_do_not_grow_with_what_is_labelled_already(store: Store) -> None:
    """Counted in steps of SQLite's machine, which no load of the computer changes."""
    images = add_images(store, 400)
    run = start_run(store)
    store.save_predictions(run, [prediction(image, n / 1000) for n, image in enumerate(images)])

    def steps() -> int:
        count = 0

        def tick() -> None:
            nonlocal count
            count += 1

        with store._pool.read() as db:
            db.set_progress_handler(tick, 10)
            db.execute(
                leases.predicted_sql("uncertainty"),
                {"run_id": run, "state": 0, "me": "anna", "now": "2026", "have": "[]", "overlap": 1, "limit": 10},
            ).fetchall()
            db.execute("SELECT sum(n) FROM image_tally").fetchall()
            db.set_progress_handler(None, 0)
        return count

    before = steps()
    for image_id in images[:300]:  # those with the smallest margins, as people label them
        store.decide(decision("accept", image_id, class_id=1))
    assert steps() <= before * 1.5

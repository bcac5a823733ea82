from __future__ import annotations

from pathlib import Path

import pytest
from store_values import Clock, add_images, decision, image, prediction, sha, start_run

from core.errors import InvalidInput, NotFound, ProjectError
from core.settings import LabellingSettings, PipelineSettings, Settings
from core.store import Store
from core.types import Box, Contributions, Evidence


# ---------------------------------------------------------------------------- images
def test_images_are_stored_once_in_order_of_import(store: Store) -> None:
    records = [image(n) for n in (3, 1, 2)]
    assert store.add_images([*records, records[0]]) == 3
    assert store.add_images([image(1, name="again.png"), image(4)]) == 1
    assert [r.name for r in store.images()] == ["cell0003.png", "cell0001.png", "cell0002.png", "cell0004.png"]
    assert [r.name for r in store.images(limit=2, offset=1)] == ["cell0001.png", "cell0002.png"]
    assert store.count_images() == 4
    assert store.has_images([sha(1), sha(9)]) == {sha(1)}
    assert store.image(sha(3)) == records[0]
    assert store.images_by_id([sha(2), sha(9)]) == {sha(2): records[2]}
    with pytest.raises(NotFound):
        store.image(sha(9))


def test_no_images_are_no_trouble(store: Store) -> None:
    assert store.add_images([]) == 0 and store.images() == [] and store.has_images([]) == set()


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("caf\udce9.png", r"caf\udce9.png"),  # Latin-1 on disk, as Python hands it over
        (" a\tb\n.png", " a\tb\n.png"),
        ("a\0.png", r"a\0.png"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
    ],
)
def test_no_file_name_stops_an_import(store: Store, name: str, stored: str) -> None:
    assert store.add_images([image(0, name=name), image(1)]) == 2
    assert store.image(sha(0)).name == stored


@pytest.mark.parametrize("bad", [{"sha256": "ABC"}, {"width": 0}, {"height": -1}, {"imported_at": "now"}])
def test_an_image_that_cannot_be_is_refused_with_the_whole_batch(store: Store, bad: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        store.add_images([image(1), image(2, **bad)])
    assert store.count_images() == 0


# ---------------------------------------------------------------------------- runs
def test_the_same_configuration_goes_on_with_its_run(store: Store, clock: Clock) -> None:
    assert store.current_run() is None
    first = start_run(store)
    store.finish_run(first)
    second = start_run(store, recipe="vote")
    current = store.current_run()
    assert current is not None and current.id == second != first
    clock.go_on(5)
    assert start_run(store) == first
    current = store.current_run()
    assert current is not None and (current.id, current.finished_at) == (first, None)
    assert current.resumed_at > current.started_at
    assert [r.id for r in store.runs()] == [first, second]


@pytest.mark.parametrize("field", ["encoder", "reasoner", "recipe", "settings_json", "support_version", "code_version"])
def test_any_change_of_configuration_is_another_run(store: Store, field: str) -> None:
    assert start_run(store) != start_run(store, **{field: "other"})


def test_a_prediction_comes_back_as_it_went_in(store: Store) -> None:
    add_images(store, 2)
    run = start_run(store)
    told = prediction(
        sha(0),
        0.6,
        evidence=(Evidence(1, 1, 0.74, 0.03, Box(0, 0, 32, 32), sha(1), Box(1, 2, 33, 34), 1),),
        contributions=Contributions(1, 2, (1, 2), (0.1, -0.2), 0.0, 0.5, {sha(1): -0.1}),
        ms={"score": 1.5},
    )
    (number,) = store.save_predictions(run, [told])
    assert store.prediction(run, sha(0)) == (number, told)
    assert store.prediction_by_id(number) == told
    assert store.predictions(run, [sha(0), sha(1)]) == {sha(0): (number, told)}
    assert store.prediction(run, sha(1)) is None and store.prediction(run + 1, sha(0)) is None
    assert store.predicted_images(run) == {sha(0)} and store.count_predictions(run) == 1


def test_a_prediction_that_was_shown_is_never_overwritten(store: Store) -> None:
    add_images(store, 1)
    run = start_run(store)
    (old,) = store.save_predictions(run, [prediction(sha(0), 0.2)])
    (new,) = store.save_predictions(run, [prediction(sha(0), 0.9)])
    assert store.prediction_by_id(old).margin == 0.2
    assert store.prediction(run, sha(0)) == (new, prediction(sha(0), 0.9))
    assert store.count_predictions(run) == 1 and store.predicted_images(run) == {sha(0)}
    assert [lease.image for lease in store.lease_next("anna", limit=5, run_id=run)] == [sha(0)]
    assert store.check_projection() == []


def test_a_merely_scored_prediction_is_completed_under_its_id(store: Store) -> None:
    add_images(store, 2)
    run = start_run(store)
    (scored, other) = store.save_predictions(
        run, [prediction(image, 0.2, contributions=None) for image in (sha(0), sha(1))]
    )
    store.decide(decision("accept", sha(0), class_id=1, prediction_id=scored))
    assert store.predicted_images(run) == set()
    assert store.predicted_images(run, complete=False) == {sha(0), sha(1)}
    complete = prediction(sha(0), 0.25, flag=2)
    assert store.save_predictions(run, [complete]) == [scored] != [other]
    assert store.prediction_by_id(scored) == complete and store.predicted_images(run) == {sha(0)}
    assert store.margins(run) == {sha(0): 0.25, sha(1): 0.2}


def test_the_latest_prediction_is_of_the_newest_run_but_a_complete_one_before_a_scored_one(store: Store) -> None:
    add_images(store, 1)
    assert store.latest_prediction(sha(0)) is None
    first, second = start_run(store), start_run(store, recipe="vote")
    (old,) = store.save_predictions(first, [prediction(sha(0), 0.1)])
    (new,) = store.save_predictions(second, [prediction(sha(0), 0.2, contributions=None)])
    found = store.latest_prediction(sha(0))
    assert found is not None and (found.id, found.run_id) == (old, first)
    store.save_predictions(second, [prediction(sha(0), 0.3)])
    found = store.latest_prediction(sha(0))
    assert found is not None and (found.id, found.run_id, found.prediction.margin) == (new, second, 0.3)


def test_predictions_of_unknown_images_or_runs_are_refused_as_a_whole(store: Store) -> None:
    add_images(store, 1)
    run = start_run(store)
    with pytest.raises(NotFound):
        store.save_predictions(run, [prediction(sha(0), 0.5), prediction(sha(7), 0.5)])
    with pytest.raises(NotFound):
        store.save_predictions(99, [prediction(sha(0), 0.5)])
    assert store.count_predictions(run) == 0


def test_pruning_keeps_newer_runs_and_what_an_event_names(store: Store) -> None:
    add_images(store, 2)
    ids = []
    for version in "abc":
        run = start_run(store, support_version=version)
        ids += store.save_predictions(run, [prediction(sha(0), 0.5), prediction(sha(1), 0.5)])
    store.decide(decision("accept", sha(0), class_id=1, prediction_id=ids[0]))
    assert store.prune_predictions(keep_runs=1) == 3
    assert store.prediction_by_id(ids[0]).image == sha(0)
    with pytest.raises(NotFound):
        store.prediction_by_id(ids[1])
    assert store.count_predictions(run) == 2 and store.check_projection() == []


# ---------------------------------------------------------------------------- settings and bases
def test_settings_are_defaults_until_saved_and_come_back(store: Store) -> None:
    assert store.settings() == Settings()
    wanted = Settings(PipelineSettings(recipe="vote", system_prompt="„ß“"), LabellingSettings(overlap=2))
    store.save_settings(wanted)
    store.save_settings(wanted)
    assert store.settings() == wanted


def test_the_newest_basis_of_an_encoder_counts(store: Store) -> None:
    assert store.basis("e") is None
    store.save_basis("one", "e", b"\0\1", "v1")
    store.save_basis("two", "e", b"\2", "v2")
    store.save_basis("three", "other", b"\3", "v3")
    assert store.basis("e") == ("two", b"\2", "v2")
    store.save_basis("one", "e", b"\0\1", "v4")
    assert store.basis("e") == ("one", b"\0\1", "v4")


# ---------------------------------------------------------------------------- the file
def test_everything_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "labels.db"
    with Store.open(path) as store:
        store.add_class("a")
        add_images(store, 2)
        store.add_support(sha(1), 1, by="anna")
        store.decide(decision("accept", sha(0), class_id=1))
        before = (store.images(), store.classes(), store.support_set(), store.labels(), store.counts("anna"))
    with Store.open(path) as store:
        assert (
            store.images(),
            store.classes(),
            store.support_set(),
            store.labels(),
            store.counts("anna"),
        ) == before


def test_a_backup_is_a_store_of_its_own_and_overwrites_nothing(store: Store, tmp_path: Path) -> None:
    add_images(store, 1)
    store.decide(decision("accept", sha(0), class_id=1))
    store.backup(tmp_path / "copy.db")
    with Store.open(tmp_path / "copy.db") as copy:
        assert copy.labels() == store.labels()
    with pytest.raises(ProjectError, match="exists already"):
        store.backup(tmp_path / "copy.db")


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "labels.db")
    store.close()
    with pytest.raises(ProjectError, match="closed"):
        store.images()

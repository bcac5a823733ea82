"""The whole core on real pictures and the real encoder: import, support, runs, the loop, what survives."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import KINDS, png, write_folder
from waiting import wait

from core import runs
from core.embedding_cache import EmbeddingCache
from core.errors import InvalidSettings, UnknownAdapter
from core.imports import sources_for
from core.labelling import QueueItem, is_withheld
from core.settings import Settings
from core.types import Decision, Kind, Outcome, Status
from core.workbench import Workbench

ANNOTATOR = "ada"


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    """Four examples a class and twelve queries, the worker not started; nothing is withheld."""
    with_examples = write_folder(tmp_path / "examples", 4, by_class=True)
    queries = write_folder(tmp_path / "queries", 6, first=100)
    opened = Workbench.open(tmp_path / "project")
    opened.import_support(with_examples, by=ANNOTATOR)
    opened.import_images(sources_for([queries]))
    show_everything(opened)
    yield opened
    opened.close()


def show_everything(workbench: Workbench) -> None:
    settings = workbench.settings
    workbench.save_settings(replace(settings, labelling=replace(settings.labelling, withhold_share=0.0)))


def run_to_the_end(workbench: Workbench) -> None:
    version = workbench.store.support_set().version
    workbench.start_worker()
    wait(
        lambda: workbench.run_status().state in ("done", "failed") and workbench.run_status().support_version == version
    )
    assert workbench.run_status().state == "done", workbench.run_status().sentence


def decision(item: QueueItem, kind: Kind, class_id: int | None = None) -> Decision:
    return Decision(
        id=str(uuid.uuid4()),
        kind=kind,
        image=item.image.sha256,
        annotator=ANNOTATOR,
        made_at="2026-11-24T12:00:00Z",
        class_id=class_id,
        expected_version=item.version,
        lease_token=item.lease_token,
        prediction_id=item.suggestion.prediction_id,
        suggestion_shown=item.suggestion.state == "shown",
    )


def test_every_query_gets_a_suggestion_with_evidence_that_adds_up(workbench: Workbench) -> None:
    run_to_the_end(workbench)
    names = {c.id: c.name for c in workbench.store.classes()}
    items = workbench.next_items(ANNOTATOR, limit=50)
    assert len(items) == 12
    for item in items:
        suggestion = item.suggestion.prediction
        assert item.suggestion.state == "shown" and suggestion is not None and suggestion.flag is not None
        assert item.image.name.startswith(names[suggestion.flag])
        parts, logit = suggestion.contributions, {s.class_id: s.logit for s in suggestion.scores}
        assert parts is not None and parts.against is not None
        difference = logit[parts.flag] - logit[parts.against]
        assert sum(parts.values) + parts.whole + parts.constant == pytest.approx(difference, abs=1e-4)
        assert sum(parts.by_support.values()) + parts.constant == pytest.approx(difference, abs=1e-4)
        assert suggestion.evidence and set(suggestion.cited_evidence) <= {e.number for e in suggestion.evidence}


def test_the_preview_of_a_predicted_image_is_there_before_it_is_asked_for(workbench: Workbench) -> None:
    run_to_the_end(workbench)
    kept = {path.stem for path in (workbench.project.thumbnails_dir / "1024").glob("*/*.webp")}
    assert kept == set(workbench.store.query_images())


def test_an_encoder_without_weights_is_said_and_labelling_goes_on(workbench: Workbench, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    run_to_the_end(workbench)
    usual = workbench.settings
    workbench.save_settings(replace(usual, pipeline=replace(usual.pipeline, encoder="clip")))
    wait(lambda: "Meanwhile" in workbench.run_status().sentence and workbench.run_status().state == "done")
    status = workbench.run_status()
    assert "model.safetensors of openai/clip-vit-base-patch32" in status.sentence and "hf download" in status.sentence
    assert status.encoder == "efficientnet-lite0"
    item = workbench.next_items(ANNOTATOR, limit=1)[0]
    assert item.suggestion.state == "shown"  # the default encoder's
    assert workbench.decide(decision(item, Kind.ACCEPT, item.suggestion.prediction.flag)).outcome is Outcome.STORED
    workbench.save_settings(usual)
    wait(lambda: workbench.run_status().state == "done")


def test_a_project_on_a_tiny_clip_gets_its_suggestions_and_keeps_its_embeddings(workbench: Workbench, tmp_path) -> None:
    from tests.core.encoders.tiny_models import tiny_clip

    pipeline = replace(
        workbench.settings.pipeline, encoder="clip", encoder_model=str(tiny_clip(tmp_path / "tiny", side=224, patch=32))
    )
    workbench.save_settings(replace(workbench.settings, pipeline=pipeline))
    run_to_the_end(workbench)
    for item in workbench.next_items(ANNOTATOR, limit=50):
        suggestion = item.suggestion.prediction
        parts, logit = suggestion.contributions, {s.class_id: s.logit for s in suggestion.scores}
        difference = logit[parts.flag] - logit[parts.against]
        assert parts.whole != 0  # a class token has no positions: one entry of its own
        assert sum(parts.values) + parts.whole + parts.text + parts.constant == pytest.approx(difference, abs=1e-4)
        assert sum(parts.by_support.values()) + parts.text + parts.constant == pytest.approx(difference, abs=1e-4)
    assert workbench.run_status().device == "cpu · torch float32"
    images = workbench.store.query_images()
    assert workbench.look_alikes(ANNOTATOR, images[0], limit=3) is not None
    engine = workbench._worker.engine
    assert engine is not None and set(engine.cached(images)) == set(images)


def test_a_restarted_worker_computes_only_what_is_missing(workbench: Workbench) -> None:
    run_to_the_end(workbench)
    run = workbench.store.current_run()
    root = workbench.project.root
    workbench.close()
    again = Workbench.open(root)
    try:
        run_to_the_end(again)
        engine = again._worker.engine
        assert engine is not None and engine.encoded == 0
        current = again.store.current_run()
        assert run is not None and current is not None and current.id == run.id
    finally:
        again.close()


def test_a_change_of_support_rescores_the_queue_without_encoding_again(workbench: Workbench, tmp_path: Path) -> None:
    run_to_the_end(workbench)
    before = {i.image.sha256: i.suggestion for i in workbench.next_items(ANNOTATOR, limit=50)}
    engine = workbench._worker.engine
    assert engine is not None
    encoded = engine.encoded
    workbench.remove_support(workbench.store.support()[0].id, by=ANNOTATOR)
    run_to_the_end(workbench)
    after = {i.image.sha256: i.suggestion for i in workbench.next_items(ANNOTATOR, limit=50)}
    removed = set(after) - set(before)
    assert len(removed) == 1, "the removed example is a query now"
    assert workbench._worker.engine is engine and engine.encoded - encoded <= 1, "only the removed example is new"
    for image in before:
        assert after[image].run_id != before[image].run_id and not after[image].stale


def test_predictions_of_an_earlier_support_set_are_shown_as_stale(workbench: Workbench) -> None:
    run_to_the_end(workbench)
    workbench.stop_worker()
    workbench.remove_support(workbench.store.support()[0].id, by=ANNOTATOR)
    assert all(item.suggestion.stale for item in workbench.next_items(ANNOTATOR, limit=50) if item.suggestion.run_id)


def test_a_worker_killed_between_two_images_goes_on_where_it_stopped(workbench: Workbench) -> None:
    workbench.start_worker()
    wait(lambda: workbench.run_status().done >= 8)
    workbench.stop_worker()
    done = workbench.store.predicted_images(workbench.store.current_run().id)  # type: ignore[union-attr]
    workbench.start_worker()
    wait(lambda: workbench.run_status().state == "done")
    engine = workbench._worker.engine
    assert engine is not None and engine.encoded <= 12 - len(done) + 8


def test_the_page_is_told_what_is_missing_until_two_classes_have_examples(tmp_path: Path) -> None:
    workbench = Workbench.open(tmp_path / "project")
    try:
        workbench.start_worker()
        wait(lambda: workbench.run_status().state == "no_images")
        workbench.import_images(sources_for([write_folder(tmp_path / "queries", 2)]))
        wait(lambda: workbench.run_status().state == "no_support")
        assert "no classes yet" in workbench.run_status().sentence
        item = workbench.next_items(ANNOTATOR, limit=1)[0]
        assert item.suggestion.state == "none" and "Support page" in item.suggestion.reason
        only = workbench.store.add_class("stripes")
        workbench.add_support_files([("a.png", png("stripes", 50))], only.id, by=ANNOTATOR)
        wait(lambda: "Only the class 'stripes'" in workbench.run_status().sentence)
        other = workbench.store.add_class("rings")
        workbench.add_support_files([("b.png", png("rings", 50))], other.id, by=ANNOTATOR)
        wait(lambda: workbench.run_status().state == "done")
        assert workbench.item(item.image.sha256, ANNOTATOR).suggestion.state in ("shown", "withheld")
    finally:
        workbench.close()


def test_a_lost_original_is_unreadable_with_its_reason_and_the_rest_goes_on(workbench: Workbench) -> None:
    query = workbench.store.query_images()[0]
    path = workbench.project.image_path(query)
    path.chmod(0o644)
    path.write_bytes(b"\xff\xd8\xff broken")
    run_to_the_end(workbench)
    found = workbench.store.latest_prediction(query)
    assert found is not None and found.prediction.status is Status.UNREADABLE and found.prediction.reason
    assert workbench.item(query, ANNOTATOR).suggestion.state == "failed"
    assert workbench.run_status().done == 12


def test_a_deleted_original_costs_its_own_suggestion_alone_and_comes_back_with_its_file(
    workbench: Workbench, tmp_path: Path
) -> None:
    lost, other = workbench.store.query_images()[:2]
    path = workbench.project.image_path(lost)
    path.rename(tmp_path / "kept.png")
    run_to_the_end(workbench)
    found = workbench.store.latest_prediction(lost)
    assert found is not None and found.prediction.status is Status.UNREADABLE
    assert workbench.store.image(lost).name in found.prediction.reason and "Import" in found.prediction.reason
    assert workbench.item(other, ANNOTATOR).suggestion.state == "shown"

    workbench.import_images(sources_for([tmp_path / "kept.png"]))
    wait(lambda: workbench.item(lost, ANNOTATOR).suggestion.state == "shown")


def test_a_deleted_support_image_is_left_out_by_name_and_the_rest_is_suggested(workbench: Workbench) -> None:
    gone = workbench.store.support()[0]
    workbench.project.image_path(gone.image).unlink()
    run_to_the_end(workbench)
    assert workbench.store.image(gone.image).name in workbench.run_status().sentence
    assert all(item.suggestion.state == "shown" for item in workbench.next_items(ANNOTATOR, limit=12))


def test_what_another_process_brings_in_is_noticed(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`import` on the command line while the server runs: nobody tells the worker."""
    monkeypatch.setattr(runs, "LOOK_SECONDS", 0.05)
    run_to_the_end(workbench)
    with closing(Workbench.open(workbench.project.root)) as elsewhere:
        elsewhere.import_images(sources_for([write_folder(tmp_path / "more", 2, first=500)]))
        wait(lambda: workbench.run_status().total == 16 and workbench.run_status().state == "done")
        elsewhere.remove_support(elsewhere.store.support()[0].id, by=ANNOTATOR)
    version = workbench.store.support_set().version
    wait(lambda: workbench.run_status().support_version == version and workbench.run_status().state == "done")
    assert all(not item.suggestion.stale for item in workbench.next_items(ANNOTATOR, limit=16))


def test_a_full_disk_is_named_and_the_run_goes_on_once_there_is_room(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(runs, "LOOK_SECONDS", 0.05)
    with monkeypatch.context() as patched:
        patched.setattr(EmbeddingCache, "add", full)
        workbench.start_worker()
        wait(lambda: workbench.run_status().state == "failed")
        assert "No space left on device" in workbench.run_status().sentence
    wait(lambda: workbench.run_status().state == "done")


def test_done_is_not_said_between_a_change_and_the_work_that_it_makes(workbench: Workbench) -> None:
    run_to_the_end(workbench)
    workbench.stop_worker()
    workbench._worker._status = replace(workbench._worker._status, state="done")  # as it was before the change
    workbench.remove_support(workbench.store.support()[0].id, by=ANNOTATOR)
    assert workbench.run_status().state == "computing"


def test_images_about_to_be_shown_are_predicted_first(workbench: Workbench) -> None:
    last = workbench.store.query_images()[-1]
    workbench._worker.prioritise([last])
    workbench.start_worker()
    wait(lambda: workbench.run_status().done >= 1)
    assert workbench.store.latest_prediction(last) is not None


def test_a_withheld_suggestion_never_leaves_the_core(workbench: Workbench) -> None:
    settings = workbench.settings
    workbench.save_settings(replace(settings, labelling=replace(settings.labelling, withhold_share=1.0)))
    run_to_the_end(workbench)
    for item in workbench.next_items(ANNOTATOR, limit=50):
        assert item.suggestion.state == "withheld" and item.suggestion.prediction is None
        assert workbench.detail(item.image.sha256, ANNOTATOR).by_support == ()


def test_the_withheld_share_is_kept_and_is_the_same_after_a_refresh() -> None:
    images = [f"{i:064x}" for i in range(4000)]
    first = [is_withheld(image, ANNOTATOR, 0.1) for image in images]
    assert 0.08 < sum(first) / len(images) < 0.12
    assert first == [is_withheld(image, ANNOTATOR, 0.1) for image in images]
    assert first != [is_withheld(image, "grace", 0.1) for image in images]


def test_a_decided_image_leaves_the_queue_and_undo_brings_it_back(workbench: Workbench) -> None:
    run_to_the_end(workbench)
    item = workbench.next_items(ANNOTATOR, limit=1)[0]
    assert item.suggestion.prediction is not None
    accept = decision(item, Kind.ACCEPT, item.suggestion.prediction.flag)
    assert workbench.decide(accept).outcome is Outcome.STORED
    assert item.image.sha256 not in {i.image.sha256 for i in workbench.next_items(ANNOTATOR, limit=50)}
    undo = replace(decision(item, Kind.UNDO), undoes=accept.id, expected_version=1)
    workbench.decide(undo)
    assert item.image.sha256 in {i.image.sha256 for i in workbench.next_items(ANNOTATOR, limit=50)}


def test_look_alikes_have_the_same_suggestion_and_are_reserved(workbench: Workbench) -> None:
    run_to_the_end(workbench)
    item = workbench.next_items(ANNOTATOR, limit=1)[0]
    alike = workbench.look_alikes(ANNOTATOR, item.image.sha256, limit=4, have=[item.image.sha256])
    assert len(alike) == 4
    flags = {i.suggestion.prediction.flag for i in [item, *alike] if i.suggestion.prediction}
    assert len(flags) == 1 and all(i.lease_token is not None for i in alike)
    assert not {i.image.sha256 for i in alike} & {i.image.sha256 for i in workbench.next_items("grace", limit=50)}


def test_look_alikes_do_not_tell_a_suggestion_that_is_withheld(workbench: Workbench) -> None:
    settings = workbench.settings
    run_to_the_end(workbench)
    images = [item.image.sha256 for item in workbench.next_items("grace", limit=50)]
    workbench.store.release_leases("grace", images)
    workbench.save_settings(replace(settings, labelling=replace(settings.labelling, withhold_share=0.5)))
    hidden = [image for image in images if is_withheld(image, ANNOTATOR, 0.5)]
    assert 0 < len(hidden) < len(images)
    assert not any(workbench.look_alikes(ANNOTATOR, image, limit=4) for image in hidden)
    assert any(workbench.look_alikes(ANNOTATOR, image, limit=4) for image in set(images) - set(hidden))


def test_the_calibration_moves_to_labels_once_there_are_enough(workbench: Workbench, tmp_path: Path) -> None:
    workbench.import_images(sources_for([write_folder(tmp_path / "more", 12, first=200)]))
    run_to_the_end(workbench)
    ids = {c.name: c.id for c in workbench.store.classes()}
    for item in workbench.next_items(ANNOTATOR, limit=32):
        kind = next(k for k in KINDS if item.image.name.startswith(k))
        workbench.decide(decision(item, Kind.CORRECT, ids[kind]))
    image = workbench.next_items(ANNOTATOR, limit=1)[0].image.sha256

    def calibrated() -> str:
        found = workbench.store.latest_prediction(image)
        return "" if found is None else found.prediction.calibrated.value

    assert calibrated() == "leave-one-out"
    workbench.changed()
    wait(lambda: calibrated() == "labels")


def test_leave_one_out_is_there_for_every_recipe_and_only_for_the_set_in_force(workbench: Workbench) -> None:
    assert workbench.leave_one_out() == {}
    run_to_the_end(workbench)
    results = workbench.leave_one_out()
    assert set(results) == {"ensemble", "patch", "whole", "vote"}
    assert results["ensemble"].accuracy == 1.0
    workbench.stop_worker()
    workbench.remove_support(workbench.store.support()[0].id, by=ANNOTATOR)
    assert workbench.leave_one_out() == {}


def test_another_recipe_is_a_run_of_its_own(workbench: Workbench) -> None:
    run_to_the_end(workbench)
    workbench.choose_recipe("vote")
    wait(lambda: workbench.run_status().recipe == "vote" and workbench.run_status().state == "done")
    assert {run.recipe for run in workbench.store.runs()} == {"ensemble", "vote"}
    with pytest.raises(InvalidSettings, match="ensemble, patch, whole, vote"):
        workbench.choose_recipe("magic")


def test_a_file_that_is_an_example_of_another_class_is_refused_by_name(workbench: Workbench) -> None:
    stripes, rings = (
        workbench.store.classes()
        if workbench.store.classes()[0].name == "stripes"
        else reversed(workbench.store.classes())
    )
    report = workbench.add_support_files(
        [("new.png", png("rings", 77)), ("known.png", png("rings", 0)), ("taken.png", png("stripes", 0))],
        rings.id,
        by=ANNOTATOR,
    )
    assert [a.name for a in report.added] == ["new.png"]
    assert [d.name for d in report.duplicates] == ["known.png"]
    assert [r.name for r in report.refused] == ["taken.png"] and "'stripes'" in report.refused[0].reason
    assert workbench.store.support_set().k_shot == {stripes.id: 4, rings.id: 5}


def test_an_unknown_export_format_names_those_there_are(workbench: Workbench, tmp_path: Path) -> None:
    with pytest.raises(UnknownAdapter, match="csv, folder, jsonl"):
        workbench.export("xlsx", tmp_path / "labels.xlsx")


def test_the_doctor_finds_lost_changed_and_stray_files(workbench: Workbench) -> None:
    assert all(check.ok is not False for check in workbench.doctor())
    first, second = workbench.store.query_images()[:2]
    workbench.project.image_path(first).unlink()
    path = workbench.project.image_path(second)
    path.chmod(0o644)
    path.write_bytes(b"short")
    (workbench.project.images_dir / "ab").mkdir(exist_ok=True)
    (workbench.project.images_dir / "ab" / ("ab" * 32)).write_bytes(b"stray")
    sentences = {(check.name, check.ok): check.sentence for check in workbench.doctor()}
    wrong = " ".join(c.sentence for c in workbench.doctor() if c.ok is False)
    assert "lost" in wrong and "changed on disk" in wrong
    assert "no row" in sentences[("stray files", None)]


def test_a_large_queue_is_rescored_from_standing_scores_as_from_nothing(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.standing_scores.FEWEST", 5)
    run_to_the_end(workbench)
    wait(lambda: workbench._worker._standing is not None)
    removed = workbench.store.support()[0]
    workbench.remove_support(removed.id, by=ANNOTATOR)
    run_to_the_end(workbench)
    job = workbench._worker._job
    assert job is not None and len(job.standing[0]) == 12
    images = [image for image in workbench.store.query_images() if image != removed.image]
    rows, scores = job.standing
    anew = job.engine.score(job.fitted, images)
    for i, image in enumerate(images):
        assert scores.logits[rows[image]] == pytest.approx(anew.logits[i], abs=1e-5)


def test_settings_of_a_newer_version_are_refused_with_what_to_do() -> None:
    with pytest.raises(InvalidSettings, match="tomorrow, which this version does not know"):
        Settings.from_dict({"pipeline": {"tomorrow": 1}})

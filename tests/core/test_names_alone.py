"""A project on a CLIP suggests before there is any example, and keeps suggesting what has none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import write_folder
from waiting import wait

from core.imports import sources_for
from core.types import Calibrated, Prediction
from core.workbench import Workbench
from tests.core.encoders.tiny_models import tiny_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    opened = Workbench.open(tmp_path / "project")
    opened.import_images(sources_for([write_folder(tmp_path / "queries", 2, first=100)]))
    yield opened
    opened.close()


def start(workbench: Workbench, folder: Path, **more: object) -> None:
    sizes = {"input_resolution": 64, "support_res": 64, "support_patch_size": 16}
    pipeline = replace(
        workbench.settings.pipeline,
        encoder="clip",
        encoder_model=str(folder),
        **(sizes | more),  # type: ignore[arg-type]
    )
    labelling = replace(workbench.settings.labelling, withhold_share=0.0)
    workbench.save_settings(replace(workbench.settings, pipeline=pipeline, labelling=labelling))
    workbench.start_worker()


def settled(workbench: Workbench, state: str = "done") -> str:
    wait(lambda: workbench.run_status().state in (state, "failed"))
    assert workbench.run_status().state == state, workbench.run_status().sentence
    return workbench.run_status().sentence


def predictions(workbench: Workbench) -> list[Prediction]:
    found = [item.suggestion.prediction for item in workbench.next_items("ada", limit=50)]
    assert found and all(found)
    return found  # type: ignore[return-value]


def assert_adds_up(p: Prediction) -> None:
    logit, parts = {s.class_id: s.logit for s in p.scores}, p.contributions
    assert parts is not None and parts.against is not None
    difference = logit[parts.flag] - logit[parts.against]
    assert sum(parts.values) + parts.whole + parts.text + parts.constant == pytest.approx(difference, abs=1e-4)
    assert sum(parts.by_support.values()) + parts.text + parts.constant == pytest.approx(difference, abs=1e-4)


def test_two_names_are_enough_to_begin_with(workbench: Workbench, folder: Path) -> None:
    names = [workbench.store.add_class(n).id for n in ("stripes", "rings")]
    start(workbench, folder)
    assert "rest on the names of the classes alone" in settled(workbench)
    for p in predictions(workbench):
        assert p.calibrated is Calibrated.NAMES and {s.class_id for s in p.scores} == set(names)
        assert "names of the classes alone" in p.explanation and not p.evidence
        assert_adds_up(p)
    assert workbench.leave_one_out() == {}
    encoded, third = workbench._worker.engine.encoded, workbench.store.add_class("dots").id  # type: ignore[union-attr]
    workbench.changed()
    wait(lambda: all(third in {s.class_id for s in p.scores} for p in predictions(workbench)))
    settled(workbench)
    assert workbench._worker.engine.encoded == encoded  # type: ignore[union-attr]


def test_one_class_is_told_that_names_are_enough(workbench: Workbench, folder: Path) -> None:
    workbench.store.add_class("stripes")
    start(workbench, folder)
    settled(workbench, "no_support")
    told = workbench.next_items("ada", limit=1)[0].suggestion
    wait(lambda: "names alone are enough" in workbench.next_items("ada", limit=1)[0].suggestion.reason)
    assert told.state == "none"
    workbench.store.add_class("rings")
    workbench.changed()
    settled(workbench)
    assert predictions(workbench)


def test_images_for_two_classes_do_not_make_the_third_disappear(
    workbench: Workbench, folder: Path, tmp_path: Path
) -> None:
    third = workbench.store.add_class("dots").id
    start(workbench, folder)
    workbench.import_support(write_folder(tmp_path / "examples", 3, by_class=True), by="ada")
    settled(workbench)
    wait(lambda: workbench.leave_one_out() != {})
    for p in predictions(workbench):
        assert p.calibrated is Calibrated.LEAVE_ONE_OUT and p.evidence
        (score,) = [s for s in p.scores if s.class_id == third]
        assert len(p.scores) == 3 and score.patch is None and score.probability > 0
        assert_adds_up(p)
    assert all(result.text_weight is not None for result in workbench.leave_one_out().values())


def test_a_description_changes_what_a_name_says(workbench: Workbench, folder: Path) -> None:
    first = workbench.store.add_class("stripes")
    workbench.store.add_class("rings")
    start(workbench, folder)
    settled(workbench)
    before = {p.image: p.scores[0].probability for p in predictions(workbench)}
    workbench.store.update_class(first.id, description="parallel lines from edge to edge")
    workbench.changed()
    wait(lambda: {p.image: p.scores[0].probability for p in predictions(workbench)} != before)


def test_names_can_be_switched_off(workbench: Workbench, folder: Path) -> None:
    workbench.store.add_class("stripes")
    workbench.store.add_class("rings")
    start(workbench, folder, text_prior=False)
    assert settled(workbench, "no_support").startswith("No class has a support image yet.")
    assert workbench.next_items("ada", limit=1)[0].suggestion.reason.startswith("No class has a support image yet.")


def test_a_damaged_text_half_leaves_the_images_to_speak_and_is_said(workbench: Workbench, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = tiny_clip(tmp_path / "clip") / "model.safetensors"
    tensors = load_file(weights)
    del tensors["text_projection.weight"]
    save_file(tensors, weights, metadata={"format": "pt"})
    workbench.import_support(write_folder(tmp_path / "examples", 2, by_class=True), by="ada")
    start(workbench, tmp_path / "clip")
    sentence = settled(workbench)
    assert "Class names are not used as a prior" in sentence and "text_projection.weight" in sentence
    assert all(s.text is None for p in predictions(workbench) for s in p.scores)

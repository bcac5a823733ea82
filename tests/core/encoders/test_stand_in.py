"""An encoder whose weights are missing never stops the workbench: the default one goes on, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import write_folder
from waiting import wait

import core.runs
from core.encoders import DEFAULT, create_encoders, create_encoders_or_stand_in, for_default
from core.errors import ModelUnavailable
from core.imports import sources_for
from core.settings import PipelineSettings
from core.workbench import Workbench
from tests.core.encoders.tiny_models import tiny_clip

CLIP = {"encoder": "clip", "input_resolution": 112, "support_res": 112, "support_patch_size": 16}


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    opened = Workbench.open(tmp_path / "project")
    opened.import_support(write_folder(tmp_path / "examples", 2, by_class=True), by="ada")
    opened.import_images(sources_for([write_folder(tmp_path / "queries", 1, first=100)]))
    yield opened
    opened.close()


def choose(workbench: Workbench, **pipeline: object) -> None:
    settings = replace(PipelineSettings(), **pipeline)  # type: ignore[arg-type]
    labelling = replace(workbench.settings.labelling, withhold_share=0.0)
    workbench.save_settings(replace(workbench.settings, pipeline=settings, labelling=labelling))
    workbench.start_worker()


@pytest.mark.parametrize("missing", ["hub id", "folder", "damaged"])
def test_the_default_encoder_goes_on_and_everything_names_it(
    workbench: Workbench, tmp_path: Path, missing: str
) -> None:
    model = {"hub id": "nobody/no-clip", "folder": str(tmp_path / "empty"), "damaged": str(tmp_path / "clip")}[missing]
    (tmp_path / "empty").mkdir()
    if missing == "damaged":
        weights = tiny_clip(tmp_path / "clip") / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:5000])
    choose(workbench, encoder_model=model, dense="maskclip", patch_mode="crops", **CLIP)
    wait(lambda: workbench.run_status().state in ("done", "failed"))
    status = workbench.run_status()
    assert status.state == "done" and status.encoder == DEFAULT
    words = {"hub id": "hf download nobody/no-clip", "folder": "config.json", "damaged": "cannot be loaded"}[missing]
    assert words in status.sentence and f"Meanwhile the encoder {DEFAULT} computes." in status.sentence
    run = workbench.store.current_run()
    assert run is not None and run.encoder.startswith(f"{DEFAULT}-") and run.encoder.endswith("-p32-128")
    for item in workbench.next_items("ada", limit=10):
        assert item.suggestion.prediction is not None and item.suggestion.prediction.encoder == run.encoder


def test_the_wanted_encoder_takes_over_once_its_files_are_there(
    workbench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.runs, "LOOK_SECONDS", 0.1)
    ready = tiny_clip(tmp_path / "elsewhere")
    folder = tmp_path / "clip"
    folder.mkdir()
    sizes = CLIP | {"input_resolution": 64, "support_res": 64}
    choose(workbench, encoder_model=str(folder), **sizes)
    wait(lambda: workbench.run_status().state == "done")
    first = workbench.store.current_run()
    assert first is not None and first.encoder.startswith(DEFAULT)
    for path in sorted(ready.iterdir()):  # config.json before the weights: for a moment the model is incomplete
        path.rename(folder / path.name)
    wait(lambda: workbench.run_status().encoder == "clip-clip" and workbench.run_status().state == "done")
    status, second = workbench.run_status(), workbench.store.current_run()
    assert "Meanwhile" not in status.sentence
    assert second is not None and second.id != first.id and second.encoder.startswith("clip-clip-")


def test_files_that_could_not_be_loaded_are_tried_again_only_when_they_are_others(tmp_path: Path) -> None:
    weights = tiny_clip(tmp_path / "clip") / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:5000])
    settings = PipelineSettings(encoder_model=str(tmp_path / "clip"), **(CLIP | {"input_resolution": 64}))
    *_, missing = create_encoders_or_stand_in(settings, threads=1)
    assert missing is not None and not missing.is_there()
    weights.write_bytes(whole)
    assert missing.is_there()
    query, support, missing = create_encoders_or_stand_in(settings, threads=1)
    assert missing is None and query.id.startswith("clip-clip-") and support.id != query.id


def test_without_a_stand_in_a_missing_encoder_is_an_error() -> None:
    with pytest.raises(ModelUnavailable, match="hf download nobody/no-clip"):
        create_encoders(PipelineSettings(encoder_model="nobody/no-clip", **CLIP))


@pytest.mark.parametrize(
    ("given", "wanted"),
    [((224, 224, 16), (224, 224, 32)), ((336, 224, 112), (320, 224, 32)), ((512, 256, 64), (512, 256, 64)),
     ((42, 70, 14), (32, 64, 32)), ((1022, 518, 14), (1024, 512, 32))],
)  # fmt: skip
def test_settings_are_made_fit_for_the_default_encoder(
    given: tuple[int, int, int], wanted: tuple[int, int, int]
) -> None:
    names = ("input_resolution", "support_res", "support_patch_size")
    settings = PipelineSettings(**dict(zip(names, given, strict=True)), k_retrieval=5)
    fit = for_default(replace(settings, encoder="clip", encoder_model="some/model", patch_mode="crops"))
    assert (fit.input_resolution, fit.support_res, fit.support_patch_size) == wanted
    assert (fit.encoder, fit.encoder_model, fit.k_retrieval) == (DEFAULT, "", 5)
    create_encoders(fit, threads=1)

"""The health panel's figures: of what really is loaded, and never a secret."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import write_folder

from core.imports import sources_for
from core.loaded import public_address, weights_of
from core.workbench import Workbench


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    opened = Workbench.open(tmp_path / "project")
    opened.import_support(write_folder(tmp_path / "examples", 2, by_class=True), by="ada")
    opened.import_images(sources_for([write_folder(tmp_path / "queries", 1, first=100)]))
    yield opened
    opened.close()


def run(workbench: Workbench) -> None:
    workbench.start_worker()
    deadline = time.monotonic() + 60
    while workbench.run_status().state not in ("done", "failed"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_before_the_worker_runs_nothing_is_loaded(workbench: Workbench) -> None:
    found = workbench.loaded()
    assert (found.encoder.state, found.encoder.running, found.encoder.chosen) == (
        "not loaded",
        "",
        "efficientnet-lite0",
    )
    assert found.caches == () and found.speed.images_per_second is None and not found.encoder.wanting


def test_what_is_loaded_is_told_with_source_size_and_device(workbench: Workbench) -> None:
    run(workbench)
    found = workbench.loaded()
    assert found.encoder.state == found.reasoner.state == "in use"
    assert found.encoder.source.endswith(".pth") and (found.encoder.stored_bytes or 0) > 10_000_000
    assert found.encoder.device == "cpu · onnxruntime"
    assert found.reasoner.running == "evidence" and found.reasoner.source == "" and found.reasoner.speed
    (use,) = found.caches
    assert use.in_use and use.images >= 4 and use.bytes > 0
    assert (found.process_bytes or 0) > 10_000_000 and found.device


def test_a_missing_model_is_stood_in_for_and_both_are_named(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    settings = workbench.settings
    workbench.save_settings(replace(settings, pipeline=replace(settings.pipeline, encoder="clip", reasoner="qwen2-vl")))
    run(workbench)
    found = workbench.loaded()
    assert (found.encoder.chosen, found.encoder.running, found.encoder.state) == (
        "clip",
        "efficientnet-lite0",
        "standing in",
    )
    assert found.encoder.wanting and found.encoder.wanting.command.startswith(("hf download", "/"))
    assert (found.reasoner.chosen, found.reasoner.running, found.reasoner.state) == (
        "qwen2-vl",
        "evidence",
        "standing in",
    )
    assert workbench.run_status().state == "done"  # labelling goes on


def test_no_secret_is_shown_only_whether_it_is_set(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    found = workbench.loaded()
    assert "very-secret" not in repr(found)
    assert ("OPENAI_API_KEY", True) in found.secrets and ("HF_TOKEN", False) in found.secrets


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://ada:secret@host:8000/v1?key=secret#secret", "http://host:8000/v1"),
        ("https://host/v1", "https://host/v1"),
        ("/models/clip", "/models/clip"),
        ("http://host:port/v1", "(an address that cannot be read)"),
        ("", ""),
    ],
)
def test_an_address_is_shown_without_credentials(given: str, shown: str) -> None:
    assert public_address(given) == shown


def test_parameters_are_counted_in_the_headers_alone(tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file({"a": np.zeros((3, 5), np.float32), "b": np.zeros(7, np.float32)}, tmp_path / "model.safetensors")
    parameters, stored = weights_of(tmp_path)
    assert parameters == 22 and stored == (tmp_path / "model.safetensors").stat().st_size
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 100)
    assert weights_of(tmp_path) == (None, None)
    assert weights_of(tmp_path / "nowhere") == (None, None)


def test_how_long_a_step_took_lately_is_read_from_the_run_alone(workbench: Workbench) -> None:
    run(workbench)
    current = workbench.store.current_run()
    assert current is not None
    took = workbench.store.recent_milliseconds(current.id, "score")
    assert len(took) == workbench.store.count_predictions(current.id) and all(t > 0 for t in took)
    assert workbench.store.recent_milliseconds(current.id, "score", 1) == took[:1]
    assert workbench.store.recent_milliseconds(current.id + 1, "score") == []
    assert workbench.store.recent_milliseconds(current.id, "no such step") == []

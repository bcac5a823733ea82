"""A vision-language model in a project: what it says reaches the page, and its absence or failure stops nobody."""

from __future__ import annotations

import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_openai import EXPLANATION, MODEL, Fake, running
from pictures import write_folder
from waiting import wait

import core.reasoning_lane
import core.workbench
from core.imports import sources_for
from core.labelling import Suggestion
from core.ports import ReasonRequest
from core.reasoners import qwen2_vl
from core.reasoners._local_model import LocalModel
from core.reasoning import failed
from core.settings import PipelineSettings
from core.types import Answer, Decision, Kind, Outcome, Reasoning, Status
from core.workbench import Workbench


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    """Two examples a class and three queries; nothing is withheld."""
    opened = Workbench.open(tmp_path / "project")
    opened.import_support(write_folder(tmp_path / "examples", 2, by_class=True), by="ada")
    opened.import_images(sources_for([write_folder(tmp_path / "queries", 1, first=100)]))
    yield opened
    opened.close()


def start_with(workbench: Workbench, withheld: float = 0.0, **pipeline: object) -> None:
    settings = workbench.settings
    workbench.save_settings(
        replace(
            settings,
            pipeline=replace(PipelineSettings(), **pipeline),  # type: ignore[arg-type]
            labelling=replace(settings.labelling, withhold_share=withheld),
        )
    )
    workbench.start_worker()


def run_with(workbench: Workbench, withheld: float = 0.0, **pipeline: object) -> None:
    start_with(workbench, withheld, **pipeline)
    wait(lambda: workbench.run_status().state in ("done", "failed"))
    assert workbench.run_status().state == "done", workbench.run_status().sentence


def suggestions(workbench: Workbench) -> list[Suggestion]:
    items = workbench.next_items("ada", limit=50)
    assert items
    return [item.suggestion for item in items]


def test_the_flag_is_the_models_and_the_scores_stand(workbench: Workbench, folder: Path) -> None:
    run_with(workbench, reasoner="qwen2-vl", reasoner_model=str(folder), max_new_tokens=4, max_visual_tokens=96)
    classes = {c.id for c in workbench.store.classes()}
    for told in suggestions(workbench):
        prediction = told.prediction
        assert told.state == "shown" and prediction is not None and not told.reason
        assert prediction.flag in classes and prediction.reasoner.startswith("qwen2-vl tiny-qwen2-vl-")
        assert {s.class_id for s in prediction.scores} == classes and prediction.contributions is not None
        assert prediction.contributions.flag == prediction.flag
        assert prediction.transcript.count("[picture") == len(prediction.evidence) + 1  # every crop was found


def test_a_model_that_is_no_longer_chosen_gives_its_memory_back(workbench: Workbench, folder: Path) -> None:
    run_with(workbench, reasoner="qwen2-vl", reasoner_model=str(folder), max_new_tokens=4, max_visual_tokens=96)
    assert workbench._worker.engine is not None
    model = weakref.ref(workbench._worker.engine.pipeline.reasoner.loaded._loaded.model)  # type: ignore[attr-defined]
    assert model() is not None
    run_with(workbench)
    wait(lambda: workbench.run_status().reasoner.startswith("evidence"))
    assert model() is None


def test_a_model_that_is_not_there_is_stood_in_for_and_that_is_said(workbench: Workbench) -> None:
    run_with(workbench, reasoner="qwen2-vl", reasoner_model="nobody/no-such-model")
    status = workbench.run_status()
    assert "hf download nobody/no-such-model" in status.sentence
    assert status.reasoner == "evidence (no vision-language model: qwen2-vl is not available)"
    for told in suggestions(workbench):
        assert told.state == "shown" and told.prediction is not None and told.prediction.flag is not None
        assert told.prediction.reasoner == status.reasoner and "hf download" in told.prediction.reason


class Away:
    id = "away"

    def reason(self, request: ReasonRequest) -> Answer:
        return failed("The server is away.")


class Liar(Away):
    def reason(self, request: ReasonRequest) -> Answer:
        return Answer(4711, "because")


class Dead(Away):
    def reason(self, request: ReasonRequest) -> Answer:
        raise RuntimeError("a bug")


@pytest.mark.parametrize(
    ("reasoner", "words"), [(Away, "server is away"), (Liar, "not offered"), (Dead, "internal error")]
)
def test_a_reasoner_that_fails_leaves_scores_and_evidence_without_a_flag(
    workbench: Workbench, monkeypatch: pytest.MonkeyPatch, reasoner: type[Away], words: str
) -> None:
    monkeypatch.setattr(core.workbench, "create_reasoner_or_stand_in", lambda name, settings: reasoner())
    run_with(workbench)
    items = workbench.next_items("ada", limit=50)
    for item in items:
        told = item.suggestion
        assert told.state == "shown" and words in told.reason and told.prediction is not None
        assert told.prediction.flag is None and told.prediction.status is Status.FAILED
        assert told.prediction.scores and told.prediction.evidence and told.support
    chosen = workbench.store.classes()[0].id
    decision = Decision(
        "00000000-0000-4000-8000-000000000001",
        Kind.CORRECT,
        items[0].image.sha256,
        "ada",
        "2026-11-24T12:00:00Z",
        class_id=chosen,
        prediction_id=items[0].suggestion.prediction_id,
        suggestion_shown=True,
        expected_version=items[0].version,
        lease_token=items[0].lease_token,
    )
    assert workbench.decide(decision).outcome is Outcome.STORED


def test_a_failed_prediction_is_withheld_like_any_other(workbench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.workbench, "create_reasoner_or_stand_in", lambda name, settings: Away())
    run_with(workbench, withheld=1.0)
    for told in suggestions(workbench):
        assert told.state == "withheld" and told.prediction is None and not told.support


def test_what_loading_takes_is_said_before(workbench: Workbench, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    whole = workbench._worker._say
    monkeypatch.setattr(workbench._worker, "_say", lambda state, words: (said.append(words), whole(state, words)))
    run_with(workbench, reasoner="qwen2-vl", reasoner_model=str(folder), max_new_tokens=4, max_visual_tokens=96)
    loading = [words for words in said if words.startswith("Loading the encoder")]
    assert len(loading) == 1 and "parameters) takes about 0.7 GB in float32" in loading[0]


# --------------------------------------------------------------------------- a server
@pytest.fixture(scope="module")
def server() -> Iterator[Fake]:
    with running() as fake:
        yield fake


def test_what_a_server_answers_reaches_the_page_with_how_it_was_asked(
    workbench: Workbench, server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url("good", "in-a-project"))
    run_with(workbench, reasoner="openai")
    wait(lambda: all(s.prediction is not None and s.prediction.transcript for s in suggestions(workbench)))
    for told in suggestions(workbench):
        prediction = told.prediction
        assert prediction is not None and prediction.reasoning is Reasoning.ANSWERED
        assert prediction.reasoner == f"openai {MODEL} at 127.0.0.1:{server.server_address[1]}"
        assert prediction.explanation == EXPLANATION and prediction.prompt
        assert set(prediction.class_probabilities or {}) == {c.id for c in workbench.store.classes()}
        assert "Asked for a letter by structured outputs." in prediction.transcript


def test_what_a_server_lacks_is_said_on_the_runs_page(
    workbench: Workbench, server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url("no-logprobs", "in-a-project"))
    run_with(workbench, reasoner="openai")
    wait(lambda: "gives no probabilities for the classes" in workbench.run_status().sentence)


def test_a_server_that_hangs_holds_back_neither_suggestions_nor_keys_nor_the_end(
    workbench: Workbench, server: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url("hang", "in-a-project"))
    settings = workbench.settings
    labelling = replace(settings.labelling, withhold_share=0.0)
    workbench.save_settings(
        replace(settings, pipeline=replace(PipelineSettings(), reasoner="openai"), labelling=labelling)
    )
    workbench.start_worker()
    wait(lambda: server.asked["hang"] > 0 and all(s.state == "shown" for s in suggestions(workbench)))
    item = workbench.next_items("ada", limit=50)[0]
    prediction = item.suggestion.prediction
    assert prediction is not None and prediction.reasoning is Reasoning.PENDING and prediction.flag is not None
    decision = Decision(
        "00000000-0000-4000-8000-000000000002",
        Kind.ACCEPT,
        item.image.sha256,
        "ada",
        "2026-11-24T12:00:00Z",
        class_id=prediction.flag,
        prediction_id=item.suggestion.prediction_id,
        suggested_class=prediction.flag,
        suggestion_shown=True,
        expected_version=item.version,
        lease_token=item.lease_token,
    )
    assert workbench.decide(decision).outcome is Outcome.STORED
    began = time.monotonic()
    workbench.close()
    assert time.monotonic() - began < 15  # an answer may take a minute


def test_scores_and_evidence_do_not_wait_for_the_model_to_be_loaded(
    workbench: Workbench, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_load, whole = threading.Event(), qwen2_vl.load

    def slowly(source: LocalModel, device: str) -> object:
        assert may_load.wait(60)
        return whole(source, device)

    monkeypatch.setattr(qwen2_vl, "load", slowly)
    options = {"reasoner_model": str(folder), "max_new_tokens": 4, "max_visual_tokens": 96}
    start_with(workbench, reasoner="qwen2-vl", **options)
    wait(lambda: "Its model is being loaded" in workbench.run_status().sentence)
    for told in suggestions(workbench):
        assert told.prediction is not None and told.prediction.reasoning is Reasoning.PENDING
        assert told.prediction.evidence
    may_load.set()
    wait(lambda: workbench.run_status().state == "done")
    assert all(t.prediction and t.prediction.reasoning is Reasoning.ANSWERED for t in suggestions(workbench))
    assert "being loaded" not in workbench.run_status().sentence


def test_a_model_that_cannot_be_loaded_is_named_and_the_scores_speak(
    workbench: Workbench, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core.reasoning_lane, "FIRST_PAUSE", 0.01)
    damaged = Path(shutil.copytree(folder, tmp_path / "damaged"))
    (damaged / "chat_template.json").write_text("{}")
    run_with(workbench, reasoner="qwen2-vl", reasoner_model=str(damaged))
    assert "cannot be loaded: it lacks 'chat_template'" in workbench.run_status().sentence
    assert "asked again when the workbench is started" in workbench.run_status().sentence
    for told in suggestions(workbench):
        assert told.prediction is not None and told.prediction.reasoning is Reasoning.FAILED
        assert told.prediction.flag is not None and "cannot be loaded" in told.reason

"""A reasoner that people would wait for: scores and evidence come first, its answer when it comes, and it may not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pictures import write_folder
from waiting import wait

import core.reasoning_lane
import core.runs
import core.workbench
from core.imports import sources_for
from core.labelling import QueueItem
from core.ports import ReasonRequest
from core.reasoning import failed
from core.types import Answer, Decision, Kind, Outcome, Prediction, Reasoning
from core.workbench import Workbench


class Slow:
    """Answers when it is let, and against the scores."""

    slow = True
    id = "slow-vlm Tiny-0123456789ab · cpu"
    prompt_version = "feedfeedfeed"

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked: list[str] = []
        self.words = ["It", "It is"]

    def reason(self, request: ReasonRequest) -> Answer:
        self.asked.append(request.query.key)
        for text in self.words:
            if request.on_text is not None:
                request.on_text(text)
        assert self.may_answer.wait(60)
        least = min(request.scores, key=lambda s: s.logit).class_id
        chances = {s.class_id: 0.9 if s.class_id == least else 0.1 for s in request.scores}
        return Answer(least, "It is so [E1].", (1,), 2, "transcript", chances)


class Failing(Slow):
    """Fails until it is repaired."""

    def reason(self, request: ReasonRequest) -> Answer:
        self.asked.append(request.query.key)
        if not self.may_answer.is_set():
            return failed("The server is away.")
        return super().reason(request)


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    """Two examples a class, six queries; nothing is withheld."""
    opened = Workbench.open(tmp_path / "project")
    opened.import_support(write_folder(tmp_path / "examples", 2, by_class=True), by="ada")
    opened.import_images(sources_for([write_folder(tmp_path / "queries", 3, first=100)]))
    withhold(opened, 0.0)
    yield opened
    opened.close()


def withhold(workbench: Workbench, share: float) -> None:
    settings = workbench.settings
    workbench.save_settings(replace(settings, labelling=replace(settings.labelling, withhold_share=share)))


def run_with(workbench: Workbench, monkeypatch: pytest.MonkeyPatch, reasoner: Slow) -> None:
    monkeypatch.setattr(core.workbench, "create_reasoner_or_stand_in", lambda name, settings: reasoner)
    workbench.start_worker()


def shown(workbench: Workbench) -> list[QueueItem]:
    """All six, once their evidence is there."""
    found: list[QueueItem] = []

    def complete() -> bool:
        found[:] = workbench.next_items("ada", limit=50)
        return len(found) == 6 and all(i.suggestion.state == "shown" for i in found)

    wait(complete)
    return found


def told(item: QueueItem) -> Prediction:
    assert item.suggestion.prediction is not None
    return item.suggestion.prediction


def test_scores_and_evidence_are_shown_before_it_has_answered(workbench, monkeypatch):
    run_with(workbench, monkeypatch, Slow())
    for item in shown(workbench):
        prediction = told(item)
        assert prediction.reasoning is Reasoning.PENDING
        assert prediction.best is not None and prediction.flag == prediction.best.class_id
        assert prediction.evidence and prediction.contributions is not None and prediction.explanation
        assert prediction.reasoner == f"evidence (waiting for {Slow.id})"
    wait(lambda: "slow-vlm Tiny has answered on 0 of 6" in workbench.run_status().sentence)
    assert workbench.run_status().state == "computing"  # done would not be true


def test_its_answer_takes_the_place_of_the_scores_and_what_was_shown_is_kept(workbench, monkeypatch):
    slow = Slow()
    run_with(workbench, monkeypatch, slow)
    before = {i.image.sha256: i.suggestion.prediction_id for i in shown(workbench)}
    slow.may_answer.set()
    wait(lambda: workbench.run_status().state == "done")
    for item in shown(workbench):
        prediction = told(item)
        assert prediction.reasoning is Reasoning.ANSWERED and prediction.reasoner == Slow.id
        assert prediction.best is not None and prediction.flag != prediction.best.class_id
        assert prediction.contributions is not None and prediction.contributions.flag == prediction.flag
        assert prediction.cited_evidence == (1,) and prediction.dropped_citations == 2
        assert prediction.prompt == "feedfeedfeed" and prediction.class_probabilities is not None
        old = before[item.image.sha256]
        assert item.suggestion.prediction_id != old
        assert workbench.store.prediction_by_id(old).reasoning is Reasoning.PENDING
    status = workbench.run_status()
    assert status.reasoned == 6 and status.seconds_per_answer is not None
    assert len(slow.asked) == len(set(slow.asked)) == 6


def test_a_decision_made_before_it_answered_names_what_was_on_the_screen(workbench, monkeypatch):
    slow = Slow()
    run_with(workbench, monkeypatch, slow)
    item = shown(workbench)[0]
    decision = Decision(
        "00000000-0000-4000-8000-000000000001",
        Kind.ACCEPT,
        item.image.sha256,
        "ada",
        "2026-11-25T12:00:00Z",
        class_id=told(item).flag,
        prediction_id=item.suggestion.prediction_id,
        suggestion_shown=True,
        expected_version=item.version,
        lease_token=item.lease_token,
    )
    slow.may_answer.set()
    wait(lambda: workbench.run_status().state == "done")
    assert workbench.decide(decision).outcome is Outcome.STORED
    event = workbench.store.event(decision.id)
    assert workbench.store.prediction_by_id(event["prediction_id"]).flag == decision.class_id


def test_one_that_hangs_holds_up_neither_labelling_nor_the_end(workbench, monkeypatch):
    hanging = Slow()
    run_with(workbench, monkeypatch, hanging)
    items = shown(workbench)
    assert all(told(i).flag is not None for i in items)
    began = time.monotonic()
    workbench.close()
    assert time.monotonic() - began < 20  # not the 60 seconds that it hangs
    hanging.may_answer.set()


def test_where_it_fails_the_scores_speak_and_say_why(workbench, monkeypatch):
    monkeypatch.setattr(core.reasoning_lane, "FIRST_PAUSE", 0.01)
    failing = Failing()
    run_with(workbench, monkeypatch, failing)
    wait(lambda: workbench.run_status().state == "done")
    for item in shown(workbench):
        prediction = told(item)
        assert prediction.reasoning is Reasoning.FAILED and "server is away" in item.suggestion.reason
        assert prediction.best is not None and prediction.flag == prediction.best.class_id
        assert prediction.reasoner == f"evidence (no answer of {Slow.id})"
    assert "The server is away" in workbench.run_status().sentence
    assert len(failing.asked) == 6 * core.reasoning_lane.TRIES  # neither once nor for ever


def test_it_is_asked_again_and_answers_once_it_is_there(workbench, monkeypatch):
    monkeypatch.setattr(core.reasoning_lane, "FIRST_PAUSE", 0.05)
    failing = Failing()
    run_with(workbench, monkeypatch, failing)
    wait(lambda: any(told(i).reasoning is Reasoning.FAILED for i in shown(workbench)))
    failing.may_answer.set()
    wait(lambda: all(told(i).reasoning is Reasoning.ANSWERED for i in shown(workbench)))
    wait(lambda: workbench.run_status().state == "done")
    assert "answered on all" in workbench.run_status().sentence


def test_after_a_restart_it_is_asked_about_what_was_left_open(workbench, monkeypatch):
    run_with(workbench, monkeypatch, Slow())
    shown(workbench)
    workbench.stop_worker()
    ready = Slow()
    ready.may_answer.set()
    run_with(workbench, monkeypatch, ready)
    wait(lambda: workbench.run_status().state == "done")
    assert all(told(i).reasoning is Reasoning.ANSWERED for i in shown(workbench))


def test_images_about_to_be_shown_come_first(workbench, monkeypatch):
    slow = Slow()
    run_with(workbench, monkeypatch, slow)
    items = shown(workbench)
    wait(lambda: len(slow.asked) == 1)  # in hand: four of six
    job = workbench._worker._job
    assert job is not None and job.lane is not None
    last = [i.image.sha256 for i in items if i.image.sha256 in job.lane._waiting][-1]
    workbench._worker.prioritise([last])
    slow.may_answer.set()
    wait(lambda: len(slow.asked) == 6)
    assert slow.asked[4] == last


def test_what_it_writes_can_be_read_while_it_writes_but_not_where_it_is_withheld(workbench, monkeypatch):
    slow = Slow()
    run_with(workbench, monkeypatch, slow)
    shown(workbench)
    wait(lambda: len(slow.asked) == 1)
    image = slow.asked[0]
    wait(lambda: workbench.explanation_so_far(image, "ada") == ("It is", True))
    withhold(workbench, 1.0)
    assert workbench.explanation_so_far(image, "ada") == (None, False)
    withhold(workbench, 0.0)
    slow.may_answer.set()
    wait(lambda: workbench.explanation_so_far(image, "ada") == (None, False))


def test_it_is_asked_about_as_many_images_at_once_as_it_likes(workbench, monkeypatch):
    class Wide(Slow):
        together = 6

        def reason_batch(self, requests: list[ReasonRequest]) -> list[Answer]:
            batches.append(len(requests))
            return [self.reason(request) for request in requests]

    batches: list[int] = []
    wide = Wide()
    wide.may_answer.set()
    monkeypatch.setattr(core.runs, "CHUNK", 50)  # all six are waiting when it is asked first
    run_with(workbench, monkeypatch, wide)
    wait(lambda: workbench.run_status().state == "done")
    assert batches == [6]

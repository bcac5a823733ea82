"""The same question is not asked twice, and a question that differs in anything that a model sees is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from core.ports import ReasonRequest
from core.reasoning import failed
from core.remembered_answers import RememberedAnswers, Remembering
from core.settings import PipelineSettings
from core.types import Answer, Box, ClassRecord, ClassScore, Evidence, QueryImage

CLASSES = (ClassRecord(1, "clean", "1", "#0072b2"), ClassRecord(2, "dirty", "2", "#e69f00"))
EVIDENCE = (Evidence(1, 1, 0.8, 0.1, Box(0, 0, 9, 9), "s" * 64, Box(0, 0, 9, 9), 1),)


def request(key: str = "q" * 64, **changes: object) -> ReasonRequest:
    query = QueryImage(key, "a.png", 20, 20, load=lambda: Image.new("RGB", (20, 20)))
    scores = (ClassScore(1, 0.7, 1.0), ClassScore(2, 0.3, 0.0))
    return replace(ReasonRequest(query, CLASSES, scores, EVIDENCE, {}, "labels"), **changes)  # type: ignore[arg-type]


class Counting:
    id = "counting"
    slow = True

    def __init__(self, answer: Answer | None = None) -> None:
        self.asked: list[str] = []
        self.answer = answer

    def reason(self, asked: ReasonRequest) -> Answer:
        self.asked.append(asked.query.key)
        return self.answer or Answer(1, f"answer {len(self.asked)}")


def test_the_same_question_is_asked_once_and_a_batch_keeps_its_order() -> None:
    inner = Counting()
    reasoner = Remembering(inner, PipelineSettings(), RememberedAnswers())
    first = reasoner.reason(request("a" * 64))
    batch = reasoner.reason_batch([request("b" * 64), request("a" * 64), request("c" * 64)])
    assert [a.explanation for a in batch] == ["answer 2", first.explanation, "answer 3"]
    assert inner.asked == ["a" * 64, "b" * 64, "c" * 64]


def test_another_calibration_changes_no_question() -> None:
    inner = Counting()
    reasoner = Remembering(inner, PipelineSettings(), RememberedAnswers())
    reasoner.reason(request())
    scores = (ClassScore(1, 0.6, 0.5), ClassScore(2, 0.4, 0.1))
    evidence = (replace(EVIDENCE[0], contribution=0.05),)  # what a patch adds to the scores is told to no model
    reasoner.reason(request(scores=scores, evidence=evidence, calibrated="leave-one-out"))
    assert len(inner.asked) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"evidence": (replace(EVIDENCE[0], similarity=0.7),)},
        {"evidence": (replace(EVIDENCE[0], support_image="t" * 64),)},
        {"classes": (CLASSES[0], replace(CLASSES[1], description="with mud on it"))},
        {"scores": (ClassScore(1, 0.3, 0.0), ClassScore(2, 0.7, 1.0))},
    ],
)
def test_a_question_that_differs_in_what_is_seen_is_asked(changes: dict[str, object]) -> None:
    inner = Counting()
    reasoner = Remembering(inner, PipelineSettings(), RememberedAnswers())
    reasoner.reason(request())
    reasoner.reason(request(**changes))
    assert len(inner.asked) == 2


def test_other_prompts_and_parameters_are_other_questions() -> None:
    inner, answers = Counting(), RememberedAnswers()
    for settings in (
        PipelineSettings(),
        PipelineSettings(user_prompt="Is it clean?"),
        PipelineSettings(temperature=1.0),
        PipelineSettings(max_visual_tokens=64),
    ):
        Remembering(inner, settings, answers).reason(request())
    assert len(inner.asked) == 4


def test_a_prompt_that_quotes_the_scores_is_asked_again_when_they_change() -> None:
    inner = Counting()
    reasoner = Remembering(inner, PipelineSettings(user_prompt="Scores: {{scores}}"), RememberedAnswers())
    reasoner.reason(request())
    reasoner.reason(request(scores=(ClassScore(1, 0.6, 0.5), ClassScore(2, 0.4, 0.1))))
    assert len(inner.asked) == 2


def test_a_similarity_that_differs_less_than_it_is_shown_changes_no_question() -> None:
    inner = Counting()
    reasoner = Remembering(inner, PipelineSettings(), RememberedAnswers())
    reasoner.reason(request())
    reasoner.reason(request(evidence=(replace(EVIDENCE[0], similarity=0.80001),)))  # as half precision has it
    assert len(inner.asked) == 1


def test_a_prompt_that_quotes_the_size_of_the_support_set_is_asked_again_when_it_changes() -> None:
    inner = Counting()
    reasoner = Remembering(inner, PipelineSettings(user_prompt="Of {{support_count}} examples:"), RememberedAnswers())
    reasoner.reason(request(support_names={"s" * 64: "a.png"}))
    reasoner.reason(request(support_names={"s" * 64: "a.png", "t" * 64: "b.png"}))
    assert len(inner.asked) == 2


def test_a_failure_is_asked_again() -> None:
    inner = Counting(failed("away"))
    reasoner = Remembering(inner, PipelineSettings(), RememberedAnswers())
    assert reasoner.reason(request()).reason == reasoner.reason(request()).reason == "away"
    assert len(inner.asked) == 2


def test_the_answers_that_were_not_used_for_longest_are_forgotten_so_that_memory_is_bounded() -> None:
    few = RememberedAnswers(most=20)
    for key in "abb":
        few.put(key, Answer(1, "because", transcript=key))
    assert few.get("a") is not None
    few.put("c", Answer(1, "because", transcript="c"))
    assert few.get("b") is None and few.get("a") is not None and few.get("c") is not None
    few.put("d", Answer(1, "x" * 30))
    assert all(few.get(key) is None for key in "abcd")

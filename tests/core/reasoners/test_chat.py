"""What comes over the wire, read: never an untyped error, never a probability for what is no letter."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reasoning import named, request_of

from core.errors import ReasoningFailed
from core.reasoners._chat import NoLetter, Said, Stream, decoded, error_message, letter_probabilities, read
from core.reasoning import build_prompt, explanation_so_far, gather
from core.settings import PipelineSettings

REQUEST = request_of(named("a", "b", "c"))
PROMPT = build_prompt(REQUEST, PipelineSettings(), gather(REQUEST, max_visual_tokens=256), REQUEST.classes)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "message",
                    "content",
                    "delta",
                    "usage",
                    "logprobs",
                    "top_logprobs",
                    "token",
                    "error",
                    "text",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(ANY, st.lists(ANY, max_size=4))
def test_any_json_is_a_completion_or_a_failure(body: object, events: list[object]) -> None:
    for value in (body, {"choices": [body]}, {"choices": [{"message": body, "logprobs": {"content": [body]}}]}):
        try:
            said = read(value)
            assert isinstance(said.text, str)
        except ReasoningFailed as error:
            assert str(error)
        error_message(value)
    stream = Stream()
    try:
        for event in events:
            stream.add({"choices": [event]})
        stream.said()
    except ReasoningFailed as error:
        assert str(error)


@settings(deadline=None)
@given(st.binary(max_size=80), st.text(max_size=20))
def test_any_body_is_json_or_a_failure(content: bytes, kind: str) -> None:
    for stated in (kind, "application/json"):
        try:
            json.dumps(decoded(content, stated))
        except ReasoningFailed as error:
            assert str(error)


def said(text: str, *first: tuple[str, float]) -> Said:
    return Said(text, tuple((token, math.log(p)) for token, p in first))


def test_probabilities_are_those_of_the_letters_alone() -> None:
    told, share = letter_probabilities(said("B", ("B", 0.4), (" B", 0.1), ("A", 0.2), ("The", 0.2), ("c", 0.1)), PROMPT)
    assert told == pytest.approx([0.2 / 0.7, 0.5 / 0.7, 0.0]) and share == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (said("The", ("The", 0.9), ("A", 0.1)), "no letter"),  # it would have said something else
        (said("D", ("D", 0.9)), "no letter"),  # of three options
        (said("AB", ("A", 0.9)), "no letter"),
        (said("", ("A", 0.9)), "no letter"),
        (said("A"), "no log-probabilities"),
        (said("A", ("B", 0.9)), "no log-probabilities"),  # of another token than the one that was written
        (Said("A", (("A", math.nan), ("B", math.inf), ("C", -math.inf))), "no log-probabilities"),
    ],
)
def test_what_is_no_letter_with_its_probability_is_none(answer: Said, words: str) -> None:
    with pytest.raises(NoLetter, match=words):
        letter_probabilities(answer, PROMPT)


def test_log_probabilities_above_zero_are_not_believed() -> None:
    told, share = letter_probabilities(Said("A", (("A", 700.0), ("B", math.log(0.25)))), PROMPT)
    assert told == pytest.approx([0.8, 0.2, 0.0]) and share == 1.0


@settings(deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.integers(0, 200))
def test_the_explanation_of_an_unfinished_object_is_a_beginning_of_the_whole(
    explanation: str, other: str, cut: int
) -> None:
    whole = json.dumps({"class": "A", "x": other, "explanation": explanation})
    clean = explanation.encode("utf-8", "replace").decode()
    so_far = explanation_so_far(whole[:cut])
    assert clean.startswith(so_far.rstrip("?")) or '"explanation' in json.dumps(other)
    assert explanation_so_far(whole) == clean or '"explanation' in json.dumps(other)

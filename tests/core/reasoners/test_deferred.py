"""A model that is loaded when it is first asked: once, again after a failure, and never after it was closed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from test_reasoning import request_of

from core.errors import ModelUnavailable, ReasoningFailed
from core.ports import ReasonRequest
from core.reasoners._deferred import Deferred
from core.reasoning import ask
from core.types import Answer, Status

REQUEST = request_of()


class Model:
    id = "qwen2-vl Tiny · cpu · bfloat16"
    device = "cpu · bfloat16"

    def reason(self, request: ReasonRequest) -> Answer:
        return self.reason_batch([request])[0]

    def reason_batch(self, requests: Sequence[ReasonRequest]) -> list[Answer]:
        return [Answer(10, "It is so.") for _ in requests]


class Loading:
    """Counts, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.count, self.failures = 0, failures

    def __call__(self) -> Model:
        self.count += 1
        if self.count <= self.failures:
            raise ModelUnavailable("There is not enough memory.")
        return Model()


def deferred(load: Loading) -> Deferred:
    return Deferred("qwen2-vl Tiny · cpu · float32", "feedfeedfeed", "Tiny takes 1 GB.", "/models/tiny", load)


def test_it_is_loaded_once_when_it_is_first_asked_and_then_names_what_was_loaded() -> None:
    load = Loading()
    reasoner = deferred(load)
    assert (load.count, reasoner.id, reasoner.device) == (0, "qwen2-vl Tiny · cpu · float32", "")
    assert [a.flag for a in reasoner.reason_batch([REQUEST, REQUEST])] == [10, 10]
    assert reasoner.reason(REQUEST).flag == 10
    assert (load.count, reasoner.id, reasoner.device) == (1, Model.id, Model.device)


def test_loading_that_failed_is_tried_again() -> None:
    load = Loading(failures=1)
    reasoner = deferred(load)
    with pytest.raises(ModelUnavailable, match="not enough memory"):
        reasoner.reason(REQUEST)
    assert reasoner.reason(REQUEST).flag == 10 and load.count == 2


@pytest.mark.parametrize("asked_before", [True, False])
def test_once_closed_it_loads_nothing_beside_the_model_of_other_settings(asked_before: bool) -> None:
    load = Loading()
    reasoner = deferred(load)
    if asked_before:
        reasoner.reason(REQUEST)
    reasoner.close()
    with pytest.raises(ReasoningFailed, match="put away"):
        reasoner.reason(REQUEST)
    assert load.count == int(asked_before)
    answer = ask(reasoner, [REQUEST])[0]
    assert (answer.status, answer.flag) == (Status.FAILED, None)

"""A slow reasoner's answers, kept by what it was asked: the same question is not asked twice.

A run after a new calibration, or after a support image that this query has nothing to do with, shows the model the
very same pictures and words. Its flag is deterministic, so that the answer of before stands.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict, replace

from core.ports import Reasoner, ReasonRequest
from core.reasoning import ask
from core.reasoning_lane import TOGETHER
from core.settings import PipelineSettings
from core.types import Answer, Status

KEPT = 60_000_000  # characters: the answers on some 30,000 images, whose transcripts hold the whole prompt


class RememberedAnswers:
    """Answers by question, the least recently used ones forgotten first. Safe to share between threads.

    ``most`` characters of transcripts and explanations are kept.
    """

    def __init__(self, most: int = KEPT) -> None:
        self._most, self._lock = most, threading.Lock()
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._characters = 0

    def get(self, key: str) -> Answer | None:
        """The answer given before, or None."""
        with self._lock:
            if key in self._answers:
                self._answers.move_to_end(key)
            return self._answers.get(key)

    def put(self, key: str, answer: Answer) -> None:
        """Keeps an answer; failures are not kept, since the next try may succeed."""
        if answer.status is not Status.OK:
            return
        with self._lock:
            if key in self._answers:
                self._characters -= _characters(self._answers.pop(key))
            self._answers[key] = answer
            self._characters += _characters(answer)
            while self._characters > self._most:
                self._characters -= _characters(self._answers.popitem(last=False)[1])


def _characters(answer: Answer) -> int:
    return len(answer.transcript) + len(answer.explanation)


class Remembering:
    """A reasoner that asks ``reasoner`` only what was not asked under these settings before."""

    slow = True

    def __init__(self, reasoner: Reasoner, settings: PipelineSettings, answers: RememberedAnswers) -> None:
        self._reasoner, self._settings, self._answers = reasoner, settings, answers

    @property
    def id(self) -> str:
        """The id of the one that answers."""
        return self._reasoner.id

    @property
    def together(self) -> int:
        """How many images it is best asked about at once."""
        return int(getattr(self._reasoner, "together", TOGETHER))

    @property
    def prompt_version(self) -> str:
        """That of the one that answers."""
        return str(getattr(self._reasoner, "prompt_version", ""))

    def reason(self, request: ReasonRequest) -> Answer:
        """One answer, remembered or asked for."""
        return self.reason_batch([request])[0]

    def reason_batch(self, requests: Sequence[ReasonRequest]) -> list[Answer]:
        """Answers in order."""
        keys = [question_key(self.id, request, self._settings) for request in requests]
        known = {key: answer for key in keys if (answer := self._answers.get(key)) is not None}
        new = [request for key, request in zip(keys, requests, strict=True) if key not in known]
        answers = iter(ask(self._reasoner, new) if new else [])
        result = []
        for key in keys:
            answer = known[key] if key in known else next(answers)
            self._answers.put(key, answer)
            result.append(answer)
        return result


def question_key(reasoner_id: str, request: ReasonRequest, settings: PipelineSettings) -> str:
    """Hash over everything that a reasoner can see: model, words, parameters, classes, evidence and query.

    Scores count by their order alone, which decides what is offered, and the size of the support set not at all,
    save where a prompt quotes them. What evidence contributes is never shown, and similarities to two digits: the
    one differs with every calibration, the other by whether an embedding was read from the cache.
    """
    ranked = sorted(request.scores, key=lambda s: -s.logit)
    quoted = "{{" in settings.system_prompt + settings.user_prompt
    seen = [
        reasoner_id,
        [request.query.key, request.query.name, request.query.width, request.query.height],
        [[c.id, c.name, c.description] for c in request.classes],
        [[s.class_id, s.probability if quoted else 0] for s in ranked],
        len(request.support_names) if quoted else 0,
        [asdict(replace(e, contribution=0.0, similarity=round(e.similarity, 2))) for e in request.evidence],
        {
            name: getattr(settings, name)
            for name in ("system_prompt", "user_prompt", "temperature", "top_p", "max_new_tokens")
        },
        [settings.max_visual_tokens, settings.swap_options],
    ]
    return hashlib.sha256(json.dumps(seen, sort_keys=True, default=str).encode("utf-8", "replace")).hexdigest()

"""Asking a reasoner, whatever it is: what comes back is held against what was asked."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from core.errors import RagVisionError
from core.ports import Reasoner, ReasonRequest
from core.reasoning._answer import failed
from core.types import Answer, Status

log = logging.getLogger("ragvision.reasoning")


def ask(reasoner: Reasoner, requests: Sequence[ReasonRequest]) -> list[Answer]:
    """One Answer a request, whatever the reasoner does: it may raise, lie or answer in batches.

    A flag that was not offered and a flag beside a failure become failures; citations are held against the
    evidence once more.
    """
    batch = getattr(reasoner, "reason_batch", None)
    try:
        answers = list(batch(requests)) if batch is not None else [reasoner.reason(r) for r in requests]
        if len(answers) != len(requests):
            raise ValueError(f"{len(requests)} requests but {len(answers)} answers")
    except RagVisionError as error:
        answers = [failed(str(error))] * len(requests)
    except Exception:
        log.exception("the reasoner %s failed", reasoner.id)
        told = failed("The reasoner failed with an internal error; the server's log has the details.")
        answers = [told] * len(requests)
    return [_held(answer, request) for answer, request in zip(answers, requests, strict=True)]


def _held(answer: Answer, request: ReasonRequest) -> Answer:
    scored = {s.class_id for s in request.scores}
    if answer.flag is not None and (answer.flag not in scored or answer.status is not Status.OK):
        return failed("The reasoner answered a class that was not offered.", answer.transcript)
    numbers = {e.number for e in request.evidence}
    cited = tuple(n for n in answer.cited_evidence if n in numbers)
    if len(cited) == len(answer.cited_evidence):
        return answer
    dropped = answer.dropped_citations + len(answer.cited_evidence) - len(cited)
    return replace(answer, cited_evidence=cited, dropped_citations=dropped)

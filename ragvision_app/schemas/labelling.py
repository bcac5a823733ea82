"""The hot loop: items out, decisions in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from core.ports import short_name
from core.types import Decision, ImageRecord, Kind, Prediction
from ragvision_app.schemas.common import (
    EXAMPLE_ID,
    EXAMPLE_SHA,
    AnnotatorName,
    EventId,
    Id,
    In,
    Moment,
    Order,
    Sha256,
    image_url,
)
from ragvision_app.schemas.records import LabelOut, label_json

if TYPE_CHECKING:
    from core.labelling import Detail, QueueItem, Suggestion
    from core.run_status import RunStatus
    from core.store import DecisionResult, Progress, UndoableEvent

DecisionKind = Literal["accept", "correct", "skip", "unsure", "undo", "note"]
_NEEDED = {"accept": "class_id", "correct": "class_id", "undo": "undoes", "note": "note"}  # kind → what it cannot lack
_RULES: list[Any] = [  # the same, as JSON Schema
    {
        "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
        "then": {"properties": {field: {"not": {"type": "null"}}}, "required": [field]},
    }
    for kind, field in _NEEDED.items()
]
_RULES.append(
    {
        "if": {"properties": {"kind": {"not": {"const": "undo"}}}},
        "then": {"properties": {"undoes": {"type": "null"}}},
    }
)


# --------------------------------------------------------------------------- what comes in
class QueueRequest(In):
    """Asks for the next items of the queue; ``have`` are those that the client holds already."""

    annotator: AnnotatorName
    limit: int = Field(30, ge=1, le=200)
    order: Order | None = None
    have: list[Sha256] = Field(default_factory=list, max_length=1000)


class ReleaseRequest(In):
    """Gives reserved images back: those named, or all that the annotator holds."""

    annotator: AnnotatorName
    images: list[Sha256] | None = Field(None, max_length=1000)


class LookAlikesRequest(In):
    """Asks for undecided images most alike to ``image`` with the same suggestion."""

    annotator: AnnotatorName
    image: Sha256
    limit: int = Field(24, ge=1, le=200)
    have: list[Sha256] = Field(default_factory=list, max_length=1000)


class DecisionRequest(In):
    """One human event. ``id`` makes it idempotent: sent twice, it is stored once."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "id": EXAMPLE_ID,
                    "kind": "correct",
                    "image": EXAMPLE_SHA,
                    "annotator": "ada",
                    "made_at": "2026-11-24T12:00:00Z",
                    "class_id": 2,
                    "prediction_id": 7,
                    "suggested_class": 1,
                    "suggestion_shown": True,
                    "expected_version": 0,
                    "attention_ms": 840,
                    "lease_token": 12,
                }
            ],
            "allOf": _RULES,
        },
    )

    id: EventId
    kind: DecisionKind
    image: Sha256
    annotator: AnnotatorName
    made_at: Moment
    class_id: Id | None = None
    undoes: EventId | None = None
    note: str | None = Field(None, max_length=10_000)
    prediction_id: Id | None = None
    suggested_class: Id | None = None
    suggestion_shown: bool = False
    expected_version: Id | None = None
    attention_ms: Id | None = None
    lease_token: Id | None = None
    group: str | None = Field(None, min_length=1, max_length=64)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needed = _NEEDED.get(self.kind)
        if needed is not None and getattr(self, needed) is None:
            raise ValueError(f"a decision of kind {self.kind} needs {needed}")
        return self

    def to_core(self) -> Decision:
        """The core's value of it."""
        return Decision(**{**self.model_dump(), "kind": Kind(self.kind)})


# --------------------------------------------------------------------------- what goes out, documented
class LeaseOut(BaseModel):
    token: int
    expires_at: str


class ScoreOut(BaseModel):
    class_id: int
    probability: float
    logit: float
    patch: float | None
    whole: float | None
    text: float | None


class HeatmapOut(BaseModel):
    """Signed contributions, row by row: above zero speaks for the flag, below for the runner-up."""

    grid: tuple[int, int]
    values: list[float]
    scale: float


class EvidenceOut(BaseModel):
    """One match. Boxes are [left, top, right, bottom] in pixels of the upright original."""

    number: int
    class_id: int
    similarity: float
    contribution: float
    query_box: tuple[int, int, int, int]
    support_image: str
    support_name: str
    support_url: str
    support_width: int
    support_height: int
    support_box: tuple[int, int, int, int]


class SuggestionOut(BaseModel):
    """What may be seen of a prediction; all but the first lines are empty unless ``state`` is shown."""

    state: Literal["shown", "withheld", "pending", "none", "failed"]
    reason: str
    prediction_id: int | None
    run_id: int | None
    stale: bool
    flag: int | None
    runner_up: int | None
    margin: float | None
    calibrated: str | None
    encoder: str | None
    encoder_name: str | None
    reasoner: str | None
    reasoning: Literal["none", "pending", "answered", "failed"] = Field(
        description="How far a slow reasoner is; until it has answered, flag and explanation are those of the scores"
    )
    reasoner_probabilities: dict[int, float] | None = Field(description="The reasoner's own, by class")
    prompt: str | None = Field(description="Version of the prompt that the reasoner was asked with")
    prompt_title: str | None = Field(description="What that prompt is called, where it was saved")
    recipe: str | None
    support_version: str | None
    explanation: str
    cited: list[int]
    scores: list[ScoreOut]
    heatmap: HeatmapOut | None
    evidence: list[EvidenceOut]


class ItemOut(BaseModel):
    """One image dealt out to one annotator."""

    id: str
    name: str
    image_url: str
    width: int
    height: int
    version: int
    lease: LeaseOut | None
    suggestion: SuggestionOut
    skipped: bool
    note: str | None


class ProgressOut(BaseModel):
    total: int
    labelled: int
    unsure: int
    skipped: int
    left: int
    mine: int
    labelled_last_minute: int


class RunStatusOut(BaseModel):
    state: str
    done: int
    total: int
    sentence: str
    encoder: str
    reasoner: str
    recipe: str
    support_version: str
    stale: int
    seconds_left: float | None
    reasoned: int | None = Field(description="Images that a slow reasoner has answered on; null without one")


class UndoableOut(BaseModel):
    event_id: str
    image: str
    kind: str
    class_id: int | None
    group: str | None


class QueueOut(BaseModel):
    items: list[ItemOut]
    progress: ProgressOut
    run: RunStatusOut
    undoable: list[UndoableOut]
    free_at: str | None = Field(
        None, description="Where fewer items came than were asked for: when the first that others hold is free"
    )


class ReleasedOut(BaseModel):
    released: int


class ItemsOut(BaseModel):
    items: list[ItemOut]


class DecisionOut(BaseModel):
    """What became of a decision; ``message`` is there where a person should read something."""

    id: str
    outcome: Literal["stored", "duplicate", "conflict"]
    version: int
    label: LabelOut | None
    message: str | None
    progress: ProgressOut


class ShareOut(BaseModel):
    image: str
    name: str
    url: str
    contribution: float


class DetailOut(BaseModel):
    """Everything behind one prediction. Σ heatmap + whole + text + constant = logit(flag) − logit(runner-up)."""

    image: str
    name: str
    width: int
    height: int
    suggestion: SuggestionOut
    whole: float | None
    constant: float | None
    text: float | None
    by_support: list[ShareOut]


# --------------------------------------------------------------------------- core -> JSON
def evidence_json(prediction: Prediction, support: Mapping[str, ImageRecord]) -> list[dict[str, Any]]:
    return [
        {
            "number": e.number,
            "class_id": e.class_id,
            "similarity": e.similarity,
            "contribution": e.contribution,
            "query_box": e.query_box.as_list(),
            "support_image": e.support_image,
            "support_name": support[e.support_image].name,
            "support_url": image_url(e.support_image),
            "support_width": support[e.support_image].width,
            "support_height": support[e.support_image].height,
            "support_box": e.support_box.as_list(),
        }
        for e in prediction.evidence
        if e.support_image in support  # an image that left the store can no longer be shown
    ]


def suggestion_json(suggestion: Suggestion) -> dict[str, Any]:
    """As :class:`SuggestionOut`. A suggestion that is not shown says why, and nothing else."""
    p = suggestion.prediction
    answer: dict[str, Any] = {
        "state": suggestion.state,
        "reason": suggestion.reason,
        "prediction_id": suggestion.prediction_id,
        "run_id": suggestion.run_id,
        "stale": suggestion.stale,
        "flag": None,
        "runner_up": None,
        "margin": None,
        "calibrated": None,
        "encoder": None,
        "encoder_name": None,
        "reasoner": None,
        "reasoning": "none",
        "reasoner_probabilities": None,
        "prompt": None,
        "prompt_title": None,
        "recipe": None,
        "support_version": None,
        "explanation": "",
        "cited": [],
        "scores": [],
        "heatmap": None,
        "evidence": [],
    }
    if p is None or suggestion.state != "shown":
        return answer
    parts = p.contributions
    answer |= {
        "flag": p.flag,
        "runner_up": p.runner_up,
        "margin": p.margin,
        "calibrated": p.calibrated.value,
        "encoder": p.encoder,
        "encoder_name": short_name(p.encoder),
        "reasoner": p.reasoner,
        "reasoning": p.reasoning.value,
        "reasoner_probabilities": p.class_probabilities,
        "prompt": p.prompt or None,
        "prompt_title": suggestion.prompt_title or None,
        "recipe": p.recipe,
        "support_version": p.support_version,
        "explanation": p.explanation,
        "cited": p.cited_evidence,
        "scores": [{name: getattr(s, name) for name in ScoreOut.model_fields} for s in p.scores],
        "heatmap": parts and {"grid": parts.grid, "values": parts.values, "scale": suggestion.scale},
        "evidence": evidence_json(p, {record.sha256: record for record in suggestion.support}),
    }
    return answer


def item_json(item: QueueItem) -> dict[str, Any]:
    """As :class:`ItemOut`."""
    lease = None
    if item.lease_token is not None:
        lease = {"token": item.lease_token, "expires_at": item.lease_expires_at}
    return {
        "id": item.image.sha256,
        "name": item.image.name,
        "image_url": image_url(item.image.sha256),
        "width": item.image.width,
        "height": item.image.height,
        "version": item.version,
        "lease": lease,
        "suggestion": suggestion_json(item.suggestion),
        "skipped": item.skipped,
        "note": item.note,
    }


def items_json(items: Iterable[QueueItem]) -> list[dict[str, Any]]:
    """As a list of :class:`ItemOut`."""
    return [item_json(item) for item in items]


def run_status_json(status: RunStatus) -> dict[str, Any]:
    """As :class:`RunStatusOut`."""
    return {name: getattr(status, name) for name in RunStatusOut.model_fields}


def queue_json(
    items: Iterable[QueueItem],
    progress: Progress,
    status: RunStatus,
    undoable: Sequence[UndoableEvent],
    free_at: str | None = None,
) -> dict[str, Any]:
    """As :class:`QueueOut`."""
    return {
        "items": items_json(items),
        "progress": progress,
        "run": run_status_json(status),
        "undoable": undoable,
        "free_at": free_at,
    }


def decision_json(decision_id: str, result: DecisionResult, progress: Progress) -> dict[str, Any]:
    """As :class:`DecisionOut`."""
    return {
        "id": decision_id,
        "outcome": result.outcome.value,
        "version": result.version,
        "label": None if result.label is None else label_json(result.label),
        "message": result.message or None,
        "progress": progress,
    }


def detail_json(detail: Detail) -> dict[str, Any]:
    """As :class:`DetailOut`."""
    prediction = detail.suggestion.prediction
    parts = None if prediction is None else prediction.contributions
    return {
        "image": detail.image.sha256,
        "name": detail.image.name,
        "width": detail.image.width,
        "height": detail.image.height,
        "suggestion": suggestion_json(detail.suggestion),
        "whole": None if parts is None else parts.whole,
        "constant": None if parts is None else parts.constant,
        "text": None if parts is None else parts.text,
        "by_support": [
            {"image": r.sha256, "name": r.name, "url": image_url(r.sha256), "contribution": part}
            for r, part in detail.by_support
        ],
    }

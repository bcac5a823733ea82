"""A small workbench in memory, and the one check of every failing answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from core.errors import InvalidInput, NotFound
from core.labelling import Detail, QueueItem, Suggestion
from core.settings import Settings
from core.store.records import DecisionResult, Progress, UndoableEvent
from core.types import (
    Box,
    Calibrated,
    ClassRecord,
    ClassScore,
    Contributions,
    Decision,
    Evidence,
    ImageRecord,
    Kind,
    Label,
    Outcome,
    Prediction,
    Status,
)

SHA = "ab" * 32
SUPPORT_SHA = "cd" * 32
UNKNOWN_SHA = "0" * 64
WEBP = b"RIFF\x04\x00\x00\x00WEBP"

IMAGE = ImageRecord(SHA, "cell0123.png", "folder", 300, 200, 1234, "0" * 16, "2026-11-24T12:00:00Z")
SUPPORT = ImageRecord(SUPPORT_SHA, "cell0001.png", "folder", 300, 300, 1234, "0" * 16, "2026-11-24T12:00:00Z")
CLASSES = [ClassRecord(1, "functional", "1", "#0072b2"), ClassRecord(2, "<img src=x onerror=alert(1)>", "2", "#d55e00")]
PREDICTION = Prediction(
    image=SHA,
    status=Status.OK,
    flag=2,
    runner_up=1,
    margin=0.62,
    scores=(ClassScore(1, 0.19, -0.7, -1.0, None), ClassScore(2, 0.81, 0.7, -0.5, None)),
    evidence=(Evidence(1, 2, 0.74, 0.03, Box(0, 0, 32, 32), SUPPORT_SHA, Box(32, 0, 64, 32), 1),),
    contributions=Contributions(2, 1, (2, 2), (0.5, -0.1, 0.6, 0.3), 0.0, 0.1, {SUPPORT_SHA: 1.3}),
    explanation="defective, 0.81: E1.",
    cited_evidence=(1,),
    transcript="",
    encoder="efficientnet-lite0",
    reasoner="evidence",
    recipe="ensemble",
    support_version="v1",
    calibrated=Calibrated.LEAVE_ONE_OUT,
)
SUGGESTIONS = {
    "shown": Suggestion("shown", "", 7, 3, False, PREDICTION, 0.6, (SUPPORT,)),
    "withheld": Suggestion("withheld", "Withheld on purpose.", 7, 3),
    "pending": Suggestion("pending", "The suggestion is being computed."),
    "none": Suggestion("none", "Two classes need images first."),
    "failed": Suggestion("failed", "The file is damaged.", 7, 3),
}


@dataclass
class FakeWorkbench:
    """The facade that the routes call, with one image in it."""

    decisions: dict[str, Decision] = field(default_factory=dict)
    suggestion: str = "shown"
    failure: Exception | None = None
    blocked: threading.Event | None = None  # previews wait for it
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.project = SimpleNamespace(root=Path("cells"))
        self.settings = Settings()
        self.store = SimpleNamespace(
            classes=lambda: CLASSES,
            labels=self.labels,
            runs=lambda: [],
            count_images=self.count_images,
            free_at=lambda annotator: "2026-11-24T12:10:00Z",
            release_leases=self.release_leases,
        )

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def count_images(self) -> int:
        self._fail()
        return 1

    def labels(self, annotator: str | None = None) -> list[Label]:
        self._fail()
        done = [d for d in self.decisions.values() if annotator in (None, d.annotator)]
        return [Label(d.image, d.annotator, "labelled", d.class_id, d.id, d.made_at) for d in done]

    def next_items(self, annotator: str, *, limit: int, order: str | None = None, have: Any = ()) -> list[QueueItem]:
        self._fail()
        self.calls.append(("next_items", annotator, limit, order, list(have)))
        return [] if SHA in have else [self.item(SHA, annotator)]

    def release_leases(self, annotator: str, images: Any) -> int:
        self.calls.append(("release", annotator, images))
        return 1

    def item(self, image: str, annotator: str) -> QueueItem:
        self._fail()
        if image != SHA:
            raise NotFound(f"There is no image {image}.")
        return QueueItem(IMAGE, 0, 12, "2026-11-24T12:10:00Z", SUGGESTIONS[self.suggestion])

    def look_alikes(self, annotator: str, image: str, *, limit: int, have: Any = ()) -> list[QueueItem]:
        return [self.item(image, annotator)]

    def detail(self, image: str, annotator: str) -> Detail:
        return Detail(IMAGE, self.item(image, annotator).suggestion, ((SUPPORT, 1.3),))

    def undoable(self, annotator: str) -> list[UndoableEvent]:
        mine = [d for d in self.decisions.values() if d.annotator == annotator]
        return [UndoableEvent(d.id, d.image, d.kind, d.class_id, d.group) for d in reversed(mine)]

    def progress(self, annotator: str) -> Progress:
        return Progress(1, len(self.decisions), 0, 0, 1 - len(self.decisions), 0, 0)

    def run_status(self) -> SimpleNamespace:
        return SimpleNamespace(
            state="done",
            sentence="All suggestions are there.",
            done=1,
            total=1,
            encoder="efficientnet-lite0",
            reasoner="evidence",
            recipe="ensemble",
            support_version="v1",
            stale=0,
            seconds_left=None,
            device="cpu · onnxruntime",
            reasoned=None,
        )

    def decide(self, decision: Decision) -> DecisionResult:
        self._fail()
        if decision.image != SHA:
            raise NotFound(f"There is no image {decision.image}.")
        if decision.class_id is not None and decision.class_id not in {c.id for c in CLASSES}:
            raise InvalidInput(f"There is no class {decision.class_id}.")
        outcome = Outcome.DUPLICATE if decision.id in self.decisions else Outcome.STORED
        self.decisions.setdefault(decision.id, decision)
        label = Label(SHA, decision.annotator, "labelled", decision.class_id, decision.id, decision.made_at)
        return DecisionResult(outcome, label if decision.kind is Kind.CORRECT else None, len(self.decisions))

    def preview(self, sha: str, size: int) -> bytes:
        self._fail()
        if self.blocked is not None:
            self.blocked.wait(30)
        self.calls.append(("preview", sha, size))
        if sha != SHA:
            raise NotFound(f"There is no image {sha}.")
        return WEBP

    def export(self, format: str, out: Path) -> None:
        self._fail()
        out.write_text("image,label\n" if format == "csv" else "")


def assert_failure(answer: httpx.Response, status: int, code: str, *words: str) -> None:
    """The one shape of every failing answer: exactly a code and a sentence, and nothing of our insides."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"code", "message"}
    assert body["error"]["code"] == code
    message = body["error"]["message"]
    assert message.endswith(".") and len(message) < 500
    assert "Traceback" not in answer.text and ".py" not in answer.text
    for word in words:
        assert word in message

"""One run under way: what the worker knows of it, and how it tells how far it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence

import numpy as np

from core.engine import Engine
from core.ports import Reasoner, short_name
from core.reasoning_lane import ReasoningLane
from core.run_status import RunStatus, left_out, reasoned
from core.scoring import FittedSupport, Scores
from core.types import ClassScore, Prediction, Status, SupportSet

NOTHING = Scores(np.zeros((0, 0)), np.zeros((0, 0)), None, None)


class Job:
    """The configuration, what is scored and what is still to be predicted. The worker's thread alone changes it."""

    def __init__(
        self, engine: Engine, support: SupportSet, fitted: FittedSupport, run_id: int, calibration_labels: int
    ) -> None:
        self.engine = engine
        self.support = support
        self.fitted = fitted
        self.run_id = run_id
        self.calibration_labels = calibration_labels
        self.calibration_tried = 0  # a rung that was looked at in vain, e.g. all labels of one class
        self.to_score: deque[str] = deque()
        self.to_predict: dict[str, None] = {}  # an ordered set
        self.total = 0
        self.images = 0  # in the project when the queries were listed
        self.prepared = False  # for the next change of the support set
        self.finished = False
        self.standing: tuple[dict[str, int], Scores] = ({}, NOTHING)  # image → row, and the scores
        self.margins: dict[str, float] = {}
        self.lane: ReasoningLane | None = None  # where a slow reasoner answers
        self.meanwhile: Reasoner | None = None  # who speaks until it has

    def scored(self, image: str, scores: Scores, row: int) -> Prediction:
        """A prediction that has its scores and not yet its evidence."""
        logits, probabilities = scores.logits[row], scores.probabilities[row]
        order = np.argsort(-logits)
        ids = self.fitted.class_ids
        return Prediction(
            image=image,
            status=Status.OK,
            flag=ids[order[0]],
            runner_up=ids[order[1]] if len(order) > 1 else None,
            margin=float(probabilities[order[0]] - probabilities[order[1]]) if len(order) > 1 else None,
            scores=tuple(ClassScore(c, float(p), float(z)) for c, p, z in zip(ids, probabilities, logits, strict=True)),
            evidence=(),
            contributions=None,
            explanation="",
            cited_evidence=(),
            transcript="",
            encoder=self.engine.query_encoder.id,
            reasoner=self.engine.pipeline.reasoner.id,
            recipe=self.engine.settings.recipe,
            support_version=self.support.version,
            calibrated=self.fitted.calibrated,
        )

    def status(self, state: str, speed: Collection[tuple[float, int]], unreadable: Sequence[str]) -> RunStatus:
        """How far the run is; ``speed`` holds (seconds, images) of late, ``unreadable`` names of support images."""
        left, lane = len(self.to_predict), self.lane
        spent, images = sum(s for s, _ in speed), sum(n for _, n in speed)
        done = self.total - left
        answered = None if lane is None else max(0, done - lane.left - lane.given_up)
        reasoner = self.engine.pipeline.reasoner
        if not self.total:
            parts = ["The support set is ready, and there is no image to label yet. Import some on the Images page."]
        elif left == 0:
            which = "the one image" if self.total == 1 else f"all {self.total:,} images"
            parts = [f"Suggestions for {which} are ready."]
        else:
            parts = [f"Computing suggestions: {done:,} of {self.total:,} images."]
        if not self.fitted.images:
            parts.append("They rest on the names of the classes alone: add example images to two classes or more.")
        if unreadable:
            parts.append(left_out(unreadable))
        if lane is not None and answered is not None and self.total:
            parts.append(reasoned(short_name(reasoner.id), answered, done, lane.trouble, at_work=bool(lane.left)))
        lacking = getattr(reasoner, "note", "")  # what a model's server lacks, where that changes its answers
        notes = [*self.engine.notes, *([lacking] if lacking else [])]  # the engine's: what stands in for what
        return RunStatus(
            state,
            " ".join([*parts, *notes]),
            done=done,
            total=self.total,
            encoder=short_name(self.engine.query_encoder.id),
            reasoner=reasoner.id,
            recipe=self.engine.settings.recipe,
            support_version=self.support.version,
            stale=len(self.to_score),
            seconds_left=spent / images * left if images and left else None if lane is None else lane.seconds_left,
            device=self.engine.query_encoder.device,
            reasoned=answered,
            stands_in=" ".join(self.engine.notes),
            images_per_second=images / spent if spent and images else None,
            seconds_per_answer=None if lane is None else lane.seconds_per_answer,
        )

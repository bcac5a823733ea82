"""Rows for a store without files behind them: for what depends on how many there are."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence

from core.store import Store
from core.types import ClassScore, Contributions, Decision, ImageRecord, Kind, Origin, Prediction, Status

AT = "2026-11-24T09:00:00.000Z"
_PART = 5000  # rows of one transaction


def fill_images(store: Store, count: int) -> list[str]:
    """``count`` images that have no file; returns their ids."""
    ids = [hashlib.sha256(f"image {number}".encode()).hexdigest() for number in range(count)]
    for start in range(0, count, _PART):
        part = enumerate(ids[start : start + _PART], start)
        store.add_images([_image(number, id_) for number, id_ in part])
    return ids


def _image(number: int, id_: str) -> ImageRecord:
    return ImageRecord(id_, f"image{number:06d}.jpg", "bench", 300, 300, 20_000, id_[:16], AT)


def fill_project(store: Store, images: int, *, per_class: int, decided: int) -> None:
    """Two classes with examples, a prediction for every other image, and some decisions."""
    ids = fill_images(store, images)
    classes = [store.add_class(name).id for name in ("functional", "defective")]
    support, queries = ids[: 2 * per_class], ids[2 * per_class :]
    store.add_support_many([(id_, classes[i % 2]) for i, id_ in enumerate(support)], by="bench", origin=Origin.UPLOAD)
    version = store.support_set().version
    run = store.start_run(
        encoder="made-up",
        reasoner="evidence",
        recipe="ensemble",
        settings_json="{}",
        support_version=version,
        code_version="bench",
    )
    for start in range(0, len(queries), _PART):
        part = queries[start : start + _PART]
        store.save_predictions(run, [_prediction(id_, classes, version) for id_ in part])
    store.finish_run(run)
    for id_ in queries[:decided]:
        store.decide(Decision(str(uuid.uuid4()), Kind.CORRECT, id_, "bench", AT, class_id=classes[0]))


def _prediction(image: str, classes: Sequence[int], version: str) -> Prediction:
    probability = 0.5 + int(image[:4], 16) / 2**17  # spread over 0.5 … 1, by the content hash
    flag, other = classes
    return Prediction(
        image=image,
        status=Status.OK,
        flag=flag,
        runner_up=other,
        margin=2 * probability - 1,
        scores=(ClassScore(flag, probability, 1.0), ClassScore(other, 1 - probability, 0.0)),
        evidence=(),
        contributions=Contributions(flag, other, (1, 1), (1.0,), 0.0, 0.0, {}),
        explanation="",
        cited_evidence=(),
        transcript="",
        encoder="made-up",
        reasoner="evidence",
        recipe="ensemble",
        support_version=version,
    )

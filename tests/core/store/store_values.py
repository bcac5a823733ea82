"""Values for the store's tests: short to write, valid unless a test makes them otherwise."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from core.store import Store
from core.types import ClassScore, Contributions, Decision, ImageRecord, Kind, Prediction, Status

MADE_AT = "2026-11-24T09:00:00.000Z"


def quick_folder() -> TemporaryDirectory[str]:
    """A folder in memory where there is one, for tests that are not about durability: waiting for the disk at
    every commit is most of their time."""
    memory = Path("/dev/shm")
    return TemporaryDirectory(dir=memory if memory.is_dir() and os.access(memory, os.W_OK) else None)


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.seconds = 0

    def __call__(self) -> str:
        hours, rest = divmod(self.seconds, 3600)
        return f"2026-11-24T{10 + hours:02d}:{rest // 60:02d}:{rest % 60:02d}.000Z"

    def go_on(self, seconds: int) -> None:
        self.seconds += seconds


def sha(number: int) -> str:
    return hashlib.sha256(f"image {number}".encode()).hexdigest()


def image(number: int, **changes: Any) -> ImageRecord:
    values = {
        "sha256": sha(number),
        "name": f"cell{number:04d}.png",
        "source": "folder",
        "width": 300,
        "height": 200,
        "bytes": 1234,
        "phash": f"{number:016x}",
        "imported_at": MADE_AT,
    }
    return ImageRecord(**{**values, **changes})


def add_images(store: Store, count: int) -> list[str]:
    store.add_images([image(number) for number in range(count)])
    return [sha(number) for number in range(count)]


def decision(kind: Kind | str, image: str, by: str = "anna", class_id: int | None = None, **more: Any) -> Decision:
    return Decision(
        **{"id": str(uuid.uuid4()), "made_at": MADE_AT, **more},
        kind=Kind(kind),
        image=image,
        annotator=by,
        class_id=class_id,
    )


def undo(of: Decision, **more: Any) -> Decision:
    return decision("undo", of.image, of.annotator, undoes=of.id, **more)


def prediction(image: str, margin: float | None, flag: int | None = 1, best: int = 1, **changes: Any) -> Prediction:
    values: dict[str, Any] = {
        "image": image,
        "status": Status.OK,
        "flag": flag,
        "runner_up": 2,
        "margin": margin,
        "scores": (ClassScore(best, 0.8, 1.0), ClassScore(3 - best, 0.2, -1.0)),
        "evidence": (),
        "contributions": Contributions(1, 2, (1, 1), (0.5,), 0.0, 0.1, {}),
        "explanation": "Because of E1.",
        "cited_evidence": (1,),
        "transcript": "",
        "encoder": "e",
        "reasoner": "r",
        "recipe": "ensemble",
        "support_version": "v",
    }
    return Prediction(**{**values, **changes})


def start_run(store: Store, **changes: str) -> int:
    values = {
        "encoder": "e",
        "reasoner": "r",
        "recipe": "ensemble",
        "settings_json": "{}",
        "support_version": "v",
        "code_version": "1",
    }
    return store.start_run(**{**values, **changes})


def leased(store: Store, by: str = "anna", limit: int = 10, **more: Any) -> list[str]:
    return [lease.image for lease in store.lease_next(by, limit=limit, **more)]


def in_force(store: Store, annotator: str | None = None) -> list[tuple[str, str, str, int | None]]:
    return [(label.image, label.annotator, label.state, label.class_id) for label in store.labels(annotator)]

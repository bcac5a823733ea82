"""The nouns of the pipeline: immutable values that check themselves.

Machine and human are kept apart: a :class:`Prediction` never becomes a :class:`Label` without a
:class:`Decision`. Everything here turns to JSON and back by :func:`to_json` / :func:`from_json`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter

Float32 = NDArray[np.float32]
IntArray = NDArray[np.int64]
T = TypeVar("T")


# --------------------------------------------------------------------------- images and classes
@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the upright original image; ``right`` and ``bottom`` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        if not (0 <= self.left < self.right and 0 <= self.top < self.bottom):
            raise ValueError(f"a box needs 0 <= left < right and 0 <= top < bottom, got {self.as_list()}")

    def as_list(self) -> list[int]:
        """``[left, top, right, bottom]``"""
        return [self.left, self.top, self.right, self.bottom]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One stored image. ``sha256`` is the hex digest of the original bytes, its key everywhere."""

    sha256: str
    name: str
    source: str
    width: int
    height: int
    bytes: int
    phash: str
    imported_at: str


@dataclass(frozen=True, slots=True)
class ClassRecord:
    """A class. Names are data, never paths; ``key`` is the key on the keyboard, or None."""

    id: int
    name: str
    key: str | None
    colour: str
    description: str = ""
    position: int = 0
    archived_at: str | None = None


# --------------------------------------------------------------------------- support
class Origin(StrEnum):
    """Where a support image came from."""

    UPLOAD = "upload"
    PROMOTED = "promoted"


@dataclass(frozen=True, slots=True)
class SupportImage:
    """One image as an example of one class; ``id`` is the membership, not the image."""

    id: int
    image: str
    class_id: int
    origin: Origin
    added_by: str
    added_at: str
    removed_at: str | None = None


@dataclass(frozen=True, slots=True)
class SupportSet:
    """The labelled examples in force: ``images[i]`` (sha256) is an example of ``class_ids[i]``.

    ``version`` is the content hash of the sorted (image, class) pairs: the same set has the same
    version whatever the order. ``classes`` holds every active class, also those without images.
    """

    images: tuple[str, ...]
    class_ids: tuple[int, ...]
    classes: tuple[ClassRecord, ...]
    version: str

    def __post_init__(self) -> None:
        if len(self.images) != len(self.class_ids):
            raise ValueError(f"{len(self.images)} images but {len(self.class_ids)} class ids")
        unknown = set(self.class_ids) - {c.id for c in self.classes}
        if unknown:
            raise ValueError(f"support images of classes that are not in the set: {sorted(unknown)}")

    @property
    def k_shot(self) -> dict[int, int]:
        """Class id → number of support images, zero included."""
        counts = {c.id: 0 for c in self.classes}
        for class_id in self.class_ids:
            counts[class_id] += 1
        return counts

    def name_of(self, class_id: int) -> str:
        """The class's name; KeyError for an id that is not in the set."""
        return {c.id: c.name for c in self.classes}[class_id]


# --------------------------------------------------------------------------- arrays
@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """What an encoder gives for n images, float32.

    patches    (n, gh, gw, d)   L2-normalised along d
    whole      (n, g)           L2-normalised along g
    whole_map  (n, gh', gw', g) un-normalised positions whose mean, normalised, is ``whole``;
               None where the whole embedding is no mean over positions (CLIP's class token)
    """

    patches: Float32
    whole: Float32
    whole_map: Float32 | None = None

    def __post_init__(self) -> None:
        if self.patches.ndim != 4:
            raise ValueError(f"patches: expected (n, gh, gw, d), got {self.patches.shape}")
        if self.whole.ndim != 2 or len(self.whole) != len(self.patches):
            raise ValueError(f"whole: expected ({len(self.patches)}, g), got {self.whole.shape}")
        if self.whole_map is not None and (
            self.whole_map.ndim != 4
            or len(self.whole_map) != len(self.patches)
            or self.whole_map.shape[-1] != self.whole.shape[-1]
        ):
            raise ValueError(
                f"whole_map: expected ({len(self.patches)}, gh, gw, {self.whole.shape[-1]}), got {self.whole_map.shape}"
            )

    def __len__(self) -> int:
        return len(self.patches)

    @property
    def grid(self) -> tuple[int, int]:
        """(gh, gw) of the patches."""
        return self.patches.shape[1], self.patches.shape[2]

    def __getitem__(self, index: slice | IntArray | list[int]) -> Embeddings:
        return Embeddings(
            self.patches[index], self.whole[index], None if self.whole_map is None else self.whole_map[index]
        )


@dataclass(frozen=True, slots=True, eq=False)
class QueryImage:
    """An image being labelled, as the pipeline needs it. ``load`` gives the upright RGB image."""

    key: str
    name: str
    width: int
    height: int
    load: Callable[[], Image.Image]


# --------------------------------------------------------------------------- predictions
class Calibrated(StrEnum):
    """What the temperatures, and so the probabilities, rest on."""

    NOT = "not calibrated"  # too few support images: default temperatures
    LEAVE_ONE_OUT = "leave-one-out"
    LABELS = "labels"
    NAMES = "class names alone"  # no two classes have support images: the text prior at the model's own scale


@dataclass(frozen=True, slots=True)
class ClassScore:
    """One class's numbers. ``logit`` is z after the last temperature; probabilities sum to 1.

    ``patch`` and ``whole`` are the calibrated log-probabilities of the two halves (None where the
    recipe has no such half, or the class no image), ``text`` that of the class's name and description
    (None where the encoder reads no text).
    """

    class_id: int
    probability: float
    logit: float
    patch: float | None = None
    whole: float | None = None
    text: float | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """One match: a query patch beside a support patch. ``number`` is the 1 of E1.

    ``contribution`` is what this pair of patches adds to logit(flag) − logit(runner-up), signed.
    """

    number: int
    class_id: int
    similarity: float
    contribution: float
    query_box: Box
    support_image: str
    support_box: Box
    rank: int


@dataclass(frozen=True, slots=True)
class Contributions:
    """What adds up, exactly, to logit(flag) − logit(against).

    Σ values + whole + text + constant == Σ by_support + text + constant == the difference (to 1e-4).
    ``values`` is row-major of length grid[0]·grid[1]; ``by_support`` is image sha256 → sum; ``text`` is what the
    names and descriptions of the classes add. Where one of the two classes has no images, the other's images speak
    for it against the rest of those that have some.
    """

    flag: int
    against: int | None
    grid: tuple[int, int]
    values: tuple[float, ...]
    whole: float
    constant: float
    by_support: Mapping[str, float]
    text: float = 0.0

    def __post_init__(self) -> None:
        if len(self.values) != self.grid[0] * self.grid[1]:
            raise ValueError(f"grid {self.grid} needs {self.grid[0] * self.grid[1]} values, got {len(self.values)}")


class Status(StrEnum):
    """How a prediction ended."""

    OK = "ok"
    NO_SUGGESTION = "no_suggestion"  # e.g. one class only; `reason` says what is missing
    UNREADABLE = "unreadable"
    FAILED = "failed"


class Reasoning(StrEnum):
    """How far the reasoner is with a prediction whose scores stand already."""

    NONE = "none"  # no reasoner is asked beside the scores
    PENDING = "pending"  # flag and explanation are those of the scores until it answers
    ANSWERED = "answered"  # flag and explanation are its own (an abstention included)
    FAILED = "failed"  # it gave no answer, `reason` says why; flag and explanation are those of the scores


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reasoner answers. ``flag`` None with status OK means: abstained."""

    flag: int | None
    explanation: str
    cited_evidence: tuple[int, ...] = ()
    dropped_citations: int = 0
    transcript: str = ""
    class_probabilities: Mapping[int, float] | None = None
    status: Status = Status.OK
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A run's result for one query image. ``flag`` None means abstained or no suggestion.

    ``class_probabilities`` are the reasoner's own (class id → probability), beside ``scores``; ``prompt`` is the
    version of the prompt that it was asked with, empty where there was none.
    """

    image: str
    status: Status
    flag: int | None
    runner_up: int | None
    margin: float | None  # probability of the best class minus that of the second
    scores: tuple[ClassScore, ...]
    evidence: tuple[Evidence, ...]
    contributions: Contributions | None
    explanation: str
    cited_evidence: tuple[int, ...]
    transcript: str
    encoder: str
    reasoner: str
    recipe: str
    support_version: str
    calibrated: Calibrated = Calibrated.NOT
    reason: str = ""
    ms: Mapping[str, float] = field(default_factory=dict)
    reasoning: Reasoning = Reasoning.NONE
    class_probabilities: Mapping[int, float] | None = None
    dropped_citations: int = 0
    prompt: str = ""

    @property
    def best(self) -> ClassScore | None:
        """The class with the highest probability (which the flag of a reasoner may differ from)."""
        return max(self.scores, key=lambda s: s.logit, default=None)


# --------------------------------------------------------------------------- people
class Kind(StrEnum):
    """Kinds of human events, append-only."""

    ACCEPT = "accept"
    CORRECT = "correct"
    SKIP = "skip"
    UNSURE = "unsure"
    UNDO = "undo"
    NOTE = "note"
    ADJUDICATE = "adjudicate"
    PROMOTE = "promote"


@dataclass(frozen=True, slots=True)
class Decision:
    """One human event as the client sends it. ``id`` is the client's UUID, the idempotency key.

    accept and correct carry ``class_id``; undo carries ``undoes`` (an event id); note carries
    ``note``. ``suggestion_shown`` is False where the suggestion was withheld or there was none.
    ``expected_version`` is the image's event count that the annotator saw.
    """

    id: str
    kind: Kind
    image: str
    annotator: str
    made_at: str
    class_id: int | None = None
    undoes: str | None = None
    note: str | None = None
    prediction_id: int | None = None
    suggested_class: int | None = None
    suggestion_shown: bool = False
    expected_version: int | None = None
    attention_ms: int | None = None
    lease_token: int | None = None
    group: str | None = None  # decisions made with one key (bulk) share it, and are undone together


class Outcome(StrEnum):
    """What became of a decision."""

    STORED = "stored"
    DUPLICATE = "duplicate"  # the same id was stored before; nothing changed
    CONFLICT = "conflict"  # stored, but somebody else decided in between


@dataclass(frozen=True, slots=True)
class Label:
    """The class in force for one image by one annotator: what that annotator's events add up to.

    ``state`` is labelled, unsure or skipped; ``class_id`` is None unless labelled.
    """

    image: str
    annotator: str
    state: str
    class_id: int | None
    event_id: str
    decided_at: str
    note: str | None = None
    conflict: bool = False


# --------------------------------------------------------------------------- JSON
@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))


def to_json(value: Any) -> str:
    """Any value type of this module as compact JSON."""
    return _adapter(cast(Hashable, type(value))).dump_json(value).decode()


def from_json(kind: type[T], text: str | bytes) -> T:
    """The inverse of :func:`to_json`; raises pydantic.ValidationError on anything else."""
    result: T = _adapter(cast(Hashable, kind)).validate_json(text)
    return result

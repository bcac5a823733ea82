"""What the run worker says about itself, in sentences for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from core.images import shown
from core.types import SupportSet


@dataclass(frozen=True, slots=True)
class RunStatus:
    """What the worker is doing, for a progress line.

    ``state``: idle, no_images, no_support, loading, computing, done or failed. ``done`` of ``total``
    query images have their prediction; ``stale`` still show one of an earlier support set. ``reasoned`` of them
    have the answer of a slow reasoner, None where none is asked. ``stands_in``: the part of the sentence that
    says which model is missing, with its paths and commands.
    """

    state: str
    sentence: str
    done: int = 0
    total: int = 0
    encoder: str = ""
    reasoner: str = ""
    recipe: str = ""
    support_version: str = ""
    stale: int = 0
    seconds_left: float | None = None
    device: str = ""
    reasoned: int | None = None
    images_per_second: float | None = None
    seconds_per_answer: float | None = None
    stands_in: str = ""

    @property
    def brief(self) -> str:
        """The sentence without ``stands_in``, for narrow places."""
        return " ".join(self.sentence.replace(self.stands_in, "").split()) if self.stands_in else self.sentence

    @property
    def counted(self) -> tuple[int, str]:
        """What a progress line counts, and in which word: suggestions, then the answers of a slow reasoner."""
        if self.reasoned is not None and self.done >= self.total:
            return self.reasoned, "answers"
        return self.done, "suggestions"


def looking(status: RunStatus) -> RunStatus:
    """What is said between a change and the work that it makes: "done" would not be true."""
    if status.state != "done":
        return status
    return replace(status, state="computing", sentence="Looking at what changed.", seconds_left=None)


def left_out(names: Sequence[str]) -> str:
    named = ", ".join(shown(name, 40) for name in names[:3]) + (", …" if len(names) > 3 else "")
    subject = "1 support image" if len(names) == 1 else f"{len(names):,} support images"
    return f"Without {subject} that cannot be read ({named}): import the same files again, or remove them."


def reasoned(name: str, answered: int, shown: int, trouble: str, *, at_work: bool) -> str:
    """How far a slow reasoner is with the images whose scores are shown; ``trouble``: why no answer comes just now."""
    if not at_work and answered < shown:
        why = f": {trouble}" if trouble else "."
        count = shown - answered
        images = "1 image" if count == 1 else f"{count:,} images"
        return f"{name} gave no answer on {images}, for which it is asked again when the workbench is started{why}"
    if trouble:
        return f"{name} gives no answer, so the scores speak for themselves, and it is asked again: {trouble}"
    if not shown:
        return f"{name} follows."
    if answered >= shown:
        return f"{name} has answered on all of them."
    return f"{name} has answered on {max(0, answered):,} of {shown:,}; until it has, the scores speak."


def what_is_missing(support: SupportSet, *, by_names: bool = False) -> str:
    """A sentence that says what has to be there before images can be scored; empty where nothing is missing.

    ``by_names``: the encoder reads text, so that the names of two classes are enough.
    """
    if by_names and len(support.classes) >= 2:
        return ""
    if by_names:
        one = support.classes[0].name if support.classes else ""
        there = f"There is only the class {one!r}" if one else "There are no classes yet"
        return f"{there}. Add at least two on the Support page; their names alone are enough to begin with."
    filled = [c for c in support.classes if support.k_shot[c.id]]
    if len(filled) >= 2:
        return ""
    if not support.classes:
        return "There are no classes yet. Add at least two on the Support page, with a few example images each."
    if not filled:
        return "No class has a support image yet. Add a few example images to at least two classes."
    return (
        f"Only the class {filled[0].name!r} has support images, so there is nothing to compare it with. "
        "Add a few example images to a second class."
    )

"""What a vision-language model is shown: the classes as options, the evidence as numbered crops, the query last."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal

from PIL import Image

from core.errors import RagVisionError
from core.patches import position_words
from core.ports import ReasonRequest
from core.prompts import SYSTEM_PROMPT, USER_PROMPT, filled, values_for
from core.reasoning._text import safe_name, safe_prompt
from core.settings import PipelineSettings
from core.types import Box, ClassRecord, Evidence

log = logging.getLogger("ragvision.reasoning")

JSON_FORM = (
    "Answer with one JSON object and nothing else: its key class holds the letter or null if you cannot tell, "
    "its key explanation at most three sentences, its key evidence a list of the numbers of the examples used."
)

MOST_OPTIONS = len(ascii_uppercase)
SHORTEST_SIDE = 56  # pixels: smaller crops are no use to a vision-language model
_CROP_TOKENS = 64  # 224 × 224 pixels, where the budget allows
_DESCRIPTION = 300  # characters


def offered_classes(request: ReasonRequest, most: int = MOST_OPTIONS) -> tuple[ClassRecord, ...]:
    """The classes that have a score, in the project's order; of more than ``most`` those with the highest scores."""
    scores = {s.class_id: s.logit for s in request.scores}
    scored = [c for c in request.classes if c.id in scores]
    kept = {c.id for c in sorted(scored, key=lambda c: -scores[c.id])[:most]}
    return tuple(c for c in scored if c.id in kept)


def letters(classes: Sequence[ClassRecord]) -> dict[str, ClassRecord]:
    """Option letter → class, in the order given; classes beyond the 26th have no letter."""
    return dict(zip(ascii_uppercase, classes, strict=False))


@dataclass(frozen=True, slots=True)
class Shown:
    """The pictures of one prompt, resized by us: ``visual_tokens`` is what they cost, each a multiple of the cell."""

    query: Image.Image
    evidence: tuple[tuple[Evidence, Image.Image | None], ...]
    left_out: int
    visual_tokens: int

    @property
    def numbers(self) -> tuple[int, ...]:
        """The evidence that may be cited."""
        return tuple(e.number for e, _ in self.evidence)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model sees, in order: text and pictures. ``classes`` are the options A, B, C … of this order."""

    system: str
    parts: tuple[str | Image.Image, ...]
    classes: tuple[ClassRecord, ...]
    numbers: tuple[int, ...]

    @property
    def images(self) -> list[Image.Image]:
        """The pictures alone, in their order."""
        return [part for part in self.parts if not isinstance(part, str)]

    def as_text(self) -> str:
        """The prompt with each picture as its size, for the transcript."""
        shown = (p if isinstance(p, str) else f"[picture {p.width}×{p.height}]" for p in self.parts)
        return f"{self.system}\n\n{''.join(shown)}"


def gather(request: ReasonRequest, *, max_visual_tokens: int, cell: int = 28) -> Shown:
    """Query and evidence as pictures that cost at most ``max_visual_tokens``, one token for cell × cell pixels.

    At most half goes to the evidence, whose crops have context around the patch and no side below 56 pixels;
    evidence beyond that is left out and counted. Raises ImageError where the query cannot be read.
    """
    least = math.ceil(SHORTEST_SIDE / cell) ** 2
    offered = {c.id for c in offered_classes(request)}
    wanted = [e for e in request.evidence if e.class_id in offered]
    kept = wanted[: max_visual_tokens // 2 // least]
    each = max(least, min(_CROP_TOKENS, max_visual_tokens // 2 // max(1, len(kept))))
    pictures: dict[str, Image.Image | None] = {}
    evidence: list[tuple[Evidence, Image.Image | None]] = []
    for e in kept:
        if e.support_image not in pictures:
            pictures[e.support_image] = _loaded(request.load_support, e.support_image)
        whole = pictures[e.support_image]
        crop = None if whole is None else fitted(whole.crop(_with_context(e.support_box, whole.size)), each, cell)
        evidence.append((e, crop))
    spent = sum(_tokens(crop, cell) for _, crop in evidence if crop is not None)
    query = fitted(request.query.load(), max(least, max_visual_tokens - spent), cell)
    return Shown(query, tuple(evidence), len(wanted) - len(kept), spent + _tokens(query, cell))


def build_prompt(
    request: ReasonRequest,
    settings: PipelineSettings,
    shown: Shown,
    classes: Sequence[ClassRecord],
    *,
    form: Literal["letter", "json"] = "letter",
    special: Collection[str] = (),
) -> Prompt:
    """The constant part first (task, classes), so that a server can reuse it; then evidence, then the query."""
    options = letters(classes)
    names = {c.id: safe_name(c.name, special=special) for c in classes}
    values = values_for(
        classes,
        request.scores,
        support_count=len(request.support_names),
        image_name=request.query.name,
        safe=lambda name: safe_name(name, special=special),
    )
    task = safe_prompt(filled(settings.user_prompt, values), special) or USER_PROMPT
    listed = "\n".join(
        f"{letter}: “{names[c.id]}”"
        + (f" ({safe_name(c.description, _DESCRIPTION, special)})" if c.description.strip() else "")
        for letter, c in options.items()
    )
    parts: list[str | Image.Image] = [f"{task}\n\nClasses:\n{listed}\n"]
    if shown.evidence:
        parts.append("\nNumbered examples: parts of labelled images, each like a part of the query image.\n")
    for e, crop in shown.evidence:
        if e.class_id not in names:
            continue
        where = position_words(e.query_box, request.query.width, request.query.height)
        parts.append(f"\nE{e.number}: of “{names[e.class_id]}”, {e.similarity:.2f} alike to the query's {where}. ")
        if crop is not None:
            parts.append(crop)
    last = list(options)[-1]
    ask = JSON_FORM if form == "json" else f"Answer with one letter, A to {last}, and nothing else."
    parts += ["\n\nThe query image:\n", shown.query, f"\nWhich class does the query image belong to? {ask}"]
    system = safe_prompt(filled(settings.system_prompt, values), special) or SYSTEM_PROMPT
    return Prompt(system, _joined(parts), tuple(classes), shown.numbers)


def explanation_question(flag: ClassRecord, numbers: Sequence[int], special: Collection[str] = ()) -> str:
    """What is asked once the flag stands."""
    name = safe_name(flag.name, special=special)
    text = f"In at most three sentences, say what in the query image speaks for “{name}”."
    if not numbers:
        return text
    return f"{text} Refer to examples by their numbers, as in [E{numbers[0]}]; there is none above E{max(numbers)}."


def _joined(parts: Iterable[str | Image.Image]) -> tuple[str | Image.Image, ...]:
    """Neighbouring pieces of text as one."""
    joined: list[str | Image.Image] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)


def _loaded(load: Callable[[str], Image.Image] | None, key: str) -> Image.Image | None:
    if load is None:
        return None
    try:
        return load(key)
    except (RagVisionError, OSError) as error:
        log.info("the support image %s is described without its picture: %s", key[:12], error)
        return None


def _with_context(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box at twice its width and height, moved into the image where it would stick out."""
    left, right = _stretch(box.left, box.right, size[0])
    top, bottom = _stretch(box.top, box.bottom, size[1])
    return left, top, right, bottom


def _stretch(start: int, stop: int, limit: int) -> tuple[int, int]:
    length = min(limit, 2 * (stop - start))
    begin = min(max(0, start - (length - (stop - start)) // 2), limit - length)
    return begin, begin + length


def fitted(image: Image.Image, tokens: int, cell: int) -> Image.Image:
    """``image`` as RGB with sides that are multiples of ``cell``, at least 56 pixels each, at most ``tokens`` cells.

    Never larger than it was, but for the least side; the shape is kept as far as whole cells allow.
    """
    least = math.ceil(SHORTEST_SIDE / cell)
    width, height = image.size
    scale = max(min(1.0, math.sqrt(tokens * cell * cell / (width * height))), SHORTEST_SIDE / min(width, height))
    longest = max(least, tokens // least)
    columns = min(longest, max(least, round(width * scale / cell)))
    rows = min(longest, max(least, round(height * scale / cell)))
    while columns * rows > tokens and max(columns, rows) > least:
        if columns >= rows:
            columns -= 1
        else:
            rows -= 1
    upright = image if image.mode == "RGB" else image.convert("RGB")
    size = (columns * cell, rows * cell)
    return upright if upright.size == size else upright.resize(size, Image.Resampling.BICUBIC)


def _tokens(image: Image.Image, cell: int) -> int:
    return (image.width // cell) * (image.height // cell)

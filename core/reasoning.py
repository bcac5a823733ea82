"""The contract with reasoners, in one place: what a vision-language model is shown, and what its answer may be.

Whatever a model writes, what comes out is a class that was offered, an abstention, or a failure with its
reason. Names of classes and text inside images can bend the content of an answer, never its form.
"""

from __future__ import annotations

import json
import logging
import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any, Literal

from PIL import Image

from core.errors import RagVisionError
from core.patches import position_words
from core.ports import Reasoner, ReasonRequest
from core.prompts import SYSTEM_PROMPT, USER_PROMPT
from core.settings import PipelineSettings
from core.text import printable
from core.types import Answer, Box, ClassRecord, Evidence, Status

log = logging.getLogger("ragvision.reasoning")

JSON_FORM = (
    "Answer with one JSON object and nothing else: its key class holds the letter or null if you cannot tell, "
    "its key explanation at most three sentences, its key evidence a list of the numbers of the examples used."
)

MOST_OPTIONS = len(ascii_uppercase)
SHORTEST_SIDE = 56  # pixels: smaller crops are no use to a vision-language model
_CROP_TOKENS = 64  # 224 × 224 pixels, where the budget allows
_NAME, _DESCRIPTION, _PROMPT = 60, 300, 8_000  # characters
_READ, _EXPLANATION, _TRANSCRIPT = 20_000, 4_000, 20_000

# --------------------------------------------------------------------------- text that came from elsewhere
_OPENING = re.compile(r"<(?![\s\d=])")
_BRACKETS = str.maketrans(
    {"[": "(", "]": ")", "{": "(", "}": ")", "“": "'", "”": "'", '"': "'", "＜": "<", "＞": ">", "｜": "|"}
)


def without_special_tokens(text: str, special: Iterable[str] = ()) -> str:
    """``text`` in which no tokenizer finds a special token, such as ``<|im_end|>``: it cannot end its own turn."""
    text = _OPENING.sub("‹", text)
    for token in sorted({t for t in special if len(t) > 1}, key=len, reverse=True):
        while token in text:
            text = text.replace(token, f"{token[0]} {token[1:]}" if f"{token[0]} " not in token else "")
    return text


def safe_name(text: str, longest: int = _NAME, special: Iterable[str] = ()) -> str:
    """A name or description as it stands in a prompt: one line, no brackets, quotes or special tokens, cut short."""
    text = unicodedata.normalize("NFC", text).translate(_BRACKETS)
    text = " ".join(printable(text, keep="\n\r\t").split())
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return without_special_tokens(text, special) or "(no name)"


def storable(text: str) -> str:
    """``text`` as it can be written as UTF-8: a lone surrogate becomes a question mark."""
    return text.encode("utf-8", "replace").decode()


def _safe_prompt(text: str, special: Iterable[str]) -> str:
    text = printable(unicodedata.normalize("NFC", text), keep="\n\t")[:_PROMPT].strip()
    return without_special_tokens(text, special)


# --------------------------------------------------------------------------- what is offered
def offered_classes(request: ReasonRequest, most: int = MOST_OPTIONS) -> tuple[ClassRecord, ...]:
    """The classes that have a score, in the project's order; of more than ``most`` those with the highest scores."""
    scores = {s.class_id: s.logit for s in request.scores}
    scored = [c for c in request.classes if c.id in scores]
    kept = {c.id for c in sorted(scored, key=lambda c: -scores[c.id])[:most]}
    return tuple(c for c in scored if c.id in kept)


def letters(classes: Sequence[ClassRecord]) -> dict[str, ClassRecord]:
    """Option letter → class, in the order given; classes beyond the 26th have no letter."""
    return dict(zip(ascii_uppercase, classes, strict=False))


# --------------------------------------------------------------------------- what is shown
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
    task = _safe_prompt(settings.user_prompt, special) or USER_PROMPT
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
    system = _safe_prompt(settings.system_prompt, special) or SYSTEM_PROMPT
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


# --------------------------------------------------------------------------- what is answered
def failed(reason: str, transcript: str = "") -> Answer:
    """An answer that could not be had: never a flag, always a reason."""
    reason = " ".join(printable(reason, keep="\n").split())[:500] or "The reasoner failed and gave no reason."
    return Answer(None, "", transcript=storable(transcript[:_TRANSCRIPT]), status=Status.FAILED, reason=reason)


def explained(text: str, numbers: Collection[int]) -> tuple[str, tuple[int, ...], int]:
    """An explanation fit to show, the evidence it cites of ``numbers``, and how many other numbers were dropped."""
    text = printable(text, keep="\n").strip()
    if len(text) > _EXPLANATION:
        text = f"{text[: _EXPLANATION - 1]}…"
    cited, dropped = _of_the_prompt((int(n) for n in _CITATION.findall(text)), numbers)
    return text, cited, dropped


def parse_answer(
    text: str, classes: Sequence[ClassRecord], evidence_numbers: Collection[int], *, prompt: str = ""
) -> Answer:
    """What a model wrote → an Answer whose flag is one of ``classes`` (options A, B, C … in this order) or None.

    Understood are a JSON object as :data:`JSON_FORM` asks for it (in prose, a code fence or with comments),
    a line such as ``Answer: B``, and a first line that is nothing but an option. Anything else is a failure
    with its reason: a class that is merely mentioned is no answer. ``prompt`` is taken off where it is echoed.
    """
    text = storable(text)
    transcript = text[:_TRANSCRIPT]
    stripped = text.strip()
    if prompt.strip() and stripped.startswith(prompt.strip()):
        stripped = stripped[len(prompt.strip()) :]
    stripped = _THOUGHT.sub("", stripped[:_READ]).strip()
    if not stripped:
        return failed("The model answered nothing.", transcript)
    if _WEB_PAGE.match(stripped):
        return failed("A web page came back instead of a model's answer.", transcript)
    if "<think>" in stripped:
        return failed("The model's answer ends while it was still thinking. Raise max_new_tokens.", transcript)
    try:
        found = _from_json(stripped) or _from_lines(stripped)
        if found is None:
            raise _Unusable("The model's answer names no class in the form that was asked for.")
        chosen = {_resolve(value, classes) for value in found.values}
        if len(chosen) > 1:
            raise _Unusable("The model's answer names more than one class.")
    except _Unusable as error:
        return failed(str(error), transcript)
    explanation, in_text, dropped = explained(found.explanation, evidence_numbers)
    listed, unknown = _of_the_prompt(found.evidence, evidence_numbers)
    cited = tuple(dict.fromkeys((*listed, *in_text)))
    flag = next(iter(chosen))
    if not explanation:
        explanation = "The model gave no explanation." if flag is not None else "The model could not tell."
    return Answer(flag, explanation, cited, dropped + unknown, transcript)


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


# --------------------------------------------------------------------------- reading an answer
_CITATION = re.compile(r"(?<![\w])E\s?(\d{1,6})(?!\w)")
_WEB_PAGE = re.compile(r"<(?:!doctype|html|head|body)\b", re.IGNORECASE)
_THOUGHT = re.compile(r"<think>.*?</think>", re.DOTALL)
_LINE = re.compile(
    r"^[ \t>*_#\-]*(?:the\s+)?(?:final\s+)?(?:class|flag|label|answer|option)[ \t*_]*[:=][ \t*_]*(\S.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_LETTER = re.compile(r"^\(?([A-Za-z])(?:[.):]+(?=\s|$)|$)[\s*_]*(.*)$", re.DOTALL)
_KEYS = ("class", "flag", "label", "answer", "option")
_WHY = ("explanation", "reason", "rationale", "because")
_ABSTAINED = frozenset({"null", "none", "abstain", "abstained", "unsure", "unknown", "i cannot tell", "cannot tell"})
_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,(?=\s*[}\]])', re.DOTALL)
_MOST_OBJECTS = 64


class _Unusable(Exception):
    """Why there is no answer in a text; a sentence."""


@dataclass(frozen=True, slots=True)
class _Found:
    values: tuple[object, ...]
    explanation: str
    evidence: tuple[int, ...] = ()


def _from_json(text: str) -> _Found | None:
    """Every JSON object in the text that names a class; None where there is none."""
    values: list[object] = []
    explanations: list[str] = []
    evidence: list[int] = []
    for pairs in _objects(text):
        lowered = [(key.strip().lower(), value) for key, value in pairs]
        named = [value for key, value in lowered if key in _KEYS]
        values += named
        if named:
            explanations += [value for key, value in lowered if key in _WHY and isinstance(value, str)]
            evidence += [n for key, value in lowered if key in ("evidence", "cited") for n in _numbers(value)]
    return _Found(tuple(values), "\n".join(explanations), tuple(evidence)) if values else None


def _objects(text: str) -> Iterator[list[tuple[str, Any]]]:
    """The outermost JSON objects of a text as key-value pairs, a key that is there twice included."""
    text = _COMMENT.sub(lambda m: m[0] if m[0].startswith('"') else "", text)
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs)
    position = 0
    for _ in range(_MOST_OBJECTS):
        position = text.find("{", position)
        if position < 0:
            return
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):  # ValueError: also an integer of thousands of digits
            position += 1
            continue
        yield value


class _Pairs(list[tuple[str, Any]]):
    """A JSON object that keeps both of two equal keys."""


def _numbers(value: object) -> Iterator[int]:
    items = value if isinstance(value, list) and not isinstance(value, _Pairs) else [value]
    for item in items:
        if isinstance(item, int) and not isinstance(item, bool):
            yield item
        elif isinstance(item, str) and (found := re.fullmatch(r"\s*\[?E?\s?(\d{1,6})\]?\s*", item)):
            yield int(found[1])


def _from_lines(text: str) -> _Found | None:
    """Lines such as ``Answer: B``, else a first line that is an option; None where there is neither."""
    named: list[object] = [m[1] for m in _LINE.finditer(text)]
    if named:
        return _Found(tuple(named), _LINE.sub("", text))
    first, _, rest = text.partition("\n")
    return _Found((_FirstLine(first),), rest)


class _FirstLine(str):
    """A line that need not be an answer at all."""

    __slots__ = ()


def _resolve(value: object, classes: Sequence[ClassRecord]) -> int | None:
    """A letter or a name, written alone → the class; None for an abstention; raises :class:`_Unusable`."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise _Unusable("The model's answer names the class in a form that was not asked for.")
    plain = _plain(value)
    by_name = {c.id for c in classes if plain and plain in (_plain(c.name), _plain(safe_name(c.name)))}
    exact = {c.id for c in classes if c.name == value.strip()}
    options = {letter.lower(): c.id for letter, c in letters(classes).items()}
    by_letter = {options[plain]} if plain in options else set()
    candidates = (exact or by_name) | by_letter
    if len(candidates) == 1:
        return next(iter(candidates))
    if len(candidates) > 1:
        raise _Unusable("The model's answer fits more than one class.")
    if plain in _ABSTAINED:
        return None
    with_letter = _LETTER.match(value.strip().strip("*_"))
    if with_letter and with_letter[2].strip() and with_letter[1].lower() in options:
        return _lettered(options[with_letter[1].lower()], with_letter[2], classes)
    if isinstance(value, _FirstLine):
        raise _Unusable("The model's answer names no class in the form that was asked for.")
    raise _Unusable(f"The model answered “{safe_name(value)}”, which is none of the classes.")


def _lettered(chosen: int, rest: str, classes: Sequence[ClassRecord]) -> int:
    """``B: dirty``, where what follows the letter must not name another option."""
    try:
        named = _resolve(rest, classes)
    except _Unusable:
        return chosen  # what follows is prose
    if named not in (None, chosen):
        raise _Unusable("The model's answer names one class by its letter and another by its name.")
    return chosen


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFC", text).casefold()
    return " ".join(text.strip().strip("*_`\"'“”‘’").strip().strip(".,;:!()[]").split())


def _of_the_prompt(found: Iterable[int], numbers: Collection[int]) -> tuple[tuple[int, ...], int]:
    """The numbers that were in the prompt, each once, and how many others there were."""
    distinct = dict.fromkeys(n for n in found)
    known = tuple(n for n in distinct if n in numbers)
    return known, len(distinct) - len(known)


def averaged(parts: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Class → mean probability over the orders in which the classes were offered; sums to 1."""
    mean = {c: sum(p[c] for p in parts) / len(parts) for c in parts[0]}
    total = sum(mean.values())
    return {c: p / total for c, p in mean.items()}

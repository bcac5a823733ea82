"""What a vision-language model may answer: a class that was offered, an abstention, or a failure with its reason."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.reasoning._prompt import letters
from core.reasoning._text import safe_name, storable
from core.text import printable
from core.types import Answer, ClassRecord, Status

_READ, _EXPLANATION, _TRANSCRIPT = 20_000, 4_000, 20_000  # characters


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
        chosen = {_resolve(value, classes) for value in found.values} | _on_the_first_line(stripped, classes)
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
# Strings, which are kept, and what JSON has not. An escape counts outside strings too: else each of thousands of \"
# would begin a string that is looked for to the end of the text.
_COMMENT = re.compile(r'\\.|"(?:\\.|[^"\\])*"|//[^\n]*|/\*.{0,2000}?\*/|,(?=\s*[}\]])', re.DOTALL)
_MOST_OBJECTS = 64
_BEGUN = re.compile(r'"explanation"\s*:\s*"((?:[^"\\]|\\u[0-9a-fA-F]{4}|\\[^u])*)')


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
    text = _COMMENT.sub(lambda m: m[0] if m[0][0] in '"\\' else "", text)
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


def _on_the_first_line(text: str, classes: Sequence[ClassRecord]) -> set[int]:
    """The class that the first line names, if it is nothing but that: a later one may be quoted from an image."""
    try:
        named = _resolve(_FirstLine(text.partition("\n")[0]), classes)
    except _Unusable:
        return set()
    return set() if named is None else {named}


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


def explanation_so_far(text: str) -> str:
    """The explanation in a JSON object that is still being written; empty where it has not begun."""
    begun = _BEGUN.search(text[:_READ])
    if begun is None:
        return ""
    try:
        return storable(str(json.loads(f'"{begun[1]}"', strict=False)))
    except ValueError:  # cut inside an escape
        return ""


def averaged(parts: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Class → mean probability over the orders in which the classes were offered; sums to 1."""
    mean = {c: sum(p[c] for p in parts) / len(parts) for c in parts[0]}
    total = sum(mean.values())
    return {c: p / total for c, p in mean.items()}

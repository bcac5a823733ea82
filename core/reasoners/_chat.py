"""Chat completions on the wire: a prompt as messages, and what came back as plain values, whatever it was."""

from __future__ import annotations

import base64
import io
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from core.errors import ReasoningFailed
from core.reasoning import Prompt, letters, storable
from core.text import printable

_SHOWN = 200  # characters of a server's own words
_MARKS = " \n\t▁Ġ."  # how tokenizers write the space before a word, and what may follow a letter


class NoCompletion(ReasoningFailed):
    """What came back is no chat completion at all: the server's failure, not the model's."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a model wrote; ``first`` are (token, log-probability) at its first token, empty where not given."""

    text: str
    first: tuple[tuple[str, float], ...] = ()
    prompt_tokens: int | None = None


# --------------------------------------------------------------------------- asking
def messages(prompt: Prompt, *turns: tuple[str, str]) -> list[dict[str, Any]]:
    """The prompt with its pictures in their places, then what was said after it as (role, words)."""
    content = [text_part(part) if isinstance(part, str) else image_part(part) for part in prompt.parts]
    return [
        {"role": "system", "content": prompt.system},
        {"role": "user", "content": content},
        *({"role": role, "content": words} for role, words in turns),
    ]


def text_part(text: str) -> dict[str, Any]:
    """One piece of text."""
    return {"type": "text", "text": storable(text)}


def image_part(image: Image.Image) -> dict[str, Any]:
    """One picture, inline: no server is ever asked to fetch anything."""
    data = io.BytesIO()
    image.convert("RGB").save(data, "JPEG", quality=95, subsampling=0)  # defects are small: colour at full resolution
    return {
        "type": "image_url",
        "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"},
    }


# --------------------------------------------------------------------------- reading
def decoded(content: bytes, content_type: str) -> Any:
    """A body as JSON; :class:`NoCompletion` where it is none."""
    kind = content_type.partition(";")[0].strip().lower()
    if "json" not in kind:
        what = "a web page" if "html" in kind else f"“{shown(kind, 60)}”" if kind else "something of no stated type"
        raise NoCompletion(f"sent {what} instead of JSON. Does OPENAI_BASE_URL point at the API (mostly …/v1)?")
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise NoCompletion("sent JSON that is damaged or cut off.") from None


def read(body: Any) -> Said:
    """A chat completion. Raises :class:`NoCompletion`, and ReasoningFailed where the model refused or called a tool."""
    choice = _at(body, "choices", 0)
    if not isinstance(choice, Mapping):
        raise NoCompletion(_error_in(body) or "sent no completion (no choices).")
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise NoCompletion("sent a completion without a message.")
    text = _content(message)
    _no_excuse(message, choice, text)
    tokens = _at(body, "usage", "prompt_tokens")
    is_count = isinstance(tokens, int) and not isinstance(tokens, bool)
    return Said(text, tuple(_first(choice)), tokens if is_count else None)


class Stream:
    """The pieces of a streamed completion added up: :meth:`add` each event's JSON, then :meth:`said`."""

    def __init__(self) -> None:
        self.text = ""
        self._finished = False

    def add(self, event: Any) -> bool:
        """Whether the text grew. Raises as :func:`read` does."""
        error = _error_in(event)
        if error:
            raise NoCompletion(error)
        choice = _at(event, "choices", 0)
        if not isinstance(choice, Mapping):
            return False  # an event with the usage alone
        delta = choice.get("delta")
        piece = _content(delta) if isinstance(delta, Mapping) else ""
        self.text += piece
        if isinstance(choice.get("finish_reason"), str):
            self._finished = True
            _no_excuse(delta if isinstance(delta, Mapping) else {}, choice, self.text)
        return bool(piece)

    def said(self) -> Said:
        """The whole; :class:`NoCompletion` where no reason for its end was sent, so that it broke off."""
        if not self._finished:
            raise NoCompletion("broke off in the middle of its answer.")
        return Said(self.text)


class NoLetter(ReasoningFailed):
    """The answer is no option letter, or came without log-probabilities: the server lacks something."""


def letter_probabilities(said: Said, prompt: Prompt) -> tuple[list[float], float]:
    """A probability for each of ``prompt.classes`` and the letters' share of all probability; or :class:`NoLetter`.

    A letter that is not among the most probable tokens, of which servers send twenty, counts as 0.
    """
    options = letters(prompt.classes)
    mass = dict.fromkeys(options, 0.0)
    for token, logprob in said.first:
        if token.strip(_MARKS) in mass and math.isfinite(logprob):
            mass[token.strip(_MARKS)] += math.exp(min(0.0, logprob))
    share, answered = sum(mass.values()), said.text.strip(_MARKS)
    if answered not in options:
        raise NoLetter("it answered with no letter")
    if not mass[answered]:
        raise NoLetter("it sent no log-probabilities")
    return [p / share for p in mass.values()], min(1.0, share)


def error_message(body: object) -> str:
    """A server's own words about an error, cut short; empty where there are none."""
    for path in (("error", "message"), ("message",), ("detail",), ("error",)):
        found = _at(body, *path)
        if isinstance(found, str) and found.strip():
            return shown(found)
    return shown(body) if isinstance(body, str) and not body.lstrip().startswith("<") else ""


def shown(text: str, longest: int = _SHOWN) -> str:
    """Text from elsewhere on one line of a sentence."""
    line = " ".join(printable(storable(text[: 20 * longest]), keep="\n").split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _error_in(body: Any) -> str:
    error = _at(body, "error")
    return f"sent an error: {(error_message(body) or 'it has no message').rstrip('.')}." if error else ""


def _content(message: Mapping[str, Any]) -> str:
    """The text of a message; some servers send it in parts. Thoughts that are sent apart are left aside."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "".join(str(p["text"]) for p in content if isinstance(p, Mapping) and isinstance(p.get("text"), str))
    return ""


def _no_excuse(message: Mapping[str, Any], choice: Mapping[str, Any], text: str) -> None:
    refusal, reason = message.get("refusal"), choice.get("finish_reason")
    if isinstance(refusal, str) and refusal.strip():
        raise ReasoningFailed(f"The model refused to answer: {shown(refusal)}")
    if reason == "content_filter":
        raise ReasoningFailed("The server withheld the model's answer (content filter).")
    if not text.strip() and (message.get("tool_calls") or message.get("function_call")):
        raise ReasoningFailed("The model called a tool instead of answering.")


def _first(choice: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    top = _at(choice, "logprobs", "content", 0, "top_logprobs")
    for one in top if isinstance(top, Sequence) else ():
        token, logprob = _at(one, "token"), _at(one, "logprob")
        is_number = isinstance(logprob, int | float) and not isinstance(logprob, bool)
        # JSON's whole numbers may be larger than any float
        if isinstance(token, str) and is_number and abs(logprob) <= sys.float_info.max:
            yield token, float(logprob)


def _at(value: Any, *path: str | int) -> Any:
    """What lies at a path of keys and positions; None where the way ends."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, Mapping) else None
        else:
            is_list = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > step
            value = value[step] if is_list else None
    return value

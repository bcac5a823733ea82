"""Text that came from elsewhere, made fit to stand in a prompt or in a file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from core.settings import LONGEST_PROMPT
from core.text import printable

_NAME, _PROMPT = 60, 2 * LONGEST_PROMPT  # characters; a prompt grows when it is filled in
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


def safe_prompt(text: str, special: Iterable[str]) -> str:
    """A prompt of the user's own: no control characters or special tokens, cut where it is too long."""
    text = printable(unicodedata.normalize("NFC", text), keep="\n\t")[:_PROMPT].strip()
    return without_special_tokens(text, special)

"""Text for people: names that came from elsewhere made fit for where they go, and durations in words."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Final

BIDI_CONTROLS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NOT_SHOWN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_LINE_BREAKS: Final = re.compile("[\x7f-\x9f\u2028\u2029]")


def printable(text: str, *, keep: str = "") -> str:
    """``text`` with � for all that would steer a terminal or turn the line round, except ``keep``."""
    return "".join(
        "�" if c not in keep and (unicodedata.category(c) in _NOT_SHOWN or c in BIDI_CONTROLS) else c for c in text
    )


def quoted(text: object) -> str:
    """``text`` as it stands in a sentence: printable, in quotes, whole."""
    return f"“{printable(str(text))}”"


def json_line(value: object) -> str:
    """``value`` as JSON on one line, its end included. Raises ValueError for what JSON cannot hold (NaN).

    Text stays readable, but what some readers take for the end of a line (U+0085, U+2028 …) is escaped.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _LINE_BREAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


def duration(seconds: float) -> str:
    """``8 s``, ``3 min``, ``1 h 20 min``: as exact as anybody needs."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"

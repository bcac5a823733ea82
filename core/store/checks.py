"""Every value that comes from outside is checked here, before a transaction begins."""

from __future__ import annotations

import re
import unicodedata
import uuid
from datetime import UTC, datetime

from core.errors import InvalidInput

LONGEST_NAME = 200
LONGEST_TEXT = 10_000
LARGEST_INTEGER = 2**63 - 1  # SQLite's

_SHA256 = re.compile(r"[0-9a-f]{64}")
_COLOUR = re.compile(r"#[0-9a-f]{6}")
_NOT_STORABLE = re.compile("[\\0\ud800-\udfff]")
# They reorder what stands around them on the screen, so one name could pass for another.
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def utc_now() -> str:
    """The time as the store writes it: ``2026-11-24T22:10:40.123Z``; sorts as text."""
    return as_utc_text(datetime.now(UTC))


def as_utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds; a time without zone is taken as UTC."""
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def a_time(text: str, what: str) -> str:
    """An ISO 8601 time in the store's form; raises InvalidInput on anything else."""
    try:
        return as_utc_text(datetime.fromisoformat(text))
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(f"{what} is {text!r}; it must be a time such as 2026-11-24T22:10:40Z.") from None


def a_sha256(text: str) -> str:
    """64 lower-case hex digits."""
    if not isinstance(text, str) or not _SHA256.fullmatch(text):
        raise InvalidInput(f"{_short(text)} is no image id; an image id is 64 hexadecimal digits.")
    return text


def a_uuid(text: str, what: str) -> str:
    """A UUID in its canonical lower-case form."""
    try:
        return str(uuid.UUID(text))
    except (AttributeError, TypeError, ValueError):
        raise InvalidInput(f"{what} is {_short(text)}; it must be a UUID.") from None


def an_integer(value: int, what: str, low: int = 0, high: int = LARGEST_INTEGER) -> int:
    """An integer within bounds."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        limit = f"at least {low}" if high == LARGEST_INTEGER else f"between {low} and {high}"
        raise InvalidInput(f"{what} is {_short(value)}; it must be a whole number, {limit}.")
    return value


def a_name(text: str, what: str) -> str:
    """Any Unicode name of 1 to 200 characters, stripped and in normal form C; no control characters."""
    if not isinstance(text, str):
        raise InvalidInput(f"{what} must be text, not {_short(text)}.")
    name = unicodedata.normalize("NFC", text).strip()
    for character in name:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _BIDI_CONTROLS:
            raise InvalidInput(f"{what} holds the control character U+{ord(character):04X}. Please leave it out.")
    # Zero-width characters alone would be a name that nobody can see.
    if all(unicodedata.category(character) in ("Zs", "Cf", "Mn") for character in name):
        raise InvalidInput(f"{what} is empty. Please give it at least one character.")
    if len(name) > LONGEST_NAME:
        raise InvalidInput(f"{what} has {len(name)} characters; {LONGEST_NAME} are the most.")
    return name


def folded(name: str) -> str:
    """What two names must not share: the name without regard to case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def a_text(text: str, what: str, longest: int = LONGEST_TEXT) -> str:
    """Free text of several lines, stripped; may be empty."""
    if not isinstance(text, str):
        raise InvalidInput(f"{what} must be text, not {_short(text)}.")
    text = text.strip()
    if _NOT_STORABLE.search(text):
        raise InvalidInput(f"{what} holds a character that cannot be stored. Please type it again.")
    if len(text) > longest:
        raise InvalidInput(f"{what} has {len(text)} characters; {longest} are the most.")
    return text


def a_file_name(text: str, what: str) -> str:
    """A name as the file system gave it, never refused for its characters: bytes that are no UTF-8 are written
    out, since one odd name must not stop an import."""
    if not isinstance(text, str):
        raise InvalidInput(f"{what} must be text, not {_short(text)}.")
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")[:LONGEST_TEXT]


def a_colour(text: str) -> str:
    """``#rrggbb`` in lower case."""
    colour = text.lower() if isinstance(text, str) else ""
    if not _COLOUR.fullmatch(colour):
        raise InvalidInput(f"{_short(text)} is no colour; write it as #rrggbb, for instance #0072b2.")
    return colour


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"

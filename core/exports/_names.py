"""Class names and file names → names that any file system takes, each different from the others."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

_LONGEST_BYTES = 100  # of the 255 that file systems allow: archives and deep paths want room
_ALLOWED = frozenset(" -_.,+()")
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{d}{n}" for d in ("com", "lpt") for n in "0123456789¹²³")})


def safe_name(name: str) -> str:
    """Letters, digits, symbols such as emoji and `` -_.,+()`` stay, the rest becomes ``_``.

    A name that had to be changed ends in ``~`` and eight digits of its hash, so that two such names stay
    apart. Never empty, hidden, reserved by Windows, or longer than 110 bytes.
    """
    wanted = unicodedata.normalize("NFC", name)
    text = "".join(c if c in _ALLOWED or unicodedata.category(c)[0] in "LNM" or _symbol(c) else "_" for c in wanted)
    text = text.encode()[:_LONGEST_BYTES].decode(errors="ignore")
    text = text.rstrip(" .")
    if text[:1] in ("", ".", "-", " "):
        text = f"_{text[1:]}"
    if text == name and text.split(".")[0].strip().lower() not in _RESERVED:
        return text
    return f"{text}~{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"


def folder_names(names: Iterable[str], *, taken: Iterable[str] = ()) -> dict[str, str]:
    """True name → folder name, unique also where case or the form of accents makes no difference.

    ``taken`` are names in use beside them.
    """
    used = {_folded(name) for name in taken}
    result: dict[str, str] = {}
    for name in names:
        if name in result:
            continue
        folder = safe_name(name)
        if _folded(folder) in used:
            digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
            folder = next(f for n in range(8, 65) if _folded(f := f"{folder[:60]}~{digest[:n]}") not in used)
        used.add(_folded(folder))
        result[name] = folder
    return result


def _symbol(character: str) -> bool:
    return unicodedata.category(character) == "So"


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFKD", name).casefold())

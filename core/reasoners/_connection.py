"""Where an OpenAI-compatible server is and how it may be used, from the environment: checked, and no secret shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from core.errors import ModelUnavailable

BASE_URL, KEY, MODEL = "OPENAI_BASE_URL", "OPENAI_API_KEY", "RAGVISION_OPENAI_MODEL"
TIMEOUT, CONCURRENCY = "RAGVISION_OPENAI_TIMEOUT", "RAGVISION_OPENAI_CONCURRENCY"
_SHORTEST_SECRET = 8  # a placeholder such as “none” or “EMPTY” is no secret, and may be a word of an answer


@dataclass(frozen=True, slots=True)
class Connection:
    """``place`` is host:port, the only part of the address that is ever shown; the key never is.

    ``model`` is empty where the server's only one is meant; ``timeout`` are seconds for one whole answer,
    ``concurrency`` requests at a time.
    """

    base_url: str = field(repr=False)
    place: str
    key: str = field(repr=False)
    model: str
    timeout: float
    concurrency: int

    def without_key(self, text: str) -> str:
        """``text`` as it may be shown or stored: a server may echo the key in what it says."""
        return text.replace(self.key, "(key)") if len(self.key) >= _SHORTEST_SECRET else text

    def without_key_so_far(self, text: str) -> str:
        """As :meth:`without_key`, of text that goes on: what may be the beginning of the key waits for what follows."""
        begun = next((n for n in range(len(self.key) - 1, 0, -1) if text.endswith(self.key[:n])), 0)
        return self.without_key(text[: len(text) - begun] if len(self.key) >= _SHORTEST_SECRET else text)


def model_name(model: str) -> str:
    """What a model is called on the screen: an id as it is, of a folder only its own name."""
    plain = model.replace("\\", "/").rstrip("/")
    is_path = plain[:1] in ("/", "~", ".") or plain.count("/") > 1 or "\\" in model
    return (plain.rsplit("/", 1)[-1] if is_path else model)[:80]


def connection(chosen_model: str, environ: Mapping[str, str] = os.environ) -> Connection:
    """The connection that the environment describes; the setting ``chosen_model`` goes before its model.

    Raises ModelUnavailable that says which variable to set to what. Nothing is asked over the network.
    """
    base_url = environ.get(BASE_URL, "").strip().rstrip("/")
    if not base_url:
        raise ModelUnavailable(
            f"The reasoner openai needs the address of a server: set {BASE_URL}, for example to "
            f"http://localhost:8000/v1. It has no default, so that no image goes anywhere by accident."
        )
    key = environ.get(KEY, "").strip()
    if not key.isascii() or not key.isprintable():
        raise ModelUnavailable(f"{KEY} holds characters that cannot be sent in a header. Copy the key again.")
    return Connection(
        base_url=base_url,
        place=_place(base_url),
        key=key,
        model=chosen_model.strip() or environ.get(MODEL, "").strip(),
        timeout=_number(environ, TIMEOUT, 60, 0.1, 3600, "seconds"),
        concurrency=int(_number(environ, CONCURRENCY, 4, 1, 64, "requests at a time", whole=True)),
    )


def _place(base_url: str) -> str:
    """host:port of a usable address; the sentence never repeats the address, which may hold a password."""
    try:
        parts = urlsplit(base_url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        parts, port = urlsplit(""), None
    if port is None or not parts.hostname:
        raise ModelUnavailable(f"{BASE_URL} is no address such as http://localhost:8000/v1.")
    if parts.username is not None or parts.password is not None:
        raise ModelUnavailable(f"{BASE_URL} holds a user name or a password. Put the key into {KEY} instead.")
    if parts.query or parts.fragment:
        raise ModelUnavailable(f"{BASE_URL} has a part after ? or #, which cannot be used. It ends in /v1 mostly.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{port}"


def _number(
    environ: Mapping[str, str], name: str, default: float, low: float, high: float, unit: str, whole: bool = False
) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(int(text)) if whole else float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ModelUnavailable(f"{name} must be a number of {unit} between {low:g} and {high:g}.")
    return value

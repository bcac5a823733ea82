"""Where a request comes from, as far as its headers tell."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    name = host.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def host_name(authority: str) -> str:
    """``example.org:8501`` → ``example.org``, ``[::1]:8501`` → ``::1``; empty where it is no authority."""
    try:
        return urlsplit(f"//{authority}").hostname or ""
    except ValueError:
        return ""


def is_foreign(headers: Headers) -> bool:
    """Whether a browser sent this on behalf of another site's page.

    Browsers send Origin with every POST; programs send none, and no page can make them. ``null`` (a
    sandboxed frame, a file) counts as foreign.
    """
    origin = headers.get("origin")
    if origin is not None:
        return not origin.partition("://")[2] or origin.partition("://")[2].lower() != headers.get("host", "").lower()
    return headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}


def is_allowed_host(authority: str, allowed: Iterable[str]) -> bool:
    """Whether the Host header names this machine or one of ``allowed``.

    On loopback no token protects, so a page whose domain was rebound to 127.0.0.1 must be refused by its
    name: its requests are same-origin for the browser.
    """
    name = host_name(authority)
    return is_loopback(name) or name in {host.lower() for host in allowed}

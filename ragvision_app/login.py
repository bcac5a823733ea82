"""The person behind a browser, where Streamlit's login (OIDC) is configured: ``[auth]`` in its secrets.

Streamlit keeps the login in a signed cookie and reads it for its pages alone. The guard reads the same cookie for the
API, so that the hot loop's own calls carry the login: same-origin requests send it.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any, Final

from starlette.datastructures import Headers

from core.errors import InvalidInput

# in this order: an e-mail address is one person's, a name may be two persons'
_CLAIMS: Final = ("email", "preferred_username", "name", "sub")
LONGEST_NAME = 100  # characters, as for a name that is typed


def is_configured() -> bool:
    """Whether the secrets have an ``[auth]`` section."""
    return bool(_section())


def check() -> None:
    """Raises InvalidInput where secrets are there that cannot be used: Streamlit would go on without any login."""
    from streamlit import config
    from streamlit.runtime.secrets import secrets_singleton

    files = [path for path in config.get_option("secrets.files") if Path(path).is_file()]
    if files and not secrets_singleton.load_if_toml_exists():
        raise InvalidInput(f"Streamlit's secrets cannot be read, so nobody could log in. Mend {' or '.join(files)}.")
    missing = [name for name in ("redirect_uri", "cookie_secret") if is_configured() and not _section().get(name)]
    if missing:
        raise InvalidInput(f"[auth] in Streamlit's secrets has no {' and no '.join(missing)}, so nobody could log in.")


def providers() -> list[str]:
    """The names of the providers under ``[auth]``; empty where it holds one provider itself."""
    section = _section()
    return [] if "client_id" in section else [name for name, part in section.items() if isinstance(part, Mapping)]


def name_of(claims: Mapping[str, Any]) -> str | None:
    """What a logged-in person's decisions are stored under; None where the login names nobody."""
    for claim in _CLAIMS:
        value = claims.get(claim)
        if claim == "email" and claims.get("email_verified") is False:
            continue  # anybody could have claimed that address
        if isinstance(value, str):
            name = unicodedata.normalize("NFC", value).strip()
            if name and name.isprintable() and len(name) <= LONGEST_NAME:
                return name
    return None


def name_in(headers: Headers) -> str | None:
    """The name that this request's cookies are logged in by; None without a login that holds.

    Signature and age are checked by Streamlit's own code, and that the login was made for the host that is asked.
    """
    from streamlit.auth_util import get_cookie_with_chunks
    from streamlit.web.server.server_util import get_cookie_secret
    from streamlit.web.server.starlette.starlette_app_utils import decode_signed_value
    from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME

    secret = get_cookie_secret()
    cookies: dict[str, str] = {}
    for header in headers.getlist("cookie"):
        try:
            cookies |= {name: each.value for name, each in SimpleCookie(header).items()}
        except CookieError:
            continue
    if not secret or USER_COOKIE_NAME not in cookies:
        return None
    signed = get_cookie_with_chunks(
        lambda name: decode_signed_value(secret, name, cookies[name]) if name in cookies else None, USER_COOKIE_NAME
    )
    try:
        claims = json.loads(signed or b"null")
    except ValueError:
        return None
    if not isinstance(claims, dict) or claims.get("is_logged_in") is not True:
        return None
    made_for = str(claims.get("origin", "")).partition("://")[2].lower()
    return name_of(claims) if made_for and made_for == headers.get("host", "").lower() else None


def _section() -> Mapping[str, Any]:
    from streamlit.auth_util import get_secrets_auth_section

    section: Mapping[str, Any] = get_secrets_auth_section()
    return section

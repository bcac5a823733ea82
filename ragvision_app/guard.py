"""Pure-ASGI guard around pages and API alike, websockets included: who may talk to this server.

- On loopback: nobody needs a token, but the Host header has to name this machine (DNS rebinding).
- Wider, or where a token is given: a token, as Jupyter asks for it. ``?token=…`` in a link becomes an
  HttpOnly, SameSite=Strict cookie; programs send ``Authorization: Bearer …``.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from html import escape
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragvision_app.origin import host_name, is_allowed_host, is_foreign
from ragvision_app.responses import error_response

OPEN_PATHS = frozenset({"/api/ragvision/healthcheck"})  # says nothing but that the process is there
_COOKIE_SECONDS = 30 * 24 * 3600
_PAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}


class Guard:
    """Asks for ``token`` (None: no token), and without one for a Host that is ``allowed``."""

    def __init__(self, app: ASGIApp, *, token: str | None, allowed_hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._allowed_hosts = frozenset(allowed_hosts)
        if self._token is not None:
            # derived, so that a stolen cookie is not the link, and one name a token, so that two
            # workbenches on one machine do not overwrite each other's
            self._cookie_name = f"ragvision_{hashlib.sha256(self._token).hexdigest()[:8]}"
            self._cookie_value = hmac.new(self._token, b"ragvision cookie", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        if refusal is None:
            await self._app(scope, receive, _with_page_headers(send))
        elif scope["type"] == "http":
            await refusal(scope, receive, _with_page_headers(send))
        else:
            # closing before accepting answers the handshake with 403
            await send({"type": "websocket.close", "code": 1008})

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """What to answer instead of the app; None lets the request through."""
        path, in_api = scope["path"], scope["path"].startswith("/api/")
        if path in OPEN_PATHS:
            return None
        if in_api and not path.isprintable():  # Starlette's mount lets a line end slip past the API, to the pages
            return error_response(404, "There is nothing at that address. The routes are listed at /api/docs.")
        if scope["type"] == "websocket" and "origin" in headers and is_foreign(headers):
            return error_response(403, "This request comes from another web site, so it was refused.")
        if self._token is None:
            if is_allowed_host(headers.get("host", ""), self._allowed_hosts):
                return None
            name = host_name(headers.get("host", ""))[:80]
            message = (
                f"This workbench answers on this machine only, not to the name {name!r}. If that name is yours, "
                "set RAGVISION_ALLOWED_HOSTS to it before starting."
            )
            return error_response(403, message, code="host_not_allowed")
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        given = next((value for name, value in query if name == "token"), None)
        if given is not None and self._same(given, self._token):
            if in_api or scope["type"] == "websocket" or scope["method"] not in {"GET", "HEAD"}:
                return None
            return self._sign_in(scope, [(name, value) for name, value in query if name != "token"])
        if self._knows(headers):
            return None
        if in_api:
            message = "This server asks for its token: send Authorization: Bearer TOKEN."
            return error_response(401, message, code="token_needed", headers={"WWW-Authenticate": "Bearer"})
        return _ask_for_token(scope, headers, wrong=given is not None)

    # ------------------------------------------------------------------ tokens
    @staticmethod
    def _same(given: str, expected: bytes) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected)

    def _knows(self, headers: Headers) -> bool:
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._token is not None and self._same(value.strip(), self._token):
            return True
        for header in headers.getlist("cookie"):
            try:
                cookie = SimpleCookie(header).get(self._cookie_name)
            except CookieError:
                continue  # a broken cookie is no cookie
            if cookie is not None and self._same(cookie.value, self._cookie_value.encode()):
                return True
        return False

    def _sign_in(self, scope: Scope, rest: list[tuple[str, str]]) -> Response:
        """The same address without the token, so that it stays out of the history and of screenshots."""
        # one slash only: "//name" would be another server
        address = "/" + scope["path"].lstrip("/\\") + (f"?{urlencode(rest)}" if rest else "")
        response = RedirectResponse(address, status_code=303, headers={"Referrer-Policy": "no-referrer"})
        response.set_cookie(
            self._cookie_name,
            self._cookie_value,
            max_age=_COOKIE_SECONDS,
            httponly=True,
            samesite="strict",
            secure=scope.get("scheme") == "https",
        )
        response.headers["Cache-Control"] = "no-store"
        return response


def _ask_for_token(scope: Scope, headers: Headers, *, wrong: bool) -> Response:
    """The sign-in page, 401.

    A Strict cookie is not sent when a link on another site (a chat, a mail) was followed, so such a
    visit is asked to load the page once more, from here; then the browser sends the cookie it has.
    """
    again = ""
    if headers.get("sec-fetch-site") in {"cross-site", "same-site"} and not wrong:
        query = scope.get("query_string", b"").decode("latin-1")
        address = "/" + scope["path"].lstrip("/\\") + (f"?{query}" if query else "")
        again = f'<meta http-equiv="refresh" content="0;url={escape(address)}">'
    said = "That was not the token of this workbench." if wrong else "This workbench asks for its token."
    page = (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>RAG Vision Workbench</title>{again}"
        "<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;"
        "margin:20vh auto;padding:0 1rem}input,button{font:inherit;padding:.4rem .6rem}input{width:16rem}</style>"
        f"</head><body><h1>RAG Vision Workbench</h1><p>{said} It is in the link that was printed when the server "
        "started.</p><form method=get><input name=token type=password autocomplete=current-password "
        "aria-label=Token autofocus required> <button>Open</button></form></body></html>"
    )
    policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    return HTMLResponse(
        page,
        status_code=401,
        headers={
            "Content-Security-Policy": policy,
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",
            "WWW-Authenticate": "Bearer",
        },
    )


def _with_page_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _PAGE_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return with_headers

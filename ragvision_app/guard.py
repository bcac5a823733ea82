"""Pure-ASGI guard around pages and API alike, websockets included: who may talk to this server, and how often.

- On loopback: nobody needs a token, but the Host header has to name this machine (DNS rebinding).
- Wider, or where a token is given: a token, as Jupyter asks for it. ``?token=…`` in a link becomes an
  HttpOnly, SameSite=Strict cookie; programs send ``Authorization: Bearer …``.
- A token that is sent and opens nothing is refused everywhere, on loopback too.
- Where a login is configured (OIDC), the API asks browsers for it as well: see :mod:`ragvision_app.login`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import RagVisionError
from ragvision_app import access as who
from ragvision_app import sign_in
from ragvision_app.access import LOCAL, NOBODY, SCOPE_HEADER, START, Access, Keyring, Refused, needed_scope
from ragvision_app.origin import host_name, is_allowed_host, is_foreign
from ragvision_app.ratelimit import RateLimit
from ragvision_app.responses import error_response
from ragvision_app.websocket_watch import watched

if TYPE_CHECKING:
    from core.store import Store

log = logging.getLogger("ragvision.access")

OPEN_PATHS = frozenset({"/api/ragvision/healthcheck"})  # says nothing but that the process is there
_COOKIE_SECONDS = 30 * 24 * 3600
_PAGE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
}
_ASKED = "This server asks for its token: send Authorization: Bearer TOKEN."
_LOGIN_ASKED = "Log in on the pages of this workbench first, or send a token: Authorization: Bearer TOKEN."
_TWICE = "More than one token came with this request. Send one, in one Authorization header."


class Guard:
    """Asks for ``token`` (None: no token), and without one for a Host that is ``allowed``.

    ``store`` gives the store that knows the tokens made by the command line; ``login`` the name that a request's
    cookies are logged in by, and is given only where a login is configured; ``limit`` None limits nobody.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        allowed_hosts: Iterable[str] = (),
        store: Callable[[], Awaitable[Store]] | None = None,
        login: Callable[[Headers], str | None] | None = None,
        limit: RateLimit | None = None,
    ) -> None:
        self._app = app
        self._keys = Keyring(token, store)
        self._allowed_hosts = frozenset(allowed_hosts)
        self._login = login
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            answer = await self._admit(scope, headers)
        except RagVisionError as error:
            log.warning("tokens cannot be checked: %s", error)
            answer = _refusal(scope, 503, "The project's store cannot be read just now, so no token can be checked.")
        if isinstance(answer, Response):
            if scope["type"] == "http":
                await answer(scope, receive, _with_page_headers(send))
            else:
                # closing before accepting answers the handshake with 403
                await send({"type": "websocket.close", "code": 1008})
            return
        scope[who.SCOPE_KEY] = answer  # also of the open path
        others = [(name, value) for name, value in scope["headers"] if name.lower() != SCOPE_HEADER.encode()]
        scope["headers"] = [*others, (SCOPE_HEADER.encode(), answer.scope.word.encode())]
        if scope["type"] == "websocket" and answer.token_id is not None:
            receive, send = watched(receive, send, lambda: self._keys.in_force(answer))
        await self._app(scope, receive, _with_page_headers(send))

    async def _admit(self, scope: Scope, headers: Headers) -> Access | Response:
        """Whom the request speaks for, or what to answer instead of the app."""
        kind, path = scope["type"], scope["path"]
        method, in_api = scope.get("method", "GET"), _in_api(path)
        if path in OPEN_PATHS:
            return NOBODY
        if in_api and not path.isprintable():  # Starlette's mount lets a line end slip past the API, to the pages
            return error_response(404, "There is nothing at that address. The routes are listed at /api/docs.")
        if kind == "websocket" and "origin" in headers and is_foreign(headers):
            return error_response(403, "This request comes from another web site, so it was refused.")
        query = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        linked = [value for name, value in query if name == "token"]
        given = _bearers(headers) + linked
        if len(given) > 1:
            return _refusal(scope, 400, _TWICE, code="token_twice")
        address = scope["client"][0] if scope.get("client") else ""
        access: Access | Refused | Response | None
        access = await (
            self._by_token(given[0], address) if given else self._keys.by_cookies(headers.getlist("cookie"))
        )
        if isinstance(access, Refused):
            return self._stranger(scope, headers, address, access)
        if access is None:
            access = self._without_token(scope, headers, address)
        if isinstance(access, Response):
            return access
        if self._login is not None and in_api and not given:
            # a token in the request is a program's; whoever comes with a cookie, or from this machine, is a browser
            name = self._login(headers)
            if name is None:
                return self._stranger(scope, headers, address, Refused(_LOGIN_ASKED, "login_needed"))
            narrowed = Access(name, who.Scope.LABEL) if access is LOCAL else access
            access = replace(narrowed, login=name)
        scope[who.SCOPE_KEY] = access  # for the log: a refusal from here on is one of a token that is known
        needed = needed_scope(kind, method, path)
        if access.scope < needed:
            message = f"The token “{access.name}” has the scope {access.scope.word}; this needs {needed.word}."
            return _refusal(scope, 403, message, code="scope_too_small")
        if in_api and self._limit is not None and access is not LOCAL:
            wait = self._limit.call((access.token_id, access.name), hot=who.is_hot(path))
            if wait:
                return _too_many(scope, wait)
        if linked and not in_api and kind == "http" and method in {"GET", "HEAD"}:
            return self._sign_in(scope, given[0], access, [(name, value) for name, value in query if name != "token"])
        return access

    async def _by_token(self, token: str, address: str) -> Access | Refused:
        # the start token may be a word that somebody chose: it is compared only so often. Ours cannot be guessed
        may_guess = self._limit is None or not self._limit.may_guess(address)
        if may_guess and self._keys.is_start(token):
            return START
        return await self._keys.by_token(token)

    def _without_token(self, scope: Scope, headers: Headers, address: str) -> Access | Response:
        if self._keys.has_start:
            return self._stranger(scope, headers, address, None)
        host = headers.get("host", "")
        if is_allowed_host(host, self._allowed_hosts):
            return LOCAL
        message = (
            f"This workbench answers on this machine only, not to the name {host_name(host)[:80]!r}. If that name is "
            "yours, set RAGVISION_ALLOWED_HOSTS to it before starting."
        )
        return error_response(403, message, code="host_not_allowed")

    def _stranger(self, scope: Scope, headers: Headers, address: str, refused: Refused | None) -> Response:
        """401, or 429 for an address that was refused too often."""
        wait = self._limit.stranger(address) if self._limit is not None and self._keys.has_start else 0
        if wait:
            return _too_many(scope, wait)
        if _in_api(scope["path"]):
            sentence, code = (_ASKED, "token_needed") if refused is None else (refused.sentence, refused.code)
            return error_response(401, sentence, code=code, headers={"WWW-Authenticate": "Bearer"})
        return sign_in.ask_for_token(scope, headers, problem=None if refused is None else refused.sentence)

    def _sign_in(self, scope: Scope, token: str, access: Access, rest: list[tuple[str, str]]) -> Response:
        """The same address without the token, so that it stays out of the history and of screenshots."""
        # one slash only: "//name" would be another server
        address = "/" + scope["path"].lstrip("/\\") + (f"?{urlencode(rest)}" if rest else "")
        response = RedirectResponse(address, status_code=303, headers={"Referrer-Policy": "no-referrer"})
        name, value = self._keys.cookie_of(token, access)
        secure = scope.get("scheme") == "https"
        response.set_cookie(name, value, max_age=_COOKIE_SECONDS, httponly=True, samesite="strict", secure=secure)
        response.headers["Cache-Control"] = "no-store"
        return response


def _in_api(path: str) -> bool:
    return path == "/api" or path.startswith("/api/")


def _bearers(headers: Headers) -> list[str]:
    """The tokens in Authorization headers. Another scheme (a proxy's Basic) is not meant for us."""
    pairs = [value.strip().partition(" ") for value in headers.getlist("authorization")]
    return [value.strip() for scheme, _, value in pairs if scheme.lower() == "bearer"]


def _refusal(scope: Scope, status: int, sentence: str, *, code: str | None = None, wait: int = 0) -> Response:
    """In the API's one shape, or as a page."""
    headers = {"Retry-After": str(wait)} if wait else {}
    if _in_api(scope["path"]):
        return error_response(status, sentence, code=code, headers=headers)
    return sign_in.say(sentence, status, headers)


def _too_many(scope: Scope, wait: int) -> Response:
    seconds = "1 second" if wait == 1 else f"{wait} seconds"
    return _refusal(scope, 429, f"Too many requests. Try again in {seconds}.", code="rate_limited", wait=wait)


def _with_page_headers(send: Send) -> Send:
    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _PAGE_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return with_headers

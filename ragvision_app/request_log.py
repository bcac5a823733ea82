"""One line of JSON a request on the logger ``ragvision.requests``, and an id by which to find it.

A line holds no query string (it may hold a token), no body and no header.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import sys
import time
from datetime import UTC, datetime
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import InvalidInput
from core.store.tokens import PREFIX
from ragvision_app.access import SCOPE_KEY, Access

VARIABLE: Final = "RAGVISION_LOG_REQUESTS"
ID_KEY: Final = "ragvision.request_id"  # of the ASGI scope
LOGGER: Final = "ragvision.requests"
LONGEST_PATH = 200

_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOKEN = re.compile(re.escape(PREFIX) + r"[\w-]+")
_REFUSALS = frozenset({400, 401, 403, 429, 503})

log = logging.getLogger(LOGGER)


def wanted(given: bool | None, *, loopback: bool) -> bool:
    """Whether to log: as told (argument, else the variable), else where other machines can reach the server."""
    if given is not None:
        return given
    text = os.environ.get(VARIABLE, "").strip().lower()
    if text not in {"", "0", "1"}:
        raise InvalidInput(f"{VARIABLE} is {text!r}; it must be 1 or 0.")
    return text == "1" if text else not loopback


def log_to_stderr(on: bool) -> None:
    """Has the lines written to stderr, bare, so that a program can read them; or no line at all."""
    log.handlers.clear()
    log.propagate = False  # the other log lines have a prefix
    log.disabled = not on
    if on:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)


class RequestLog:
    """Outermost of all: gives every request an id, and a line to those of the API and those that were refused."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        path, started = scope["path"], time.perf_counter()
        in_api = path == "/api" or path.startswith("/api/")
        request_id = scope[ID_KEY] = _request_id(Headers(scope=scope))
        status, came, went = 0, 0, 0

        async def counted_receive() -> Message:
            nonlocal came
            message = await receive()
            if message["type"] == "http.request":
                came += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            nonlocal status, went
            if message["type"] == "http.response.start":
                status = message["status"]
                if in_api:
                    MutableHeaders(scope=message)["X-Request-Id"] = request_id
            elif message["type"] == "http.response.body":
                went += len(message.get("body", b""))
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and not status:
                status = 403
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            # pages' own traffic is many small files: only what was refused is told of it
            if log.isEnabledFor(logging.INFO) and not log.disabled and (in_api or status in _REFUSALS):
                log.info(line_of(scope, path, request_id, status, time.perf_counter() - started, came, went))


def line_of(scope: Scope, path: str, request_id: str, status: int, seconds: float, came: int, went: int) -> str:
    """The line. JSON in ASCII: whatever a path or a name holds, it stays one line and steers no terminal."""
    access: Access | None = scope.get(SCOPE_KEY)
    client = scope.get("client")
    fields: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "id": request_id,
        "method": scope.get("method", "WEBSOCKET")[:20],
        "route": _route(scope, path),
        "status": status or None,  # null: the client left, or the connection broke
        "ms": round(seconds * 1000, 1),
        "bytes_in": came,
        "bytes_out": went,
        "token": None if access is None else access.name,
        "token_id": None if access is None else access.token_id,
        "client": client[0] if client else None,
    }
    return json.dumps(fields, ensure_ascii=True)


def _route(scope: Scope, path: str) -> str:
    """The route's own pattern where one was found, else the path, shortened, with tokens blotted out."""
    route = scope.get("route")
    pattern = getattr(route, "path", None)
    if isinstance(pattern, str) and hasattr(route, "methods"):  # a mount alone says that nothing below it was found
        return f"/api{pattern}" if path.startswith("/api/") and not pattern.startswith("/api") else pattern
    return _TOKEN.sub(f"{PREFIX}…", path)[:LONGEST_PATH]


def _request_id(headers: Headers) -> str:
    """The client's, where it sent one that can be written anywhere; else a new one."""
    given = headers.getlist("x-request-id")
    if len(given) == 1 and _SANE_ID.fullmatch(given[0]):
        return given[0]
    return secrets.token_hex(8)

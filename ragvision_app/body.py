"""Pure-ASGI guard of the API's request bodies: size, type, and where the request comes from.

It runs before anything is parsed, so that a refusal costs next to nothing.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragvision_app.origin import is_foreign
from ragvision_app.responses import error_response

JSON_LIMIT = 1_000_000  # bytes; the largest honest body is a queue request with a thousand ids, 70 kB
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class _TooLarge(Exception):
    pass


class GuardBodies:
    """Refuses foreign origins (403), bodies that are not JSON (415) and bodies over the limit (413)."""

    def __init__(self, app: ASGIApp, limit: int = JSON_LIMIT) -> None:
        self._app, self._limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _SAFE:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if is_foreign(headers):
            await error_response(
                403, "This request comes from another web site, so it was refused.", code="foreign_origin"
            )(scope, receive, send)
            return
        if scope["method"] != "POST":  # no route takes it, and the router says so (405) without reading a body
            await self._app(scope, receive, send)
            return
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            # forms and plain text are what a foreign page can send without being asked
            await error_response(
                415, "Send the body as JSON, with Content-Type: application/json.", code="unsupported_media_type"
            )(scope, receive, send)
            return
        declared = headers.get("content-length", "")
        try:
            if declared.isdigit() and int(declared) > self._limit:
                raise _TooLarge
            body = await self._read(receive)
        except _TooLarge:
            message = f"The body is larger than {self._limit:,} bytes, so it was not read."
            # close: the rest of the body would otherwise be taken for the next request
            response = error_response(413, message, code="body_too_large", headers={"Connection": "close"})
            await response(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The whole body; None where the client left half-way. Raises as soon as it is over the limit."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > self._limit:
                raise _TooLarge
            if not message.get("more_body", False):
                return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again

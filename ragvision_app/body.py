"""Guards of the API's request bodies: size, type, and where the request comes from.

They run before anything is parsed, so that a refusal costs next to nothing. What a route takes beyond a small
JSON body it declares as a :class:`BodyRule`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import IO

from starlette._utils import get_route_path
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import Busy, InvalidInput
from ragvision_app.origin import is_foreign
from ragvision_app.responses import refusal

JSON_LIMIT = 1_000_000  # bytes; the largest honest body is a queue request with a thousand ids, 70 kB
IMAGE_LIMIT = 32_000_000  # bytes of JSON with an image in it: a file of 24 MB as base64
FORM_OVERHEAD = 1_000_000  # bytes of a form beside its file
IN_MEMORY = 192_000_000  # bytes of large bodies held at once; each costs about three times its size while it is used
ON_DISK = 1_000_000_000  # bytes of uploads held at once in temporary files
IDLE_SECONDS = 30.0  # a client that sends nothing for so long has left
SLOWEST = 4_000  # bytes a second that are waited for after that: what drips would keep its room for ever
RETRY_SECONDS = 2
_LONGEST_FIELD = 262_144  # bytes of a form's field that is no file
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_BUSY = "The server holds as many large requests as it can. Try again in a moment."


@dataclass(frozen=True, slots=True)
class BodyRule:
    """What a route takes: ``limit()`` bytes of JSON, or of a form that is read by :func:`form_of`."""

    limit: Callable[[], int]
    form: bool = False


_SMALL_JSON = BodyRule(lambda: JSON_LIMIT)


class Budget:
    """Bytes that large bodies may take up at the same time. For the event loop's thread alone."""

    def __init__(self, total: int) -> None:
        self._left = total

    def take(self, count: int) -> bool:
        """Whether there was room; it is taken then."""
        if count > self._left:
            return False
        self._left -= count
        return True

    def give(self, count: int) -> None:
        """Gives back what was taken."""
        self._left += count


class _TooLarge(Exception):
    pass


class _NoRoom(Exception):
    pass


class _Idle(Exception):
    pass


class GuardBodies:
    """Refuses foreign origins (403), bodies of another type (415), over their limit (413), or too many (429).

    ``rules`` are by path; every other route takes a small JSON body.
    """

    def __init__(self, app: ASGIApp, rules: Mapping[str, BodyRule] | None = None, budget: Budget | None = None) -> None:
        self._app, self._rules, self._budget = app, rules or {}, budget or Budget(IN_MEMORY)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in _SAFE:
            await self._app(scope, receive, send)
            return
        path = get_route_path(scope)
        headers = Headers(scope=scope)
        if is_foreign(headers):
            message = "This request comes from another web site, so it was refused."
            await refusal(path, 403, message, code="foreign_origin")(scope, receive, send)
            return
        if scope["method"] != "POST":  # no route reads a body then
            await self._app(scope, receive, send)
            return
        rule = self._rules.get(path, _SMALL_JSON)
        wanted = "multipart/form-data" if rule.form else "application/json"
        if headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
            # forms and plain text are what a foreign page can send without being asked
            message = f"Send the body as {'a form' if rule.form else 'JSON'}, with Content-Type: {wanted}."
            await refusal(path, 415, message, code="unsupported_media_type")(scope, receive, send)
            return
        limit, declared = rule.limit(), headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            await _too_large(path, limit)(scope, receive, send)
        elif rule.form:
            await self._app(scope, receive, send)  # counted as it is parsed, into a temporary file
        else:
            await self._with_json(path, limit, scope, receive, send)

    async def _with_json(self, path: str, limit: int, scope: Scope, receive: Receive, send: Send) -> None:
        body = bytearray()
        # Small bodies ask nobody: a decision is never refused for the pictures of others.
        counted = limit > JSON_LIMIT
        taken = 0
        try:
            async for part in _parts(receive):
                if len(body) + len(part) > limit:
                    raise _TooLarge
                if counted:
                    if not self._budget.take(len(part)):
                        raise _NoRoom
                    taken += len(part)
                body += part
            await self._app(scope, _replay(body, receive), send)
        except _TooLarge:
            await _too_large(path, limit)(scope, receive, send)
        except _NoRoom:
            headers = {"Connection": "close", "Retry-After": str(RETRY_SECONDS)}
            await refusal(path, 429, _BUSY, code="busy", headers=headers)(scope, receive, send)
        except _Idle:
            message = "The rest of the body did not come, so the request was given up. Send it again."
            headers = {"Connection": "close"}
            await refusal(path, 408, message, code="request_timeout", headers=headers)(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is left to be answered
        finally:
            self._budget.give(taken)


def _too_large(path: str, limit: int) -> ASGIApp:
    message = f"The body is larger than {limit:,} bytes, so it was not read."
    # close: the rest of the body would otherwise be taken for the next request
    return refusal(path, 413, message, code="body_too_large", headers={"Connection": "close"})


async def _parts(receive: Receive) -> AsyncIterator[bytes]:
    """The body as it comes; raises ClientDisconnect where the client leaves half-way, _Idle where it falls silent or
    drips."""
    began, came = time.monotonic(), 0
    while True:
        try:
            message = await asyncio.wait_for(receive(), IDLE_SECONDS)
        except TimeoutError as error:
            raise _Idle from error
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part, is_last = message.get("body", b""), not message.get("more_body", False)
        came += len(part)
        if not is_last and came < SLOWEST * (time.monotonic() - began - IDLE_SECONDS):
            raise _Idle
        yield part
        if is_last:
            return


def _replay(body: bytearray, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        whole = bytes(body)
        body.clear()  # the route has its own copy
        return {"type": "http.request", "body": whole, "more_body": False}

    return again


# --------------------------------------------------------------------------- forms
class FormTooLarge(InvalidInput):
    """A form over its limit."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form with one file: ``fields`` are its other parts, ``file`` is open for reading, ``name`` as it was sent."""

    fields: dict[str, str]
    name: str
    file: IO[bytes]


@asynccontextmanager
async def form_of(request: Request, *, fields: tuple[str, ...], limit: int, budget: Budget) -> AsyncIterator[Form]:
    """The form in a request: exactly one ``file``, and of ``fields`` each at most once.

    Raises InvalidInput for any other form, FormTooLarge over ``limit`` bytes, Busy where too many are under way.
    """
    taken = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        # What is raised here has to be the parser's own error: only then it closes its temporary file.
        try:
            async for part in _parts(request.receive):
                if taken + len(part) > limit:
                    raise MultiPartException(_LARGE)
                if not budget.take(len(part)):
                    raise MultiPartException(_BUSY)
                taken += len(part)
                yield part
        except ClientDisconnect as error:
            raise MultiPartException("The form was not sent to its end.") from error
        except _Idle as error:
            raise MultiPartException("The rest of the form did not come.") from error

    parser = MultiPartParser(
        request.headers,
        counted(),  # type: ignore[arg-type]
        max_files=1,
        max_fields=len(fields),
        max_part_size=_LONGEST_FIELD,
    )
    try:
        try:
            form = await parser.parse()
        except MultiPartException as error:
            if error.message == _LARGE:
                raise FormTooLarge(f"The form is larger than {limit:,} bytes, so it was not read.") from error
            if error.message == _BUSY:
                raise Busy(_BUSY, retry_after=RETRY_SECONDS) from error
            raise InvalidInput(f"The form cannot be used: {error.message.rstrip('.')[:200]}.") from error
        except (KeyError, ValueError) as error:  # the parser's, on headers that are no headers
            raise InvalidInput("The form cannot be used: it is no multipart/form-data.") from error
        try:
            yield _checked(form, fields)
        finally:
            await form.close()
    finally:
        budget.give(taken)


_LARGE = "too large"


def _checked(form: FormData, fields: tuple[str, ...]) -> Form:
    texts: dict[str, str] = {}
    files: list[UploadFile] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) and name == "file":
            files.append(value)
        elif isinstance(value, UploadFile) or name not in fields or name in texts:
            what = "twice" if name in texts else "as a file" if name in fields else "in no form of this route"
            if name == "file":
                what = "without a file name, so it is no file"
            raise InvalidInput(f"The form cannot be used: its part {name[:40]!r} is {what}.")
        else:
            texts[name] = value
    if not files:
        raise InvalidInput("The form cannot be used: it has no file. Send the image as the part named file.")
    return Form(texts, files[0].filename or "unnamed", files[0].file)

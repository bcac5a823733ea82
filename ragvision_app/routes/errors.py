"""One JSON shape for everything that fails: ``{"error": {"code": …, "message": one sentence}}``."""

from __future__ import annotations

import logging
import re
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core import errors
from ragvision_app.body import FormTooLarge
from ragvision_app.request_log import ID_KEY
from ragvision_app.responses import JsonResponse, refusal

log = logging.getLogger("ragvision.api")

# the first class that fits counts, so the special ones come before their base
_STATUS: tuple[tuple[type[errors.RagVisionError], HTTPStatus], ...] = (
    (FormTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (errors.ImageTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (errors.UnsupportedImage, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (errors.ImageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.ImportFailed, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.ProjectError, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.NotFound, HTTPStatus.NOT_FOUND),
    (errors.InvalidInput, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.UnknownAdapter, HTTPStatus.UNPROCESSABLE_ENTITY),
    (errors.ClassInUse, HTTPStatus.CONFLICT),
    (errors.Conflict, HTTPStatus.CONFLICT),
    (errors.NotReady, HTTPStatus.CONFLICT),
    (errors.ModelUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (errors.ReasoningFailed, HTTPStatus.BAD_GATEWAY),
    (errors.Busy, HTTPStatus.TOO_MANY_REQUESTS),
    (errors.TookTooLong, HTTPStatus.GATEWAY_TIMEOUT),
)

_LONGEST_NAME = 60  # characters of a field's name: that of one that there is not is the client's

_HTTP_MESSAGES = {
    HTTPStatus.NOT_FOUND: "There is nothing at {path}. The routes are listed at /api/docs.",
    HTTPStatus.METHOD_NOT_ALLOWED: "{method} is not possible at {path}. The routes are listed at /api/docs.",
}


def status_of(error: errors.RagVisionError) -> HTTPStatus:
    """The HTTP status that a core error maps to."""
    fitting = (status for kind, status in _STATUS if isinstance(error, kind))
    return next(fitting, HTTPStatus.INTERNAL_SERVER_ERROR)


def code_of(error: Exception) -> str:
    """``NotFound`` → ``not_found``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).lower()


def sentence_of(problems: Sequence[Mapping[str, Any]]) -> str:
    """Pydantic's list of problems as one sentence, the first three of them, never the whole input."""
    parts = []
    for problem in problems[:3]:
        where = ".".join(str(step)[:_LONGEST_NAME] for step in problem["loc"][1:])
        what = str(problem["msg"]).removeprefix("Value error, ").rstrip(".")
        if problem["type"] == "json_invalid":
            where, what = "", "it is not valid JSON"
        elif not where and problem["type"] in {"missing", "model_attributes_type"}:
            what = "its body has to be a JSON object"
        elif problem["type"] == "string_pattern_mismatch" and "64" in str(problem.get("ctx")):
            what = "An id has 64 hexadecimal digits"
        parts.append(f"{where}: {what}" if where else what)
    more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
    return f"The request cannot be used: {'; '.join(parts)}{more}."


def refused(
    request: Request, status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
) -> JsonResponse:
    """A failure of this request, in the shape of its route."""
    return refusal(get_route_path(request.scope), status, message, code=code, headers=headers)


def register_error_handlers(app: FastAPI) -> None:
    """Makes every expected failure of ``app`` answer in the one shape."""

    @app.exception_handler(errors.RagVisionError)
    async def core_error(request: Request, error: errors.RagVisionError) -> Response:
        headers = {"Retry-After": str(error.retry_after)} if isinstance(error, errors.Busy) else None
        return refused(request, status_of(error), str(error), code=code_of(error), headers=headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return refused(request, 422, sentence_of(error.errors()), code="invalid_input")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:  # FastAPI's answer to JSON that is nested too deeply
            return refused(request, 422, "The request cannot be used: it is not valid JSON.", code="invalid_input")
        template = _HTTP_MESSAGES.get(HTTPStatus(error.status_code))
        where = {"method": request.method, "path": request.url.path}
        message = str(error.detail) if template is None else template.format(**where)
        return refused(request, error.status_code, message, headers=error.headers)

    @app.exception_handler(sqlite3.OperationalError)
    async def store_error(request: Request, error: sqlite3.OperationalError) -> Response:
        log.error("the store failed on %s %s: %s", request.method, request.url.path, error, exc_info=error)
        message = "The project's database cannot be used just now (it is locked, full or unreadable). Try again."
        return refused(request, 503, message, code="store_unavailable", headers={"Retry-After": "1"})


class CatchUnknownErrors:
    """Outermost: an error that nobody expected is logged under an id, and the client is told that id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            request_id = scope.get(ID_KEY) or secrets.token_hex(8)
            log.exception("request %s: %s %s failed", request_id, scope.get("method"), scope.get("path"))
            if started:
                raise  # half an answer is out: the connection has to break
            message = f"Something went wrong on the server; its log has the details under {request_id}. Try again."
            response = refusal(get_route_path(scope), 500, message, headers={"X-Request-Id": request_id})
            await response(scope, receive, send)

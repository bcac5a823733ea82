"""Answers as JSON, and the one shape of everything that fails.

Apart from the routes, so that the guard can refuse before FastAPI is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

INVOCATIONS = "/ragvision/invocations"  # the reference system's route, below /api


class JsonResponse(Response):
    """Any core value as compact JSON; NaN and infinity, which JSON has not, become null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content, inf_nan_mode="null")


def error_response(
    status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
) -> JsonResponse:
    """A failure in the one shape; ``code`` defaults to the status's own name (``not_found``)."""
    name = code or HTTPStatus(status).name.lower()
    body = {"error": {"code": name, "message": message}}
    return JsonResponse(body, status_code=status, headers=None if headers is None else dict(headers))


def refusal(
    path: str, status: int, message: str, *, code: str | None = None, headers: Mapping[str, str] | None = None
) -> JsonResponse:
    """A failure at ``path`` (below /api): in the one shape, but for the reference system's own route.

    There ``error`` is the sentence, as its clients read it, beside ``success: false``; ``errorCode`` is the code.
    """
    if path != INVOCATIONS:
        return error_response(status, message, code=code, headers=headers)
    body = failed_invocation(code or HTTPStatus(status).name.lower(), message)
    return JsonResponse(body, status_code=status, headers=None if headers is None else dict(headers))


def failed_invocation(code: str, message: str) -> dict[str, Any]:
    """The reference route's answer where nothing was found out; documented by ``InvocationFailed``."""
    empty = dict.fromkeys(
        (
            *("imageId", "flag", "flagClassId", "reasoning", "encoder", "reasoner", "recipe"),
            *("supportVersion", "promptVersion", "calibrated"),
        )
    )
    return empty | {
        "success": False,
        "error": message,
        "errorCode": code,
        "elapsedTimeMs": 0,
        "explanation": "",
        "classScores": {},
        "rawResponse": "",
        "evidence": [],
        "warnings": [],
    }

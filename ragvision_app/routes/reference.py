"""The reference system's own route: one image in, a flag with its explanation and evidence out."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ragvision_app.responses import INVOCATIONS, JsonResponse
from ragvision_app.routes.lanes import Lanes
from ragvision_app.schemas import ErrorOut
from ragvision_app.schemas.reference import (
    InvocationFailed,
    InvocationOut,
    InvocationRequest,
    invocation_json,
    warnings_of,
)

if TYPE_CHECKING:
    from core.inference import InferenceResult
    from core.workbench import Workbench

LOOK_SECONDS = 0.5  # how often it is looked whether the client is still there
_FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": InvocationFailed | ErrorOut, "description": description}
    for status, description in {
        409: "Nothing to compare with: fewer than two classes have examples",
        413: "The image is too large",
        415: "Not JSON, or no image that is accepted",
        422: "A field, a combination of settings or the image cannot be used",
        429: "Too many wait already; Retry-After says when to try again",
        502: "The reasoner failed: scores and evidence are there, a flag is not",
        503: "The model is not there",
        504: "No answer in time",
    }.items()
}


def reference_router(workbench: Workbench, lanes: Lanes) -> APIRouter:
    """``/ragvision/invocations``"""
    router = APIRouter(tags=["reference"])

    @router.post(
        INVOCATIONS,
        response_model=InvocationOut,
        responses={**_FAILURES, "4XX": _FAILURES[422], "5XX": _FAILURES[502]},
        summary="Classify one image, with explanation and evidence; nothing is stored",
        description=(
            "The reference system's request and answer, with bounds, defaults and evidence. Failures have their HTTP "
            "status, `success: false`, the sentence in `error` and its code in `errorCode`; only refusals before the "
            "API (a token that is missing) have the shape of every other route. An abstention is a success whose "
            "`flag` is null. Field names may also be written in snake_case."
        ),
    )
    async def invocations(request: Request, body: InvocationRequest) -> Response:
        began = time.perf_counter()

        def submit() -> Future[InferenceResult]:
            data = body.image_bytes()
            body.encoded_image = ""  # what waits holds the file alone, not its text as well
            return workbench.inference.submit(data, body.overrides())

        result = await _answer(request, await lanes.inference.run(submit))
        if result is None:
            return Response(status_code=499)  # nobody is there to read it
        ms = (time.perf_counter() - began) * 1000
        status, answer = invocation_json(result, ms, warnings_of(body, result))
        return JsonResponse(answer, status_code=status)

    return router


async def _answer(request: Request, future: Future[InferenceResult]) -> InferenceResult | None:
    """The result; None where the client has left meanwhile: its place in the queue is given up then."""
    waiting = asyncio.wrap_future(future)
    try:
        while not (await asyncio.wait({waiting}, timeout=LOOK_SECONDS))[0]:
            if await request.is_disconnected():
                return None
        return waiting.result()
    finally:
        future.cancel()

"""The HTTP API: put together here, its routes in ``ragvision_app/routes``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ragvision_app import __version__
from ragvision_app.body import IMAGE_LIMIT, ON_DISK, BodyRule, Budget, GuardBodies
from ragvision_app.responses import INVOCATIONS
from ragvision_app.routes.docs import docs_router
from ragvision_app.routes.errors import CatchUnknownErrors, register_error_handlers
from ragvision_app.routes.health import health_router
from ragvision_app.routes.images import images_router
from ragvision_app.routes.lanes import Lanes
from ragvision_app.routes.queue import queue_router
from ragvision_app.routes.records import records_router
from ragvision_app.routes.reference import reference_router
from ragvision_app.routes.support import IMAGES, UPLOAD, form_limit, support_router
from ragvision_app.schemas import ErrorOut
from ragvision_app.schemas.examples import described

if TYPE_CHECKING:
    from core.workbench import Workbench

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorOut, "description": "The request cannot be answered; the message says why"},
    "5XX": {"model": ErrorOut, "description": "The server failed; the same request may be sent again"},
}


class _Api(FastAPI):
    """Whose description has an example beside every body and answer."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = described(super().openapi())
        return self.openapi_schema


def openapi_json() -> str:
    """The description of the API as it is kept in ``docs/openapi.json``; needs no project."""
    spec = create_api(cast("Workbench", None)).openapi()  # routes touch it only when they are called
    return json.dumps(spec, indent=1, ensure_ascii=False) + "\n"


def create_api(workbench: Workbench) -> FastAPI:
    """The API of one workbench, to be mounted under ``/api``; starts and owns nothing."""
    api = _Api(
        title="RAG Vision Workbench",
        version=__version__,
        summary="Label images with one key each, on evidence that adds up.",
        docs_url=None,  # FastAPI's own page loads scripts from elsewhere; ours works offline
        redoc_url=None,
        responses=_FAILURES,
        servers=[{"url": "/api"}],
        redirect_slashes=False,
    )
    lanes = Lanes()
    for router in (
        health_router(workbench, lanes),
        queue_router(workbench, lanes),
        reference_router(workbench, lanes),
        support_router(workbench, lanes, Budget(ON_DISK)),
        images_router(workbench, lanes),
        records_router(workbench, lanes),
        docs_router(api),
    ):
        api.include_router(router)
    register_error_handlers(api)
    # the last one added is the outermost
    form = BodyRule(lambda: form_limit(workbench), form=True)
    api.add_middleware(GuardBodies, rules={INVOCATIONS: BodyRule(lambda: IMAGE_LIMIT), UPLOAD: form, IMAGES: form})
    api.add_middleware(CatchUnknownErrors)
    api.add_middleware(SecurityHeaders)
    return api


class SecurityHeaders:
    """Gives every answer the headers that it does not set itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)

"""The hot loop: items out, decisions in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends
from starlette.responses import StreamingResponse

from ragvision_app import schemas
from ragvision_app.responses import JsonResponse
from ragvision_app.routes.lanes import Lanes
from ragvision_app.routes.own_name import own_name
from ragvision_app.routes.paths import ImageId

if TYPE_CHECKING:
    from core.workbench import Workbench

LOOK_SECONDS = 0.1
LISTEN_SECONDS = 120.0
MOST_LISTENERS = 100  # at a time; whoever comes beyond asks for the item itself, as the page does anyway
_EVENT = {
    "type": "object",
    "properties": {"event": {"enum": ["text", "done"]}, "data": {"type": "string"}},
    "required": ["event", "data"],
}


class _Explanations:
    """Explanations on their way to listeners, of whom no more than MOST_LISTENERS are served at a time."""

    def __init__(self) -> None:
        self._listeners = 0  # of one event loop, so that no lock is needed

    async def tell(self, look: Callable[[], tuple[str | None, bool]]) -> AsyncIterator[str]:
        """Looks ten times a second, which costs less than a queue a listener; ends by itself after two minutes."""
        if self._listeners < MOST_LISTENERS:
            self._listeners += 1
            try:
                async for event in self._texts(look):
                    yield event
            finally:
                self._listeners -= 1
        yield "event: done\ndata: {}\n\n"

    async def _texts(self, look: Callable[[], tuple[str | None, bool]]) -> AsyncIterator[str]:
        told: str | None = None
        for turn in range(int(LISTEN_SECONDS / LOOK_SECONDS)):
            text, expected = look()
            if text is not None and text != told:
                told = text
                yield f"event: text\ndata: {json.dumps(text)}\n\n"
            elif turn % 100 == 99:
                yield ": still waiting\n\n"  # proxies close connections on which nothing comes
            if not expected:
                return
            await asyncio.sleep(LOOK_SECONDS)


def queue_router(workbench: Workbench, lanes: Lanes) -> APIRouter:
    """``/queue`` and ``/queue/…``, ``/decisions``, ``/items/{sha}/detail``."""
    router = APIRouter(tags=["labelling"], dependencies=[Depends(own_name)])
    explanations = _Explanations()

    @router.post("/queue", response_model=schemas.QueueOut, summary="The next items, leased to the annotator")
    async def queue(body: schemas.QueueRequest) -> JsonResponse:
        def fetch() -> dict[str, Any]:
            items = workbench.next_items(body.annotator, limit=body.limit, order=body.order, have=body.have)
            progress = workbench.progress(body.annotator)
            undoable = workbench.undoable(body.annotator)
            free_at = workbench.store.free_at(body.annotator) if len(items) < body.limit else None
            return schemas.queue_json(items, progress, workbench.run_status(), undoable, free_at)

        return JsonResponse(await lanes.queue.run(fetch))

    @router.post(
        "/queue/release", response_model=schemas.ReleasedOut, summary="Gives reserved images back, for others to label"
    )
    async def release(body: schemas.ReleaseRequest) -> JsonResponse:
        released = await lanes.queue.run(lambda: workbench.store.release_leases(body.annotator, body.images))
        return JsonResponse({"released": released})

    @router.post(
        "/queue/look-alikes",
        response_model=schemas.ItemsOut,
        summary="Undecided images most alike to one, with the same suggestion",
    )
    async def look_alikes(body: schemas.LookAlikesRequest) -> JsonResponse:
        def fetch() -> dict[str, Any]:
            items = workbench.look_alikes(body.annotator, body.image, limit=body.limit, have=body.have)
            return {"items": schemas.items_json(items)}

        return JsonResponse(await lanes.queue.run(fetch))

    @router.get("/queue/items/{sha}", response_model=schemas.ItemOut, summary="One item, as after an undo")
    async def item(sha: ImageId, annotator: schemas.AnnotatorName) -> JsonResponse:
        return JsonResponse(await lanes.queue.run(lambda: schemas.item_json(workbench.item(sha, annotator))))

    @router.get(
        "/queue/items/{sha}/explanation",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": _EVENT}}}},
        summary="The explanation while the reasoner writes it, as server-sent events",
        description="Each event `text` holds the explanation so far as a JSON string; the event `done` ends the "
        "stream: the item has the reasoner's answer, none is to come, or two minutes are over. Ask for the item then.",
    )
    async def explanation(sha: ImageId, annotator: schemas.AnnotatorName) -> StreamingResponse:
        events = explanations.tell(lambda: workbench.explanation_so_far(sha, annotator))
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    @router.get("/items/{sha}/detail", response_model=schemas.DetailOut, summary="What is behind one suggestion")
    async def detail(sha: ImageId, annotator: schemas.AnnotatorName) -> JsonResponse:
        return JsonResponse(await lanes.queue.run(lambda: schemas.detail_json(workbench.detail(sha, annotator))))

    @router.post("/decisions", response_model=schemas.DecisionOut, summary="Store one decision, once")
    async def decide(body: schemas.DecisionRequest) -> JsonResponse:
        def store() -> dict[str, Any]:
            result = workbench.decide(body.to_core())
            return schemas.decision_json(body.id, result, workbench.progress(body.annotator))

        return JsonResponse(await lanes.decisions.run(store))

    return router

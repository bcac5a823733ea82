"""Is the process there, and can it work?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

from ragvision_app.responses import JsonResponse
from ragvision_app.routes.lanes import Lanes
from ragvision_app.schemas import ErrorOut, HealthOut, ReadinessOut

if TYPE_CHECKING:
    from core.workbench import Workbench


def health_router(workbench: Workbench, lanes: Lanes) -> APIRouter:
    """``/ragvision/healthcheck`` as in the reference system, and ``/readiness``."""
    router = APIRouter(tags=["health"])

    @router.get("/ragvision/healthcheck", status_code=201, response_model=HealthOut, summary="The process answers")
    async def healthcheck() -> JsonResponse:
        return JsonResponse({"status": "ok"}, status_code=201)  # 201 is what the reference system answers

    @router.get(
        "/readiness",
        response_model=ReadinessOut,
        responses={503: {"model": ErrorOut, "description": "The store cannot be used"}},
        summary="The store can be used",
    )
    async def readiness() -> JsonResponse:
        def look() -> dict[str, str]:
            workbench.store.count_images()  # raises where the store cannot be read
            status = workbench.run_status()
            chosen = workbench.settings.pipeline
            return {
                "status": "ready",
                "project": workbench.project.root.name,
                "worker": status.state,
                "sentence": status.sentence,
                "encoder": status.encoder or chosen.encoder,
                "reasoner": status.reasoner or chosen.reasoner,
                "device": status.device,
            }

        return JsonResponse(await lanes.health.run(look))

    return router

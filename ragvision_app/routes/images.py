"""Re-encoded images by content address: never the original bytes, cacheable for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Request, Response

from core.errors import NotFound
from core.images import PREVIEW_SIZES as SIZES
from ragvision_app.routes.lanes import Lanes
from ragvision_app.routes.paths import ImageId
from ragvision_app.schemas import ErrorOut

if TYPE_CHECKING:
    from core.workbench import Workbench

Size = Annotated[str, Path(json_schema_extra={"enum": list(SIZES)})]
_CACHE = "public, max-age=31536000, immutable"


def images_router(workbench: Workbench, lanes: Lanes) -> APIRouter:
    """``/images/{sha}/{size}``"""
    router = APIRouter(tags=["images"])

    @router.get(
        "/images/{sha}/{size}",
        response_class=Response,
        responses={200: {"content": {"image/webp": {}}}, 304: {}, 404: {"model": ErrorOut}},
        summary=f"An image in one of the sizes {', '.join(SIZES)}",
    )
    async def image(request: Request, sha: ImageId, size: Size) -> Response:
        if size not in SIZES:
            raise NotFound(f"There is no size {size[:40]!r}. There are: {', '.join(SIZES)}.")
        headers = {"Cache-Control": _CACHE, "ETag": f'"{sha[:16]}-{size}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        data = await lanes.images.run(workbench.preview, sha, SIZES[size])
        return Response(data, media_type="image/webp", headers=headers)

    return router

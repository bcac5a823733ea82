"""The support set over HTTP: the reference system's upload, what there is, and how to take one out."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Request

from core.errors import InvalidInput
from core.images import storable
from ragvision_app import schemas
from ragvision_app.access import SCOPE_KEY, Access
from ragvision_app.body import FORM_OVERHEAD, Budget, Form, form_of
from ragvision_app.responses import JsonResponse
from ragvision_app.routes.lanes import Lanes
from ragvision_app.schemas.common import MAX_INT
from ragvision_app.schemas.reference import SupportUploadForm, SupportUploadOut, support_upload_json

if TYPE_CHECKING:
    from core.workbench import Workbench

UPLOAD = "/support/upload/image"
IMAGES = "/images"
MOST_CLASSES = 200
SupportId = Annotated[int, Path(ge=0, le=MAX_INT, description="id of the example, as GET /support lists it")]


def form_limit(workbench: Workbench) -> int:
    """Bytes of a form with one image in it."""
    return workbench.settings.images.max_bytes + FORM_OVERHEAD


def _author(request: Request) -> str:
    """Who changes the support set: the person logged in, or the name of the token."""
    access: Access | None = request.scope.get(SCOPE_KEY)
    if access is None:
        return "api"
    return access.login or (access.name if access.token_id is not None else "api")


def form_body(form: type[schemas.In]) -> dict[str, Any]:
    """The OpenAPI of a route that reads its form itself."""
    schema = form.model_json_schema()
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def support_router(workbench: Workbench, lanes: Lanes, uploads: Budget) -> APIRouter:
    """``/support``, ``/support/upload/image``, ``/support/{id}`` and the upload of images for the queue."""
    router = APIRouter(tags=["support"])

    @router.post(
        UPLOAD,
        response_model=SupportUploadOut,
        openapi_extra=form_body(SupportUploadForm),
        summary="Make one image an example of a class; missing classes are made",
        description=(
            "The reference system's form. `index` is only sent back: 0 deletes nothing. Sent again, an example stays "
            "as it is (`duplicate`); an example of another class is a 409."
        ),
    )
    async def upload(request: Request) -> JsonResponse:
        fields = ("className", "classes", "index")
        async with form_of(request, fields=fields, limit=form_limit(workbench), budget=uploads) as form:

            def store() -> dict[str, Any]:
                name, classes, index = _support_fields(form)
                data = _bytes_of(form.file)
                done = workbench.upload_support(form.name, data, name, classes=classes, by=_author(request))
                return support_upload_json(done, index, storable(form.name))

            return JsonResponse(await lanes.uploads.run(store))

    @router.get("/support", response_model=schemas.SupportOut, summary="The examples in force, in their order")
    async def support() -> JsonResponse:
        def read() -> dict[str, Any]:
            members = workbench.store.support()
            records = workbench.store.images_by_id({m.image for m in members})
            classes = {c.id: c for c in workbench.store.classes(include_archived=True)}
            return {
                "version": workbench.store.support_set().version,
                "support": [schemas.support_json(m, records[m.image], classes[m.class_id]) for m in members],
            }

        return JsonResponse(await lanes.records.run(read))

    @router.delete(
        "/support/{support_id}",
        response_model=schemas.SupportRemovedOut,
        summary="Take one example out of the support set; its image stays, and returns to the queue",
    )
    async def remove(request: Request, support_id: SupportId) -> JsonResponse:
        def take_out() -> dict[str, Any]:
            workbench.remove_support(support_id, by=_author(request))
            return {"removed": support_id, "version": workbench.store.support_set().version}

        return JsonResponse(await lanes.uploads.run(take_out))

    @router.post(
        IMAGES,
        response_model=schemas.ImageOut,
        openapi_extra=form_body(schemas.ImageForm),
        tags=["images"],
        summary="Bring one image into the queue",
    )
    async def image(request: Request) -> JsonResponse:
        async with form_of(request, fields=(), limit=form_limit(workbench), budget=uploads) as form:
            item = await lanes.uploads.run(lambda: workbench.upload_image(form.name, _bytes_of(form.file)))
            return JsonResponse(schemas.image_json(item))

    return router


def _bytes_of(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _support_fields(form: Form) -> tuple[str, list[str], int | None]:
    name, classes, index = (form.fields.get(field) for field in ("className", "classes", "index"))
    if not name:
        raise InvalidInput("The form cannot be used: className is missing. Name the class of the image.")
    names: list[str] = []
    if classes:
        try:
            names = json.loads(classes)
        except (ValueError, RecursionError):
            raise InvalidInput('classes is not JSON. Write the names as a list, as in ["clean", "dirty"].') from None
        if not isinstance(names, list) or not all(isinstance(one, str) for one in names) or len(names) > MOST_CLASSES:
            raise InvalidInput(f'classes must be a list of at most {MOST_CLASSES} names, as in ["clean", "dirty"].')
    try:
        number = int(index) if index else None
    except ValueError:
        number = -1
    if number is not None and not 0 <= number <= MAX_INT:
        raise InvalidInput(f"index must be a whole number from 0 on, not {str(index)[:20]!r}.")
    return name, names, number

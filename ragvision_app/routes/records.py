"""What is in the project: classes, labels, runs, and labels as a file."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from core.errors import UnknownAdapter
from ragvision_app import schemas
from ragvision_app.responses import JsonResponse
from ragvision_app.routes.lanes import Lanes

if TYPE_CHECKING:
    from core.workbench import Workbench

DOWNLOADS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}  # formats that are one file
Format = Annotated[
    str, Query(description=f"one of {', '.join(DOWNLOADS)}", json_schema_extra={"enum": list(DOWNLOADS)})
]


def records_router(workbench: Workbench, lanes: Lanes) -> APIRouter:
    """``/classes``, ``/labels``, ``/runs``, ``/export``"""
    router = APIRouter(tags=["records"])

    @router.get("/classes", response_model=schemas.ClassesOut, summary="The classes in use, in their order")
    async def classes() -> JsonResponse:
        def read() -> dict[str, Any]:
            return {"classes": [schemas.class_json(c) for c in workbench.store.classes()]}

        return JsonResponse(await lanes.queue.run(read))

    @router.post(
        "/classes", status_code=201, response_model=schemas.ClassOut, summary="Make a class, at the end of the others"
    )
    async def add_class(body: schemas.NewClass) -> JsonResponse:
        def add() -> dict[str, Any]:
            made = workbench.store.add_class(body.name, description=body.description)
            workbench.changed()
            return schemas.class_json(made)

        return JsonResponse(await lanes.uploads.run(add), status_code=201)

    @router.get("/labels", response_model=schemas.LabelsOut, summary="The labels in force")
    async def labels(annotator: schemas.AnnotatorName | None = None) -> JsonResponse:
        def read() -> dict[str, Any]:
            return {"labels": [schemas.label_json(label) for label in workbench.store.labels(annotator)]}

        return JsonResponse(await lanes.records.run(read))

    @router.get("/runs", response_model=schemas.RunsOut, summary="Every run, newest first")
    async def runs() -> JsonResponse:
        return JsonResponse({"runs": await lanes.records.run(workbench.store.runs)})

    @router.get(
        "/export",
        response_class=FileResponse,
        responses={200: {"content": {kind: {} for kind in DOWNLOADS.values()}}, 422: {"model": schemas.ErrorOut}},
        summary="The labels with their provenance, as a download",
    )
    async def export(format: Format = "csv") -> FileResponse:
        if format not in DOWNLOADS:
            raise UnknownAdapter("download format", format[:40], DOWNLOADS)

        def write() -> Path:
            folder = Path(tempfile.mkdtemp(prefix="ragvision-export-"))
            try:
                workbench.export(format, folder / f"labels.{format}")
            except BaseException:
                shutil.rmtree(folder)
                raise
            return folder

        folder = await lanes.records.run(write)
        return FileResponse(
            folder / f"labels.{format}",
            media_type=DOWNLOADS[format],
            filename=f"{workbench.project.root.name}-labels.{format}",
            background=BackgroundTask(shutil.rmtree, folder),
            headers={"Cache-Control": "no-store"},
        )

    return router

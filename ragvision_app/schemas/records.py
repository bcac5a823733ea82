"""What is in the project: images, classes, support, labels, runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from core.types import ClassRecord, ImageRecord, Label, SupportImage
from ragvision_app.schemas.common import ONE_LINE, In, image_url

if TYPE_CHECKING:
    from core.imports import Added, Duplicate


# --------------------------------------------------------------------------- what comes in
class NewClass(In):
    """A class to be made; it gets the next free key of the keyboard."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "dirty", "description": "mud, dust or stains"}]}
    )

    name: str = Field(min_length=1, max_length=200, json_schema_extra={"pattern": ONE_LINE})
    description: str = Field("", max_length=10_000)


class ImageForm(In):
    """The form of one image for the queue."""

    file: bytes = Field(description="a JPEG, PNG, WebP or BMP file", json_schema_extra={"format": "binary"})


# --------------------------------------------------------------------------- what goes out, documented
class ImageOut(BaseModel):
    """An image of the project; ``duplicate`` where its very bytes were there already."""

    id: str
    name: str
    url: str
    duplicate: bool


class SupportImageOut(BaseModel):
    id: int
    image: str
    name: str
    url: str
    class_id: int
    class_name: str
    origin: Literal["upload", "promoted"]
    added_by: str
    added_at: str


class SupportOut(BaseModel):
    """The support set in force; ``version`` is the hash of its content."""

    version: str
    support: list[SupportImageOut]


class SupportRemovedOut(BaseModel):
    removed: int
    version: str


class ClassOut(BaseModel):
    id: int
    name: str
    key: str | None
    colour: str
    description: str
    position: int


class ClassesOut(BaseModel):
    classes: list[ClassOut]


class LabelOut(BaseModel):
    image: str
    annotator: str
    state: str
    class_id: int | None
    event_id: str
    decided_at: str
    note: str | None
    conflict: bool


class LabelsOut(BaseModel):
    labels: list[LabelOut]


class RunsOut(BaseModel):
    runs: list[dict[str, Any]]


def class_json(record: ClassRecord) -> dict[str, Any]:
    """As :class:`ClassOut`."""
    return {
        "id": record.id,
        "name": record.name,
        "key": record.key,
        "colour": record.colour,
        "description": record.description,
        "position": record.position,
    }


def label_json(label: Label) -> dict[str, Any]:
    """As :class:`LabelOut`."""
    return {name: getattr(label, name) for name in LabelOut.model_fields}


def image_json(item: Added | Duplicate) -> dict[str, Any]:
    """As :class:`ImageOut`."""
    duplicate = hasattr(item, "first")
    return {"id": item.sha256, "name": item.name, "url": image_url(item.sha256), "duplicate": duplicate}


def support_json(member: SupportImage, record: ImageRecord, of: ClassRecord) -> dict[str, Any]:
    """As :class:`SupportImageOut`."""
    return {
        "id": member.id,
        "image": member.image,
        "name": record.name,
        "url": image_url(member.image),
        "class_id": of.id,
        "class_name": of.name,
        "origin": member.origin.value,
        "added_by": member.added_by,
        "added_at": member.added_at,
    }

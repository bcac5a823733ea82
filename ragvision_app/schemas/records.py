"""What is in the project: classes, labels, runs."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from core.types import ClassRecord, Label


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

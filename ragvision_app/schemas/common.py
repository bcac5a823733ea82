"""What bodies of every route are made of."""

from __future__ import annotations

import re
import uuid
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from core.settings import LISTS

MAX_INT = 2**63 - 1  # SQLite's largest integer

EXAMPLE_SHA = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
EXAMPLE_ID = "0b9f6a52-6f0e-4f5e-9a63-5b7b0f0a4f11"
# Any text on one line with something to see in it. Left out: control characters, line ends, what turns the line
# round; spaces and marks that show nothing by themselves are not enough.
_UNWANTED = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
_NOT_ENOUGH = r"\s\xa0\xad\u0300-\u036f\u180e\u200b-\u200f\u2060-\u2065\ufe00-\ufe0f\ufeff"
ONE_LINE = rf"^[^{_UNWANTED}]*[^{_UNWANTED}{_NOT_ENOUGH}][^{_UNWANTED}]*$"
_ONE_LINE = re.compile(ONE_LINE)


def _printable(value: str) -> str:
    if not _ONE_LINE.fullmatch(value):
        raise ValueError("must be one line of text that can be seen, without control characters")
    return value


def _uuid(value: str) -> str:
    uuid.UUID(value)  # raises ValueError; kept as it was sent, because it is the client's key
    return value


def _moment(value: str) -> str:
    if datetime.fromisoformat(value).tzinfo is None:
        raise ValueError("needs a time zone, as in 2026-11-24T12:00:00Z")
    return value


def _order(value: str) -> str:
    if value not in LISTS:
        raise ValueError(f"there is no such order; there are: {', '.join(LISTS)}")
    return value


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(examples=[EXAMPLE_SHA])]
AnnotatorName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=100, strip_whitespace=True),
    AfterValidator(_printable),
    Field(examples=["ada"], json_schema_extra={"pattern": ONE_LINE}),
]
EventId = Annotated[
    str,
    StringConstraints(max_length=36),
    AfterValidator(_uuid),
    Field(examples=[EXAMPLE_ID], json_schema_extra={"format": "uuid"}),
]
Moment = Annotated[
    str,
    StringConstraints(max_length=40),
    AfterValidator(_moment),
    Field(examples=["2026-11-24T12:00:00Z"], json_schema_extra={"format": "date-time"}),
]
Order = Annotated[str, AfterValidator(_order), Field(examples=["uncertainty"], json_schema_extra={"enum": list(LISTS)})]
Id = Annotated[int, Field(ge=0, le=MAX_INT)]


class In(BaseModel):
    """A body that comes in: unknown fields are refused, for a misspelt one would lose something in silence."""

    model_config = ConfigDict(extra="forbid")


class ErrorBody(BaseModel):
    code: str = Field(examples=["not_found"])
    message: str = Field(examples=["There is no image 9f86d081…."])


class ErrorOut(BaseModel):
    """The one shape of every failure."""

    error: ErrorBody


class HealthOut(BaseModel):
    status: Literal["ok"]


class ReadinessOut(BaseModel):
    status: Literal["ready"]
    project: str
    worker: str
    sentence: str = Field(description="what the worker does, for a person")
    encoder: str
    reasoner: str
    device: str


def image_url(sha256: str, size: str = "preview") -> str:
    """Where the API serves a re-encoded image; the address of a content never changes."""
    return f"/api/images/{sha256}/{size}"

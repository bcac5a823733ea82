"""The reference system's wire format: its field names, its flat answer, and what we add to it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from core.errors import InvalidInput
from core.settings import LONGEST_PROMPT, PipelineSettings
from core.types import Reasoning, Status
from ragvision_app.schemas.common import EXAMPLE_SHA, MAX_INT, ONE_LINE, In
from ragvision_app.schemas.labelling import EvidenceOut, evidence_json

if TYPE_CHECKING:
    from core.imports import SupportUpload
    from core.inference import InferenceResult

_NOT_SETTINGS = frozenset({"encoded_image", "support_clip_local_dir"})
_OF_A_MODEL = ("system_prompt", "user_prompt", "temperature", "top_p", "max_new_tokens")
# A grey picture of 8 × 8 pixels, accepted as it stands.
EXAMPLE_IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAEElEQVR42mNsYIAAJgaKGAAmCACQtTEKkQAAAABJRU5ErkJggg=="


def _setting(name: str, **more: Any) -> Any:
    """A field of :class:`PipelineSettings` as a field of the request: same bounds, same help."""
    of = next(f for f in fields(PipelineSettings) if f.name == name)
    default = f"; {of.default} at first" if of.default != "" else ""
    return Field(
        None,
        ge=of.metadata["low"],
        le=of.metadata["high"],
        description=f"{of.metadata['help']}. Without it, the project's own setting{default}",
        **more,
    )


class InvocationRequest(In):
    """One image to classify. Field names as the reference system's (camelCase); snake_case is accepted too."""

    model_config = ConfigDict(
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        json_schema_extra={
            "examples": [
                {
                    "encodedImage": EXAMPLE_IMAGE,
                    "systemPrompt": "You inspect vehicles.",
                    "userPrompt": "Is the vehicle clean or dirty?",
                    "kRetrieval": 3,
                    "maxPatchesPerClass": 4,
                    "maxNewTokens": 128,
                    "inputResolution": 224,
                    "supportRes": 224,
                    "supportPatchSize": 32,
                    "temperature": 0.2,
                    "topP": 0.9,
                }
            ]
        },
    )

    encoded_image: str = Field(
        min_length=1,
        description="a JPEG, PNG, WebP or BMP file as base64, or as a data URI (data:image/png;base64,…)",
        json_schema_extra={"format": "byte"},
    )
    system_prompt: str | None = _setting("system_prompt", max_length=LONGEST_PROMPT)
    user_prompt: str | None = _setting("user_prompt", max_length=LONGEST_PROMPT)
    k_retrieval: int | None = _setting("k_retrieval")
    max_patches_per_class: int | None = _setting("max_patches_per_class")
    max_new_tokens: int | None = _setting("max_new_tokens")
    input_resolution: int | None = _setting("input_resolution")
    support_res: int | None = _setting("support_res")
    support_patch_size: int | None = _setting("support_patch_size")
    temperature: float | None = _setting("temperature", allow_inf_nan=False)
    top_p: float | None = _setting("top_p", allow_inf_nan=False)
    support_clip_local_dir: str | None = Field(
        None, description="accepted and ignored: support images and models are the project's; a warning says so"
    )

    def overrides(self) -> dict[str, Any]:
        """The settings that were sent, by the names of :class:`PipelineSettings`."""
        return {name: value for name, value in self.model_dump(exclude=set(_NOT_SETTINGS)).items() if value is not None}

    def image_bytes(self) -> bytes:
        """The file in ``encoded_image``; raises InvalidInput."""
        return decoded_image(self.encoded_image)


def decoded_image(text: str) -> bytes:
    """Strict base64 of a file, white space apart, or a data URI of it; raises InvalidInput."""
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise InvalidInput("encodedImage is a data URI without base64 in it. Write data:image/png;base64,….")
    try:
        # ascii first: no other text is base64, and b64decode's own error would be one of encoding
        data = base64.b64decode(b"".join(text.encode("ascii").split()), validate=True)
    except (UnicodeEncodeError, binascii.Error) as error:
        raise InvalidInput(
            "encodedImage is not base64. Send the bytes of the image file as standard base64, or as a data URI."
        ) from error
    if not data:
        raise InvalidInput("encodedImage is empty. Send the bytes of the image file as base64.")
    return data


# --------------------------------------------------------------------------- answers
class InvocationEvidence(EvidenceOut):
    """One match that decided: boxes are [left, top, right, bottom] in pixels of the upright image."""

    model_config = ConfigDict(alias_generator=to_camel)

    class_name: str
    cited: bool = Field(description="whether the explanation refers to it")


class _Invocation(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    image_id: str | None = Field(description="sha256 of the image's bytes; null where there was no image")
    elapsed_time_ms: int
    flag: str | None = Field(description="name of the class; null where the reasoner abstained, or there is none")
    flag_class_id: int | None
    explanation: str
    class_scores: dict[str, float] = Field(description="class name → calibrated probability; they sum to 1")
    raw_response: str = Field(description="what the model was asked and what it answered")
    reasoning: Literal["none", "pending", "answered", "failed"] | None
    evidence: list[InvocationEvidence]
    encoder: str | None
    reasoner: str | None
    recipe: str | None
    support_version: str | None
    prompt_version: str | None
    calibrated: str | None = Field(description="what the probabilities rest on")
    warnings: list[str] = Field(description="what was ignored, or had no effect")


class InvocationOut(_Invocation):
    """An answer. An abstention is one: ``flag`` is null then."""

    success: Literal[True]
    error: None
    error_code: None


class InvocationFailed(_Invocation):
    """No answer: ``error`` is the sentence, ``errorCode`` what is ``error.code`` on every other route.

    Scores and evidence are there where only the reasoner failed (502); a flag never is.
    """

    success: Literal[False]
    error: str = Field(examples=["The model did not answer within 60 seconds."])
    error_code: str = Field(examples=["reasoning_failed"])
    flag: None
    flag_class_id: None


class SupportUploadForm(In):
    """The form of one support image."""

    className: str = Field(
        min_length=1,
        max_length=200,
        description="the class that the image is an example of; made where it is missing",
        json_schema_extra={"pattern": ONE_LINE},
        examples=["clean"],
    )
    classes: str | None = Field(
        None,
        description="JSON list of class names: those that are missing are made, in this order",
        json_schema_extra={"contentMediaType": "application/json"},
        examples=['["clean", "dirty"]'],
    )
    index: int | None = Field(
        None, ge=0, le=MAX_INT, description="only sent back: no value of it deletes anything", examples=[0]
    )
    file: bytes = Field(description="a JPEG, PNG, WebP or BMP file", json_schema_extra={"format": "binary"})


class SupportUploadOut(BaseModel):
    """The first four as the reference system's."""

    success: Literal[True]
    className: str
    index: int | None
    filename: str
    classId: int
    supportId: int
    imageId: str = Field(examples=[EXAMPLE_SHA])
    duplicate: bool = Field(description="true where it was an example of this class already: nothing changed")


# --------------------------------------------------------------------------- core -> JSON
def invocation_json(result: InferenceResult, ms: float, warnings: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the answer, as :class:`InvocationOut` or :class:`InvocationFailed`."""
    p = result.prediction
    names = {c.id: c.name for c in result.classes}
    failed = p.status is not Status.OK or p.reasoning is Reasoning.FAILED
    answer: dict[str, Any] = {
        "success": not failed,
        "imageId": result.image,
        "elapsedTimeMs": round(ms),
        "flag": None if p.flag is None or failed else names[p.flag],
        "flagClassId": None if failed else p.flag,
        "explanation": "" if failed else p.explanation,
        "classScores": {names[s.class_id]: s.probability for s in p.scores},
        "rawResponse": p.transcript,
        "reasoning": "failed" if failed else p.reasoning.value,
        "evidence": [
            {to_camel(name): value for name, value in row.items()}
            | {"className": names[row["class_id"]], "cited": row["number"] in p.cited_evidence and not failed}
            for row in evidence_json(p, result.support)
        ],
        "encoder": p.encoder,
        "reasoner": p.reasoner,
        "recipe": p.recipe,
        "supportVersion": p.support_version,
        "promptVersion": p.prompt or None,
        "calibrated": p.calibrated.value,
        "warnings": list(warnings),
        "error": (p.reason or "The reasoner gave no usable answer.") if failed else None,
        "errorCode": "reasoning_failed" if failed else None,
    }
    return (502 if failed else 200), answer


def warnings_of(request: InvocationRequest, result: InferenceResult) -> list[str]:
    """What of the request was ignored or had no effect, a sentence each."""
    said = []
    if request.support_clip_local_dir is not None:
        said.append(
            "supportClipLocalDir was ignored: the support images are the project's own, and its settings choose the "
            "encoder and its model."
        )
    idle = [to_camel(name) for name in request.overrides() if name in _OF_A_MODEL]
    if idle and not result.prediction.prompt:
        said.append(
            f"{', '.join(idle)} had no effect: the reasoner is {result.prediction.reasoner}, which asks no model."
        )
    return said


def support_upload_json(done: SupportUpload, index: int | None, filename: str) -> dict[str, Any]:
    """As :class:`SupportUploadOut`."""
    return {
        "success": True,
        "className": done.of.name,
        "index": index,
        "filename": filename,
        "classId": done.of.id,
        "supportId": done.support.id,
        "imageId": done.support.image,
        "duplicate": done.duplicate,
    }

"""One label with its whole provenance: the row of every export format, and of every import of labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from core.errors import NotFound
from core.types import ImageRecord, Label, Prediction

if TYPE_CHECKING:  # the store is handed in
    from core.store import Store


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What one annotator decided about one image, and what stood behind it.

    ``image`` is the SHA-256 of the original bytes; ``state`` is labelled, unsure or skipped (noted: a note
    alone). ``kind`` and ``event_id`` are those of the deciding event. ``suggested_class`` is what the machine
    had suggested, ``suggestion_shown`` whether the annotator could see it. The last block is the prediction:
    empty where the decision was made without one. Ids hold within their project; names hold everywhere.
    """

    image: str
    name: str
    source: str
    state: str
    class_name: str | None
    annotator: str
    decided_at: str
    event_id: str
    kind: str
    class_id: int | None = None
    suggested_class: str | None = None
    suggested_class_id: int | None = None
    suggestion_shown: bool = False
    attention_ms: int | None = None
    note: str | None = None
    conflict: bool = False
    prediction_id: int | None = None
    predicted_class: str | None = None
    predicted_probability: float | None = None
    label_probability: float | None = None
    calibrated: str | None = None
    encoder: str | None = None
    reasoner: str | None = None
    recipe: str | None = None
    support_version: str | None = None
    prompt: str | None = None
    prompt_name: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the order of the columns."""
        return asdict(self)


_PAGE = 500
COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(LabelRow))


def label_rows(store: Store, annotator: str | None = None, *, limit: int | None = None) -> Iterator[LabelRow]:
    """Every label in force (of one annotator, if named), in the order of import, then by annotator.

    ``limit`` gives the first ones only, without looking at the rest.
    """
    names = {record.id: record.name for record in store.classes(include_archived=True)}
    prompts = store.prompt_titles()
    labels = store.labels(annotator, limit=limit)
    for start in range(0, len(labels), _PAGE):
        page = labels[start : start + _PAGE]
        records = store.images_by_id({label.image for label in page})
        for label in page:
            yield _row(store, label, records[label.image], names, prompts)


def _row(store: Store, label: Label, image: ImageRecord, names: dict[int, str], prompts: dict[str, str]) -> LabelRow:
    event = store.event(label.event_id)
    suggested = event["suggested_class"]
    return LabelRow(
        image=image.sha256,
        name=image.name,
        source=image.source,
        state=label.state,
        class_name=None if label.class_id is None else names[label.class_id],
        annotator=label.annotator,
        decided_at=label.decided_at,
        event_id=label.event_id,
        kind=event["kind"],
        class_id=label.class_id,
        suggested_class=None if suggested is None else names.get(suggested),
        suggested_class_id=suggested,
        suggestion_shown=event["suggestion_shown"],
        attention_ms=event["attention_ms"],
        note=label.note or None,
        conflict=label.conflict,
        prediction_id=event["prediction_id"],
        **_provenance(_prediction(store, label.image, event["prediction_id"]), names, prompts, label.class_id),
    )


def _prediction(store: Store, image: str, prediction_id: int | None) -> Prediction | None:
    """The prediction that was shown; None for an id that names none of this image.

    The id came from a client: whatever it says, the label is exported, never with another image's numbers.
    """
    if prediction_id is None:
        return None
    try:
        predicted = store.prediction_by_id(prediction_id)
    except NotFound:
        return None
    return predicted if predicted.image == image else None


def _provenance(
    predicted: Prediction | None, names: dict[int, str], prompts: dict[str, str], class_id: int | None
) -> dict[str, Any]:
    if predicted is None:
        return {}
    probabilities = {score.class_id: score.probability for score in predicted.scores}
    flag = predicted.flag
    return {
        "predicted_class": None if flag is None else names.get(flag),
        "predicted_probability": None if flag is None else probabilities.get(flag),
        "label_probability": None if class_id is None else probabilities.get(class_id),
        "calibrated": str(predicted.calibrated),
        "encoder": predicted.encoder,
        "reasoner": predicted.reasoner,
        "recipe": predicted.recipe,
        "support_version": predicted.support_version,
        "prompt": predicted.prompt or None,
        "prompt_name": prompts.get(predicted.prompt),
    }

"""What the store gives back that is not a noun of the pipeline."""

from __future__ import annotations

from dataclasses import dataclass

from core.prompts import PromptTemplate
from core.types import Kind, Label, Outcome, Prediction, Status


@dataclass(frozen=True, slots=True)
class DecisionResult:
    """What became of one decision.

    ``label`` is the annotator's label after it (None where nothing is decided), ``version`` the image's
    event count, ``message`` a sentence for the annotator where there is something to say, else "".
    """

    outcome: Outcome
    label: Label | None
    version: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """One image reserved for one annotator. ``token`` fences: a later lease has a greater one."""

    image: str
    token: int
    expires_at: str
    version: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Counts over the images that are not support; labelled + unsure + skipped + left = total at overlap 1.

    ``labelled`` and ``unsure`` are images (by anybody), ``skipped`` those that the annotator put off,
    ``left`` those still to be offered to the annotator, ``mine`` and ``labelled_last_minute`` the annotator's own.
    """

    total: int
    labelled: int
    unsure: int
    skipped: int
    left: int
    mine: int
    labelled_last_minute: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One configuration over many queries. ``finished_at`` is None while predictions are still to come."""

    id: int
    encoder: str
    reasoner: str
    recipe: str
    settings_json: str
    support_version: str
    code_version: str
    started_at: str
    resumed_at: str
    finished_at: str | None


@dataclass(frozen=True, slots=True)
class PromptRecord:
    """A saved prompt. ``version`` is the hash of its words, ``number`` counts the versions under its name."""

    version: str
    name: str
    number: int
    system: str
    user: str
    author: str
    created_at: str

    @property
    def title(self) -> str:
        """``vehicle clean/dirty v2``"""
        return f"{self.name} v{self.number}"

    @property
    def template(self) -> PromptTemplate:
        """The words."""
        return PromptTemplate(self.system, self.user)


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """A prediction with the ids that provenance names."""

    id: int
    run_id: int
    prediction: Prediction


@dataclass(frozen=True, slots=True)
class SupportVersion:
    """One entry in the history of the support set. The same content has the same ``version`` each time."""

    number: int
    version: str
    parent: str | None
    author: str
    created_at: str
    images: int


@dataclass(frozen=True, slots=True)
class FailedImage:
    """A query image that a run could not predict, with the reason as a sentence."""

    image: str
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class UndoableEvent:
    """An annotator's decision that can still be taken back."""

    event_id: str
    image: str
    kind: Kind
    class_id: int | None
    group: str | None


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a health check; ``ok`` None is a warning."""

    name: str
    ok: bool | None
    sentence: str

"""The labelling loop: which image comes next, what is shown with it, what a decision does.

Nothing here waits for a model: an item whose prediction is not there yet is dealt out as pending, and
the run worker is asked to do it first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from core.types import Decision, ImageRecord, Prediction, Reasoning, Status

if TYPE_CHECKING:
    from core.settings import LabellingSettings
    from core.store import DecisionResult, Lease, Progress, Store

SuggestionState = Literal["shown", "withheld", "pending", "none", "failed"]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What an annotator may see of a prediction.

    ``prediction`` is None unless ``state`` is shown: a withheld suggestion never leaves the core. Shown with
    a ``reason``, its reasoner gave no answer, and scores and evidence speak.
    ``stale`` says that the support set has changed since. ``scale`` is the contribution at which the
    heatmap saturates, the same for every image of a run. ``support`` names the images behind the
    evidence. ``prompt_title`` is what the prompt of its reasoner is called, where it was saved.
    """

    state: SuggestionState
    reason: str = ""
    prediction_id: int | None = None
    run_id: int | None = None
    stale: bool = False
    prediction: Prediction | None = None
    scale: float = 0.0
    support: tuple[ImageRecord, ...] = ()
    prompt_title: str = ""


@dataclass(frozen=True, slots=True)
class InForce:
    """The run and the support set of now: a prediction of any other is stale."""

    run_id: int | None
    support_version: str


@dataclass(frozen=True, slots=True)
class QueueItem:
    """One image dealt out to one annotator. ``version`` counts the image's events so far."""

    image: ImageRecord
    version: int
    lease_token: int | None
    lease_expires_at: str | None
    suggestion: Suggestion
    skipped: bool = False
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Detail:
    """Everything behind one prediction, for the details panel and by support image.

    ``by_support`` is (image, contribution), the largest magnitude first.
    """

    image: ImageRecord
    suggestion: Suggestion
    by_support: tuple[tuple[ImageRecord, float], ...] = ()


def is_withheld(image: str, annotator: str, share: float) -> bool:
    """Whether this annotator labels this image without a suggestion: fixed, evenly spread, unguessable.

    A hash rather than a die, so that a refresh cannot bring the suggestion back.
    """
    digest = hashlib.sha256(f"withhold\0{image}\0{annotator}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < share


def _is_wanted(suggestion: Suggestion) -> bool:
    """Whether something is still to be computed for it."""
    told = suggestion.prediction
    reasoning = told is not None and told.reasoning is Reasoning.PENDING
    return suggestion.state == "pending" or suggestion.stale or reasoning


class Labelling:
    """Deals out the queue and takes decisions.

    ``prioritise`` is called with images whose prediction is still missing; ``heat_scale`` gives the
    common scale of a run's heatmaps (None where it is not known yet).
    """

    def __init__(
        self,
        store: Store,
        *,
        settings: Callable[[], LabellingSettings],
        prioritise: Callable[[Sequence[str]], None],
        heat_scale: Callable[[int], float | None],
        why_no_suggestion: Callable[[], str],
    ) -> None:
        self._store = store
        self._settings = settings
        self._prioritise = prioritise
        self._heat_scale = heat_scale
        self._why_no_suggestion = why_no_suggestion

    # ------------------------------------------------------------------ dealing out
    def next_items(
        self, annotator: str, *, limit: int, order: str | None = None, have: Collection[str] = ()
    ) -> list[QueueItem]:
        """The next images for this annotator, leased, none of ``have`` among them."""
        settings = self._settings()
        run = self._store.current_run()
        leases = self._store.lease_next(
            annotator,
            limit=limit,
            order=order or settings.order,
            run_id=None if run is None else run.id,
            have=have,
            lease_seconds=settings.lease_seconds,
            overlap=settings.overlap,
        )
        return self._items(leases, annotator)

    def lease_these(self, annotator: str, images: Sequence[str]) -> list[QueueItem]:
        """Those of ``images`` that are free, leased to this annotator, in the order given."""
        settings = self._settings()
        leases = self._store.lease_images(
            annotator, images, lease_seconds=settings.lease_seconds, overlap=settings.overlap
        )
        return self._items(leases, annotator)

    def _items(self, leases: Sequence[Lease], annotator: str) -> list[QueueItem]:
        now = self.in_force()
        items = [self.item(lease.image, annotator, lease=lease, in_force=now) for lease in leases]
        pending = [i.image.sha256 for i in items if _is_wanted(i.suggestion)]
        if pending:
            self._prioritise(pending)
        return items

    def item(
        self, image: str, annotator: str, *, lease: Lease | None = None, in_force: InForce | None = None
    ) -> QueueItem:
        """One image as this annotator may see it; raises NotFound."""
        record = self._store.image(image)
        label = self._store.label(image, annotator)
        return QueueItem(
            image=record,
            version=self._store.version(image) if lease is None else lease.version,
            lease_token=None if lease is None else lease.token,
            lease_expires_at=None if lease is None else lease.expires_at,
            suggestion=self.suggestion(image, annotator, in_force=in_force),
            skipped=label is not None and label.state == "skipped",
            note=self._store.note(image, annotator),
        )

    # ------------------------------------------------------------------ what may be seen
    def suggestion(self, image: str, annotator: str, *, in_force: InForce | None = None) -> Suggestion:
        """The newest prediction of this image, as far as this annotator may see it."""
        found = self._store.latest_prediction(image)
        if found is None:
            why = self._why_no_suggestion()
            return Suggestion("none", why) if why else Suggestion("pending", "The suggestion is being computed.")
        now = in_force or self.in_force()
        prediction = found.prediction
        told = Suggestion(
            "shown",
            prediction_id=found.id,
            run_id=found.run_id,
            stale=found.run_id != now.run_id or prediction.support_version != now.support_version,
        )
        told_in_full = prediction.contributions is not None
        if prediction.status is Status.UNREADABLE or (prediction.status is Status.FAILED and not told_in_full):
            return replace(told, state="failed", reason=prediction.reason)
        if prediction.status is Status.NO_SUGGESTION:
            return replace(told, state="none", reason=prediction.reason)
        if not self.may_see(image, annotator):
            return replace(told, state="withheld", reason="Withheld on purpose: label this one on your own.")
        if prediction.contributions is None:  # scored, evidence still to come
            return replace(told, state="pending", reason="The evidence is being computed.")
        scale = self._heat_scale(found.run_id) or max((abs(v) for v in prediction.contributions.values), default=0.0)
        support = tuple(self._store.images_by_id({e.support_image for e in prediction.evidence}).values())
        # Where the reasoner alone failed, scores and evidence stand: labelling goes on with them.
        failed = prediction.status is Status.FAILED or prediction.reasoning is Reasoning.FAILED
        reason = prediction.reason if failed else ""
        title = self._store.prompt_title(prediction.prompt) if prediction.prompt else ""
        return replace(told, reason=reason, prediction=prediction, scale=scale, support=support, prompt_title=title)

    def may_see(self, image: str, annotator: str) -> bool:
        """Whether the suggestion on this image is shown to this annotator at all."""
        return not is_withheld(image, annotator, self._settings().withhold_share)

    def in_force(self) -> InForce:
        """What a prediction has to rest on in order not to be stale."""
        run = self._store.current_run()
        return InForce(None if run is None else run.id, self._store.support_set().version)

    def detail(self, image: str, annotator: str) -> Detail:
        """What is behind the prediction; nothing more than the annotator may see on the item itself."""
        suggestion = self.suggestion(image, annotator)
        record = self._store.image(image)
        if suggestion.prediction is None or suggestion.prediction.contributions is None:
            return Detail(record, suggestion)
        shares = suggestion.prediction.contributions.by_support
        known = self._store.images_by_id(set(shares))
        ranked = sorted(shares.items(), key=lambda pair: -abs(pair[1]))
        return Detail(record, suggestion, tuple((known[sha], part) for sha, part in ranked if sha in known))

    # ------------------------------------------------------------------ deciding
    def decide(self, decision: Decision) -> DecisionResult:
        """Stores one decision, once; raises InvalidInput or NotFound, never for a late or repeated one."""
        return self._store.decide(decision)

    def progress(self, annotator: str) -> Progress:
        """Counts for the header of the Label page."""
        return self._store.counts(annotator)

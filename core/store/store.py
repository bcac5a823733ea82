"""The label store: one object over the per-noun modules. Every method is one transaction.

Safe to share between threads, and several processes may have the same file open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from core.store import counts, events, leases, preferences, projection
from core.store.catalogue import Catalogue
from core.store.checks import a_name
from core.store.records import DecisionResult, Lease, Progress, UndoableEvent
from core.store.suggestions import Suggestions
from core.store.tokens import Tokens
from core.types import Decision, Label


class Store(Catalogue, Suggestions, Tokens):
    """Everything that a project knows, in one SQLite file: opened by :meth:`open`."""

    # ------------------------------------------------------------------ decisions and labels
    def decide(self, decision: Decision) -> DecisionResult:
        """Stores one decision, once: event, label and lease in one durable transaction.

        NotFound for an unknown image; InvalidInput for a value or a class that cannot be. The same id again is
        DUPLICATE and changes nothing. An archived class is accepted: no label is lost.
        """
        decision = events.checked(decision)
        with self._pool.write() as db:
            return events.decide(db, decision, self._clock())

    def labels(self, annotator: str | None = None, *, limit: int | None = None) -> list[Label]:
        """Labels in order of import, then by annotator; of one annotator or of all; the first ``limit`` if given."""
        name = None if annotator is None else a_name(annotator, "The annotator's name")
        with self._pool.read() as db:
            return projection.labels(db, name, limit)

    def labels_of(self, shas: Iterable[str]) -> dict[str, list[Label]]:
        """Image → its labels by all annotators, for those that have any."""
        with self._pool.read() as db:
            return projection.labels_of(db, shas)

    def label(self, image: str, annotator: str) -> Label | None:
        """The annotator's label of an image, None where nothing is decided."""
        with self._pool.read() as db:
            return projection.label(db, image, a_name(annotator, "The annotator's name"))

    def note(self, image: str, annotator: str) -> str | None:
        """The annotator's note on an image, decided or not."""
        with self._pool.read() as db:
            return projection.note(db, image, a_name(annotator, "The annotator's name"))

    def version(self, image: str) -> int:
        """The image's event count."""
        with self._pool.read() as db:
            return events.version(db, image)

    def history(self, image: str) -> list[dict[str, Any]]:
        """Every event on an image, oldest first, plus ``void``. By all annotators: for review only; NotFound."""
        with self._pool.read() as db:
            return events.history(db, image)

    def event(self, event_id: str) -> dict[str, Any]:
        """One event as stored; NotFound."""
        with self._pool.read() as db:
            return events.get(db, event_id)

    def undoable(self, annotator: str, limit: int = 200) -> list[UndoableEvent]:
        """The annotator's decisions that are not taken back, newest first."""
        with self._pool.read() as db:
            return events.undoable(db, annotator, limit)

    def check_projection(self) -> list[str]:
        """What differs between the labels and a rebuild from the events, a sentence each."""
        with self._pool.read() as db:
            return projection.differences(db)

    def rebuild_labels(self) -> list[str]:
        """Writes the labels anew from the events; returns what was different."""
        with self._pool.write() as db:
            return projection.rebuild(db)

    # ------------------------------------------------------------------ the queue
    def lease_next(
        self,
        annotator: str,
        *,
        limit: int,
        order: str = "uncertainty",
        run_id: int | None = None,
        have: Collection[str] = (),
        lease_seconds: int = 600,
        overlap: int = 1,
    ) -> list[Lease]:
        """Reserves up to ``limit`` images beside those that the annotator has (whose leases are prolonged)."""
        with self._pool.write() as db:
            return leases.lease_next(
                db,
                annotator,
                limit=limit,
                order=order,
                run_id=run_id,
                have=have,
                lease_seconds=lease_seconds,
                overlap=overlap,
                now=self._clock(),
            )

    def lease_images(
        self, annotator: str, wanted: Sequence[str], *, lease_seconds: int = 600, overlap: int = 1
    ) -> list[Lease]:
        """Reserves those of the named images that the annotator may work on, in the given order."""
        with self._pool.write() as db:
            return leases.lease_images(
                db, annotator, wanted, lease_seconds=lease_seconds, overlap=overlap, now=self._clock()
            )

    def release_leases(self, annotator: str, shas: Collection[str] | None = None) -> int:
        """Gives the annotator's leases back, all or those named; returns how many."""
        with self._pool.write() as db:
            return leases.release(db, annotator, shas)

    def free_at(self, annotator: str) -> str | None:
        """When the first image that others hold now is free for the annotator at the latest; None for none."""
        with self._pool.read() as db:
            return leases.free_at(db, annotator, preferences.overlap(db), self._clock())

    def counts(self, annotator: str) -> Progress:
        """How far the labelling is, as the annotator sees it."""
        with self._pool.read() as db:
            return counts.progress(db, annotator, self._clock())

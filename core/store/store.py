"""The label store: one object over the per-noun modules. Every method is one transaction.

Safe to share between threads, and several processes may have the same file open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from core.errors import ProjectError
from core.settings import Settings
from core.store import archive, classes, counts, events, images, leases, predictions, preferences, projection, runs
from core.store import support as support_images
from core.store.checks import a_name, utc_now
from core.store.classes import Keep
from core.store.connection import ConnectionPool
from core.store.migrations import migrate
from core.store.records import (
    DecisionResult,
    FailedImage,
    Lease,
    Progress,
    RunRecord,
    StoredPrediction,
    SupportVersion,
    UndoableEvent,
)
from core.types import (
    ClassRecord,
    Decision,
    ImageRecord,
    Label,
    Origin,
    Prediction,
    SupportImage,
    SupportSet,
)

WORKBENCH = "workbench"  # the author of what no annotator did


class Store:
    """Everything that a project knows, in one SQLite file."""

    def __init__(self, path: Path, *, clock: Callable[[], str] = utc_now) -> None:
        self.path = path
        self._pool = ConnectionPool(path)
        self._clock = clock

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], str] = utc_now) -> Store:
        """Opens the store, creates it or brings its schema up to date.

        Raises SchemaTooNew where a newer version wrote it, ProjectError where the file cannot be used.
        """
        path = Path(path)
        migrate(path)
        return cls(path, clock=clock)

    def close(self) -> None:
        """Closes all connections; the store cannot be used after it."""
        self._pool.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def backup(self, path: Path) -> None:
        """A consistent copy of the database, also while others write; ProjectError where it cannot be written."""
        if path.exists():
            raise ProjectError(f"{path.name} exists already. Choose another name for the backup.")
        try:
            with self._pool.read() as db, closing(sqlite3.connect(path)) as target:
                db.backup(target)
        except sqlite3.Error as error:
            raise ProjectError(f"The backup {path.name} could not be written: {error}.") from error

    # ------------------------------------------------------------------ images
    def add_images(self, records: Sequence[ImageRecord]) -> int:
        """Stores new images, ignores those that are there; returns how many were new."""
        with self._pool.write() as db:
            return images.add(db, records)

    def has_images(self, shas: Iterable[str]) -> set[str]:
        """Those of the ids that are stored."""
        with self._pool.read() as db:
            return images.present(db, shas)

    def image(self, sha256: str) -> ImageRecord:
        """One image; NotFound."""
        with self._pool.read() as db:
            return images.get(db, sha256)

    def images_by_id(self, shas: Iterable[str]) -> dict[str, ImageRecord]:
        """Id → image, for those that are stored."""
        with self._pool.read() as db:
            return images.get_many(db, shas)

    def images(self, limit: int | None = None, offset: int = 0) -> list[ImageRecord]:
        """Images in order of import."""
        with self._pool.read() as db:
            return images.page(db, limit, offset)

    def query_images(self) -> list[str]:
        """Ids of all images that are not support, in order of import."""
        with self._pool.read() as db:
            return images.queries(db)

    def count_images(self) -> int:
        """Number of stored images, support included."""
        with self._pool.read() as db:
            return images.count(db)

    # ------------------------------------------------------------------ classes
    def add_class(
        self, name: str, *, key: str | None = None, colour: str | None = None, description: str = ""
    ) -> ClassRecord:
        """A new class at the end, with the next free key and colour where they are not given; InvalidInput."""
        with self._pool.write() as db:
            return classes.add(db, name, key=key, colour=colour, description=description)

    def classes(self, include_archived: bool = False) -> list[ClassRecord]:
        """Classes by position."""
        with self._pool.read() as db:
            return classes.every(db, include_archived=include_archived)

    def class_by_id(self, class_id: int) -> ClassRecord:
        """One class, archived or not; NotFound."""
        with self._pool.read() as db:
            return classes.get(db, class_id)

    def update_class(
        self,
        class_id: int,
        *,
        name: str | None = None,
        key: str | Keep | None = Keep.KEEP,
        colour: str | None = None,
        description: str | None = None,
    ) -> ClassRecord:
        """Changes what is given (``key=None`` takes the key away); NotFound, InvalidInput."""
        with self._pool.write() as db:
            return classes.update(db, class_id, name=name, key=key, colour=colour, description=description)

    def reorder_classes(self, ids: Sequence[int]) -> list[ClassRecord]:
        """Puts the active classes into this order; InvalidInput unless each is named once."""
        with self._pool.write() as db:
            return classes.reorder(db, ids)

    def archive_class(self, class_id: int, *, by: str = WORKBENCH) -> ClassRecord:
        """Takes a class out of use: its labels stay, its support images leave the support set; NotFound."""
        with self._pool.write() as db:
            return archive.archive(db, class_id, by=by, now=self._clock())

    def restore_class(self, class_id: int, *, by: str = WORKBENCH) -> ClassRecord:
        """Brings an archived class back, with its support images; InvalidInput where the name is taken by now."""
        with self._pool.write() as db:
            return archive.restore(db, class_id, by=by, now=self._clock())

    def delete_class(self, class_id: int) -> None:
        """Deletes a class that nothing ever pointed at; else ClassInUse."""
        with self._pool.write() as db:
            classes.delete(db, class_id)

    # ------------------------------------------------------------------ support
    def add_support(self, image: str, class_id: int, *, by: str, origin: Origin = Origin.UPLOAD) -> SupportImage:
        """Makes an image an example of a class; InvalidInput where it is one already (of whichever class)."""
        with self._pool.write() as db:
            pairs = [(image, class_id)]
            return support_images.add_many(db, pairs, by=by, origin=origin, now=self._clock(), strict=True)[0]

    def add_support_many(
        self, pairs: Sequence[tuple[str, int]], *, by: str, origin: Origin = Origin.UPLOAD
    ) -> list[SupportImage]:
        """(image, class id) pairs as one version, all or none; a pair that is in force already stays as it is."""
        with self._pool.write() as db:
            return support_images.add_many(db, pairs, by=by, origin=origin, now=self._clock())

    def remove_support(self, support_id: int, *, by: str) -> None:
        """Takes a support image out of the set; NotFound where it is not in it."""
        with self._pool.write() as db:
            support_images.remove(db, support_id, by=by, now=self._clock())

    def move_support(self, support_id: int, class_id: int, *, by: str) -> SupportImage:
        """Makes a support image an example of another class; returns the new membership (it has a new id)."""
        with self._pool.write() as db:
            return support_images.move(db, support_id, class_id, by=by, now=self._clock())

    def support(self) -> list[SupportImage]:
        """The support images in force, in the order in which they were added."""
        with self._pool.read() as db:
            return support_images.active(db)

    def support_set(self) -> SupportSet:
        """The support set in force, with its recorded version."""
        with self._pool.read() as db:
            return support_images.current(db)

    def support_versions(self) -> list[SupportVersion]:
        """The history of the support set, newest first."""
        with self._pool.read() as db:
            return support_images.versions(db)

    def support_members(self, version: str) -> list[tuple[str, int]]:
        """The sorted (image, class id) pairs of a version; NotFound."""
        with self._pool.read() as db:
            return support_images.members_of(db, version)

    def restore_support(self, version: str, *, by: str) -> SupportSet:
        """Makes an old version the support set again; InvalidInput where a class of it is archived."""
        with self._pool.write() as db:
            return support_images.restore_version(db, version, by=by, now=self._clock())

    # ------------------------------------------------------------------ settings and bases
    def settings(self) -> Settings:
        """The saved settings, or the defaults."""
        with self._pool.read() as db:
            return preferences.settings(db)

    def save_settings(self, value: Settings) -> None:
        """Replaces the saved settings."""
        with self._pool.write() as db:
            preferences.save_settings(db, value, self._clock())

    def save_basis(self, id: str, encoder: str, blob: bytes, support_version: str) -> None:
        """Stores a fitted basis as the newest of its encoder."""
        with self._pool.write() as db:
            preferences.save_basis(db, id, encoder, blob, support_version, self._clock())

    def basis(self, encoder: str) -> tuple[str, bytes, str] | None:
        """(id, blob, support version) of the encoder's newest basis."""
        with self._pool.read() as db:
            return preferences.basis(db, encoder)

    # ------------------------------------------------------------------ runs and predictions
    def start_run(
        self, encoder: str, reasoner: str, recipe: str, settings_json: str, support_version: str, code_version: str
    ) -> int:
        """Makes the run of this configuration the current one, a new run where there is none; returns its id."""
        with self._pool.write() as db:
            return runs.start(
                db,
                encoder=encoder,
                reasoner=reasoner,
                recipe=recipe,
                settings_json=settings_json,
                support_version=support_version,
                code_version=code_version,
                now=self._clock(),
            )

    def current_run(self) -> RunRecord | None:
        """The run that was started or resumed last."""
        with self._pool.read() as db:
            return runs.current(db)

    def run(self, run_id: int) -> RunRecord:
        """One run; NotFound."""
        with self._pool.read() as db:
            return runs.get(db, run_id)

    def runs(self) -> list[RunRecord]:
        """Runs, the current one first."""
        with self._pool.read() as db:
            return runs.every(db)

    def finish_run(self, run_id: int) -> RunRecord:
        """Marks a run as finished; NotFound."""
        with self._pool.write() as db:
            return runs.finish(db, run_id, self._clock())

    def save_predictions(self, run_id: int, values: Sequence[Prediction]) -> list[int]:
        """Stores predictions in one transaction; returns their ids in order; NotFound for the run or an image."""
        with self._pool.write() as db:
            return predictions.save(db, run_id, values, self._clock())

    def prediction(self, run_id: int, image: str) -> tuple[int, Prediction] | None:
        """(id, prediction) of an image in a run, None where it is not predicted yet."""
        with self._pool.read() as db:
            return predictions.of_image(db, run_id, image)

    def predictions(self, run_id: int, shas: Iterable[str]) -> dict[str, tuple[int, Prediction]]:
        """Image → (id, prediction) in a run, for those that are predicted."""
        with self._pool.read() as db:
            return predictions.of_images(db, run_id, shas)

    def prediction_by_id(self, prediction_id: int) -> Prediction:
        """One prediction, also one that was computed again since; NotFound."""
        with self._pool.read() as db:
            return predictions.get(db, prediction_id)

    def latest_prediction(self, image: str) -> StoredPrediction | None:
        """The image's prediction in the newest run that has one (complete before merely scored); None without."""
        with self._pool.read() as db:
            return predictions.latest(db, image)

    def predicted_images(self, run_id: int, *, complete: bool = True) -> set[str]:
        """Ids of the images that have a prediction in the run; with ``complete`` False also those merely scored."""
        with self._pool.read() as db:
            return predictions.predicted_images(db, run_id, complete=complete)

    def margins(self, run_id: int) -> dict[str, float]:
        """Image → margin in the run, for those that have one."""
        with self._pool.read() as db:
            return predictions.margins(db, run_id)

    def open_images(self, run_id: int, flag: int, limit: int = 4000) -> list[str]:
        """Undecided images that the run gave this flag, in order of import."""
        with self._pool.read() as db:
            return predictions.open_images(db, run_id, flag, limit)

    def count_predictions(self, run_id: int) -> int:
        """Number of images that have a prediction in the run."""
        with self._pool.read() as db:
            return predictions.count(db, run_id)

    def failed_images(self, run_id: int | None = None) -> list[FailedImage]:
        """Images that a run (the current one) could not predict, in order of import."""
        with self._pool.read() as db:
            current = runs.current(db)
            chosen = run_id if run_id is not None else (current.id if current else None)
            return [] if chosen is None else predictions.failed(db, chosen)

    def prune_predictions(self, keep_runs: int = 3) -> int:
        """Deletes predictions of older runs, except those that an event names; returns how many."""
        with self._pool.write() as db:
            return predictions.prune(db, keep_runs)

    # ------------------------------------------------------------------ decisions and labels
    def decide(self, decision: Decision) -> DecisionResult:
        """Stores one decision, once: event, label and lease in one durable transaction.

        NotFound for an unknown image; InvalidInput for a value or a class that cannot be. The same id again is
        DUPLICATE and changes nothing. An archived class is accepted: no label is lost.
        """
        decision = events.checked(decision)
        with self._pool.write() as db:
            return events.decide(db, decision, self._clock())

    def labels(self, annotator: str | None = None) -> list[Label]:
        """Labels in order of import, then by annotator; of one annotator or of all."""
        with self._pool.read() as db:
            return projection.labels(db, None if annotator is None else a_name(annotator, "The annotator's name"))

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

    def counts(self, annotator: str) -> Progress:
        """How far the labelling is, as the annotator sees it."""
        with self._pool.read() as db:
            return counts.progress(db, annotator, self._clock())

"""The composition root: one project with everything that works on it. The only importer of adapters.

Delivery code (pages, API, command line) talks to a :class:`Workbench`, and to the store behind it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from PIL import Image

from core import exports, imports
from core.calibration import LeaveOneOut
from core.choices import cost_of, really_used
from core.embedding_cache import EmbeddingCache
from core.encoders import create_encoders, create_encoders_or_stand_in
from core.engine import Cache, Engine
from core.errors import DamagedImage, ImageError, InvalidInput, NotFound
from core.exports import ExportReport, label_rows
from core.health import check_files
from core.images import PREVIEW_SIZES, open_stored, preview_bytes, shown
from core.imports import (
    Added,
    Duplicate,
    ImageSource,
    ImportReport,
    Refused,
    SupportReport,
    SupportUpload,
    upload_source,
)
from core.imports.labels import LabelImport, import_labels
from core.inference import InferenceService
from core.labelling import Detail, Labelling, QueueItem
from core.loaded import Loaded, look, speed_of
from core.look_alikes import most_alike
from core.memory_cache import MemoryCache
from core.pipeline import Pipeline
from core.ports import load_adapter
from core.position_cache import PositionCache
from core.project import NOTICE_FILE, Project
from core.prompt_format import Form
from core.prompt_preview import PromptPreview, preview_prompt, stored_request
from core.reasoners import create_reasoner, create_reasoner_or_stand_in, memory_note, prompt_format
from core.run_status import RunStatus, what_is_missing
from core.runs import RunWorker
from core.settings import PipelineSettings, Settings
from core.stand_ins import Missing
from core.store import DecisionResult, Finding, Progress, Store, UndoableEvent, health
from core.types import Decision, Origin, SupportImage
from core.version import CODE_VERSION

log = logging.getLogger("ragvision.workbench")


def create_engine(
    settings: PipelineSettings,
    load: Callable[[str], Image.Image],
    *,
    project: Project | None = None,
    stand_in: bool = False,
) -> Engine:
    """Encoders, caches and pipeline of one configuration; slow, since it loads a model.

    ``load`` gives the upright RGB image of a key. Without a project nothing is kept on disk. With ``stand_in``
    an encoder or a reasoner whose model is missing is stood in for by the default one. Raises UnknownAdapter,
    InvalidSettings, ModelUnavailable.
    """
    # One core is left to the pages and the API: an annotator must not feel that a run is computing.
    threads = max(1, (os.cpu_count() or 2) - 1) if project is not None else None
    missing: list[Missing] = []
    if stand_in:
        query_encoder, support_encoder, lacks = create_encoders_or_stand_in(settings, threads=threads)
        reasoner = create_reasoner_or_stand_in(settings.reasoner, settings)
        missing = [m for m in (lacks, getattr(reasoner, "missing", None)) if m is not None]
    else:
        query_encoder, support_encoder = create_encoders(settings, threads=threads)
        reasoner = create_reasoner(settings.reasoner, settings)
    same = support_encoder is query_encoder
    query_cache: Cache
    support_cache: Cache
    positions = None
    if project is None:
        query_cache, support_cache = MemoryCache(keep=False), MemoryCache(keep=True)
    else:
        folder = project.cache_dir / "embeddings"
        query_cache = EmbeddingCache(folder, query_encoder)
        support_cache = query_cache if same else EmbeddingCache(folder, support_encoder)
        positions = PositionCache(project.cache_dir / "positions" / query_encoder.id)
    return Engine(
        settings,
        query_encoder=query_encoder,
        support_encoder=support_encoder,
        query_cache=query_cache,
        support_cache=support_cache,
        positions=positions,
        pipeline=Pipeline(reasoner, settings, load_support=load),
        load=load,
        missing=missing,
    )


class Workbench:
    """One open project. Safe to use from any thread; ``close`` it when done.

    The background worker runs only between :meth:`start_worker` and :meth:`stop_worker`, so that a
    command that imports or exports loads no model.
    """

    def __init__(self, project: Project, store: Store) -> None:
        self.project = project
        self.store = store
        self._settings = store.settings()
        self._worker = RunWorker(
            store,
            settings=lambda: self._settings.pipeline,
            compose=lambda settings: create_engine(settings, self._load, project=project, stand_in=True),
            announce=lambda settings: memory_note(settings.reasoner, settings),
            prepare=self._prepare_preview,
            code_version=CODE_VERSION,
        )
        self.inference = InferenceService(
            store,
            settings=lambda: self._settings.pipeline,
            compose=lambda settings: create_engine(settings, self._load, project=project),
            limits=lambda: self._settings.images,
        )
        self._labelling = Labelling(
            store,
            settings=lambda: self._settings.labelling,
            prioritise=self._worker.prioritise,
            heat_scale=self._worker.heat_scale,
            why_no_suggestion=self._why_no_suggestion,
        )

    @classmethod
    def open(cls, root: Path, *, create: bool = True) -> Workbench:
        """The project at ``root``, made where it is missing if ``create``. Raises ProjectError, SchemaTooNew."""
        project = Project.open(root, create=create)
        return cls(project, Store.open(project.labels_db))

    def close(self) -> None:
        """Stops the worker and the inference, and closes the store."""
        self._worker.stop()
        self.inference.close()
        self.store.close()

    def _load(self, image: str) -> Image.Image:
        try:
            return open_stored(self.project.image_path(image), self._settings.images)
        except NotFound as error:
            name = shown(self.store.image(image).name)
            raise DamagedImage(
                f"The file of {name} is gone from the project's folder. Import the same image again: it is put back."
            ) from error

    def _prepare_preview(self, image: str) -> None:
        """Encodes the preview ahead: at 20 keys a second the browser outruns an encoder."""
        try:
            preview_bytes(self.project, image, PREVIEW_SIZES["preview"], self._settings.images)
        except (ImageError, NotFound, OSError) as error:  # said where the image is shown
            log.info("no preview of %s: %s", image[:12], error)

    # ------------------------------------------------------------------ settings and worker
    @property
    def settings(self) -> Settings:
        """The settings in force."""
        return self._settings

    def save_settings(self, settings: Settings) -> None:
        """Puts ``settings`` in force, and has the predictions computed under them."""
        self.store.save_settings(settings)
        self._settings = settings
        self._worker.changed()

    def choose_recipe(self, recipe: str) -> None:
        """Another recipe; raises InvalidSettings for one that there is not."""
        self.save_settings(replace(self._settings, pipeline=replace(self._settings.pipeline, recipe=recipe)))

    def prompt_preview(self, image: str, settings: PipelineSettings, form: Form | None = None) -> PromptPreview | None:
        """What a model would be shown for this image under ``settings``; None where no class is on offer.

        Loads no model. ``form`` is that of the answer asked for; None: the one that the reasoner prefers. Raises
        NotFound, ImageError.
        """
        reading = prompt_format(settings.reasoner, settings)
        request, why_bare = stored_request(self.store, image, self._load)
        chosen = form or (reading.forms[0] if reading.forms else "letter")
        return preview_prompt(request, settings, reading, form=chosen, why_bare=why_bare)

    def loaded(self) -> Loaded:
        """What is loaded, from where, how large and how fast lately."""
        return look(self._worker.engine, self.run_status(), self._settings.pipeline, self.store, self.project)

    def cost_of(self, settings: PipelineSettings) -> list[str]:
        """What putting these settings in force makes the worker do, a sentence each."""
        support = len(self.store.support_set().images)
        return cost_of(
            really_used(self._settings.pipeline),
            really_used(settings),
            queries=self.store.count_images() - support,
            support=support,
            embeddings=self.project.cache_dir / "embeddings",
            speed=speed_of(self._worker.engine, self.store),
        )

    @property
    def notice(self) -> str:
        """What has to be said of this project's images, their licence for one; empty where nothing has."""
        path = self.project.root / NOTICE_FILE
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    def start_worker(self) -> None:
        """Starts computing suggestions in the background."""
        self._worker.start()

    def stop_worker(self) -> None:
        """Stops after the images in hand."""
        self._worker.stop()

    def changed(self) -> None:
        """Says that classes, support or images changed behind this object's back."""
        self._worker.changed()

    def run_status(self) -> RunStatus:
        """What the worker does now."""
        return self._worker.status

    def leave_one_out(self) -> Mapping[str, LeaveOneOut]:
        """Recipe → how well the support set predicts itself; empty until it is fitted. Never computes."""
        fitted = self._worker.fitted
        if fitted is None or fitted.version != self.store.support_set().version:
            return {}
        return fitted.leave_one_out

    def _why_no_suggestion(self) -> str:
        engine = self._worker.engine
        return what_is_missing(self.store.support_set(), by_names=engine is not None and engine.reads_text)

    # ------------------------------------------------------------------ the labelling loop
    def next_items(
        self, annotator: str, *, limit: int, order: str | None = None, have: Collection[str] = ()
    ) -> list[QueueItem]:
        """The next images for this annotator, leased, none of ``have`` among them."""
        return self._labelling.next_items(annotator, limit=limit, order=order, have=have)

    def item(self, image: str, annotator: str) -> QueueItem:
        """One image as this annotator may see it; raises NotFound."""
        return self._labelling.item(image, annotator)

    def detail(self, image: str, annotator: str) -> Detail:
        """What is behind the suggestion on this image; raises NotFound."""
        return self._labelling.detail(image, annotator)

    def explanation_so_far(self, image: str, annotator: str) -> tuple[str | None, bool]:
        """What a slow reasoner has written on an image by now, and whether its answer is still to come.

        Nothing of a suggestion that is withheld from this annotator.
        """
        if not self._labelling.may_see(image, annotator):
            return None, False
        return self._worker.explanation_so_far(image)

    def look_alikes(self, annotator: str, image: str, *, limit: int, have: Collection[str] = ()) -> list[QueueItem]:
        """Undecided images with the same suggestion, most alike to ``image`` first, leased.

        Alike by the cosine of their whole embeddings; empty until those are computed, and where the suggestion on
        ``image`` is withheld from this annotator: its look-alikes would tell it.
        """
        if not self._labelling.may_see(image, annotator):
            return []
        found = self.store.latest_prediction(image)
        engine = self._worker.engine
        if found is None or found.prediction.flag is None or engine is None:
            return []
        hidden = set(have) | {image}
        same = self.store.open_images(found.run_id, found.prediction.flag)
        ranked = most_alike(engine, image, [i for i in same if i not in hidden])
        items = self._labelling.lease_these(annotator, ranked[: 2 * limit])
        return [i for i in items if i.suggestion.state == "shown"][:limit]

    def decide(self, decision: Decision) -> DecisionResult:
        """Stores one decision, once."""
        return self._labelling.decide(decision)

    def undoable(self, annotator: str, limit: int = 200) -> list[UndoableEvent]:
        """This annotator's decisions that can be taken back, the newest first."""
        return self.store.undoable(annotator, limit)

    def progress(self, annotator: str) -> Progress:
        """Counts for the header of the Label page."""
        return self._labelling.progress(annotator)

    def preview(self, image: str, size: int) -> bytes:
        """A re-encoded WebP of the image, at most ``size`` pixels on its long side."""
        return preview_bytes(self.project, image, size, self._settings.images)

    # ------------------------------------------------------------------ support
    def add_support(self, image: str, class_id: int, *, by: str, origin: Origin = Origin.UPLOAD) -> SupportImage:
        """Makes an image an example of a class."""
        added = self.store.add_support(image, class_id, by=by, origin=origin)
        self._worker.changed()
        return added

    def remove_support(self, support_id: int, *, by: str) -> None:
        """Takes an example out of the support set; the image stays and returns to the queue."""
        self.store.remove_support(support_id, by=by)
        self._worker.changed()

    def move_support(self, support_id: int, class_id: int, *, by: str) -> SupportImage:
        """Makes an example one of another class."""
        moved = self.store.move_support(support_id, class_id, by=by)
        self._worker.changed()
        return moved

    def add_support_files(self, files: Sequence[tuple[str, bytes]], class_id: int, *, by: str) -> ImportReport:
        """Imports files and makes them examples of one class, as one version of the support set.

        An image that is an example of this class already is a duplicate; one of another class is refused
        with that class's name.
        """
        report = imports.import_images(self.project, self.store, [upload_source(files)], limits=self._settings.images)
        class_of = {s.image: s.class_id for s in self.store.support()}
        names = {c.id: c.name for c in self.store.classes(include_archived=True)}
        taken = {item for item in report.accepted if class_of.get(item.sha256, class_id) != class_id}
        report.refused += [
            Refused(i.name, f"it is an example of {names[class_of[i.sha256]]!r} already; move it there instead.")
            for i in taken
        ]
        report.added = [item for item in report.added if item not in taken]
        report.duplicates = [item for item in report.duplicates if item not in taken]
        fresh = dict.fromkeys(item.sha256 for item in report.accepted if item.sha256 not in class_of)
        if fresh:
            self.store.add_support_many([(image, class_id) for image in fresh], by=by, origin=Origin.UPLOAD)
        self._worker.changed()
        return report

    def upload_support(
        self, name: str, data: bytes, class_name: str, *, classes: Sequence[str] = (), by: str
    ) -> SupportUpload:
        """One file as an example of a class, which is made where it is missing; see :func:`imports.upload_support`."""
        limits = self._settings.images
        done = imports.upload_support(
            self.project, self.store, name, data, class_name, classes=classes, by=by, limits=limits
        )
        self._worker.changed()
        return done

    # ------------------------------------------------------------------ in and out
    def upload_image(self, name: str, data: bytes) -> Added | Duplicate:
        """One file into the queue; raises an ImageError."""
        item = imports.import_one(self.project, self.store, name, data, limits=self._settings.images)
        self._worker.changed()
        return item

    def import_images(
        self, sources: Iterable[ImageSource], *, on_progress: Callable[[int, int, int], None] | None = None
    ) -> ImportReport:
        """Brings images in; the rest goes on where one is refused."""
        try:
            return imports.import_images(
                self.project, self.store, sources, limits=self._settings.images, on_progress=on_progress
            )
        finally:
            self._worker.changed()

    def import_support(
        self, root: Path, *, by: str, on_progress: Callable[[int, int, int], None] | None = None
    ) -> SupportReport:
        """Brings in examples: each sub-folder's name is a class."""
        try:
            return imports.import_support(
                self.project, self.store, root, by=by, limits=self._settings.images, on_progress=on_progress
            )
        finally:
            self._worker.changed()

    def import_labels(self, path: Path) -> LabelImport:
        """Brings in labels that were exported here or elsewhere; twice changes nothing."""
        report = import_labels(self.store, path)
        self._worker.changed()
        return report

    def export(self, format: str, out: Path, *, link: bool = False) -> ExportReport:
        """Writes the labels with their provenance; raises UnknownAdapter, ProjectError."""
        adapter = load_adapter(exports, format, "export format")
        report: ExportReport = adapter.export(label_rows(self.store), out, project=self.project, link=link)
        return report

    def write_export(self, format: str, file: IO[str]) -> None:
        """The same into an open text file; raises InvalidInput for a format that is more than one file."""
        adapter = load_adapter(exports, format, "export format")
        if not hasattr(adapter, "write"):
            raise InvalidInput(
                f"The format {format} is more than one file, and cannot go to stdout. Name a place for it."
            )
        adapter.write(label_rows(self.store), file)

    # ------------------------------------------------------------------ health
    def doctor(self) -> list[Finding]:
        """The SQLite library, the database, the projection against a rebuild, the files against the rows."""
        return [*health.check(self.project.labels_db), *check_files(self.project, self.store)]

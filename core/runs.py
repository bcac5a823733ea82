"""Runs: many queries in the background, ahead of the annotator.

One worker thread a process. It follows the store: whenever the support set, the settings or the images
change, it works towards one prediction for every query image under the configuration in force, and it
goes on where it stopped after a crash, because everything it needs to know is in the store and in the
embedding cache.

After a change of the support set every query is scored at once from cached embeddings (one light
prediction each, so that the queue has its order); evidence and contributions follow, images about to be
shown first. A slow reasoner is asked last, in a lane of its own: its answers follow when they come.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import islice

from core.engine import Engine
from core.errors import NotReady, RagVisionError
from core.pipeline import is_slow
from core.reasoners import meanwhile
from core.reasoning_lane import ReasoningLane, put_first
from core.remembered_answers import RememberedAnswers, Remembering
from core.run_job import Job
from core.run_status import RunStatus, looking, what_is_missing
from core.scoring import FittedSupport
from core.settings import PipelineSettings
from core.standing_scores import StandingScores
from core.store import Store
from core.support_fit import calibrated_on_labels, calibration_rung, fit_support
from core.types import Reasoning, Status, SupportSet

log = logging.getLogger("ragvision.runs")

CHUNK = 8  # images between two looks at the priorities: about 0.1 s of work
SCORE_CHUNK = 128
KEPT_RUNS = 10  # older runs' predictions are deleted, save those that somebody decided on
LOOK_SECONDS = 5.0  # how often the store is looked at: another process (the command line) may have changed it
WORKER = "workbench"  # counts are asked for in some name


class RunWorker:
    """The background worker of one project. ``start`` and ``stop`` may be called again and again.

    ``compose`` makes the engine of a configuration (slow: it loads a model); ``settings`` gives those in
    force; ``announce`` says what loading them takes; ``prepare`` makes what the page will ask for of an image
    that is predicted. All public methods may be called from any thread and never wait for the worker's work.
    """

    def __init__(
        self,
        store: Store,
        *,
        settings: Callable[[], PipelineSettings],
        compose: Callable[[PipelineSettings], Engine],
        prepare: Callable[[str], None],
        code_version: str,
        announce: Callable[[PipelineSettings], str] = lambda settings: "",
    ) -> None:
        self._announce = announce
        self._store = store
        self._settings = settings
        self._compose = compose
        self._prepare = prepare
        self._code_version = code_version
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._urgent: dict[str, None] = {}
        self._changed = True
        self._status = RunStatus("idle", "The suggestions are not being computed.")
        self._engine: Engine | None = None
        self._job: Job | None = None
        self._standing: StandingScores | None = None
        self._speed: deque[tuple[float, int]] = deque(maxlen=50)
        self._looked = 0.0
        self._answers = RememberedAnswers()
        self._left_out: tuple[str, ...] = ()  # support images that cannot be read

    # ------------------------------------------------------------------ from other threads
    def start(self) -> None:
        """Starts the thread; no-op while it runs."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._stop.clear()
            self._changed = True
            self._thread = threading.Thread(target=self._run, name="runs", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread after the chunk in hand; what it computed is stored already."""
        self._stop.set()
        self._wake.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout=30)

    def changed(self) -> None:
        """Says that images, support or settings changed."""
        self._changed = True
        self._wake.set()

    def prioritise(self, images: Sequence[str]) -> None:
        """Asks for these first, in their order."""
        with self._lock:
            self._urgent = put_first(images, self._urgent)
        job = self._job
        if job is not None and job.lane is not None:
            job.lane.prioritise(images)
        self._wake.set()

    @property
    def status(self) -> RunStatus:
        """A snapshot of what the worker does."""
        status = self._status
        return looking(status) if self._changed else status

    @property
    def fitted(self) -> FittedSupport | None:
        """The support set as it was last fitted; None before the first fit."""
        job = self._job
        return None if job is None else job.fitted

    @property
    def engine(self) -> Engine | None:
        """The engine in use, for cached embeddings; None before it is loaded."""
        return self._engine

    def explanation_so_far(self, image: str) -> tuple[str | None, bool]:
        """What a slow reasoner has written on an image by now, and whether its answer is still to come."""
        job = self._job
        if job is None or job.lane is None:
            return None, False
        return job.lane.text_so_far(image), job.lane.is_expected(image)

    def heat_scale(self, run_id: int) -> float | None:
        """The contribution at which heatmaps of that run saturate; None where it is not known."""
        job = self._job
        if job is None or job.run_id != run_id:
            return None
        return job.fitted.heat_scale.get(job.engine.settings.recipe)

    # ------------------------------------------------------------------ the thread
    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._look_around()
                busy = self._step()
            except NotReady as error:
                self._drop_job()
                busy = self._embed_ahead()
                self._say("no_support", str(error))
            except RagVisionError as error:
                self._drop_job()
                busy = False
                self._say("failed", str(error))
            except OSError as error:  # the disk is full, the folder is gone
                log.exception("the run worker failed")
                self._drop_job()
                busy = False
                what = f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
                self._say(
                    "failed",
                    f"The suggestions could not be computed: {what}. Labelling goes on; it is tried again in a moment.",
                )
            except Exception:
                log.exception("the run worker failed")
                self._drop_job()
                busy = False
                self._say(
                    "failed",
                    "The suggestions could not be computed because of an internal error (details are in the "
                    "server's log). Labelling goes on; it is tried again in a moment.",
                )
            if not busy and not self._stop.is_set():
                self._wake.wait(LOOK_SECONDS)
                self._wake.clear()
        self._drop_job()
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        self._say("idle", "The suggestions are not being computed.")

    def _drop_job(self) -> None:
        """Lets go of the run in hand; an answer that its reasoner still works on is not waited for."""
        if self._job is not None and self._job.lane is not None:
            self._job.lane.stop()
        self._job = None

    def _look_around(self) -> None:
        """Now and then: did another process bring images in, or change the support set?"""
        job = self._job
        if job is None or time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        support = self._store.support_set()
        known = (job.images, job.support.version, job.support.classes)
        if (self._store.count_images(), support.version, support.classes) != known or job.engine.wanted_is_there():
            self._changed = True

    def _step(self) -> bool:
        """One chunk of work; False when there is nothing to do."""
        job = self._current_job()
        if job is None:
            return False
        urgent = self._take_urgent(job)
        if urgent:
            self._predict(job, urgent)
            return True
        if job.to_score:
            self._score_some(job)
            return True
        if job.to_predict:
            self._predict(job, list(islice(job.to_predict, CHUNK)))
            return True
        if not job.prepared:
            self._prepare_for_changes(job)
            job.prepared = True
        answered = job.lane is None or not job.lane.left  # until then the lane wakes this thread
        if answered and not job.finished:
            self._store.finish_run(job.run_id)
            self._store.prune_predictions(KEPT_RUNS)
            job.finished = True
        self._say_progress(job, "done" if answered else "computing")
        if self._calibration_is_due(job):
            tried = calibration_rung(self._store.counts(WORKER).labelled)
            self._new_job(job.engine.settings, job.support).calibration_tried = tried
            return True
        return False

    def _prepare_for_changes(self, job: Job) -> None:
        """While nobody waits: the next change of the support set then re-scores the whole queue at once."""
        standing = self._standing
        images = job.engine.cached(self._store.query_images())
        if not StandingScores.worth_it(len(images), len(job.fitted.classes)):
            self._standing = None
        elif standing is None or not standing.serves(job.engine, job.fitted) or not standing.covers(images):
            self._standing = None  # lets go of the memory before the new one takes it
            self._standing = StandingScores(job.engine, job.fitted, images)

    def _current_job(self) -> Job | None:
        job = self._job
        if job is not None and not self._changed:
            return job
        self._changed = False
        self._status = looking(self._status)
        if not self._store.count_images():
            self._drop_job()
            self._say("no_images", "There are no images yet. Import a folder or a zip on the Images page.")
            return None
        settings = self._settings()
        support = self._store.support_set()
        same = job is not None and job.engine.settings == settings and not job.engine.wanted_is_there()
        if (
            job is not None
            and same
            and (job.support.version, job.support.classes) == (support.version, support.classes)
        ):
            self._list_images(job)  # only images came or went
            return job
        if not same:
            self._drop_job()
            self._standing = job = None  # lets go of the old models before the new ones are loaded
        return self._new_job(settings, support)

    def _new_job(self, settings: PipelineSettings, support: SupportSet) -> Job:
        if len(support.classes) < 2:  # no need to load anything in order to say so
            raise NotReady(what_is_missing(support))
        engine = self._engine_for(settings)
        missing = what_is_missing(support, by_names=engine.reads_text)
        if missing:
            raise NotReady(missing)
        self._say("loading", f"Reading {len(support.images):,} support images.")
        fitted, self._left_out = fit_support(self._store, engine, support)
        fitted, labels = calibrated_on_labels(self._store, engine, fitted)
        provenance = {**asdict(settings), "basis": fitted.basis.id, "calibration_labels": labels}
        if fitted.text is not None:  # names and descriptions decide here: other words make another run
            provenance["class_texts"] = fitted.text.id
        run_id = self._store.start_run(
            encoder=engine.query_encoder.id,
            reasoner=engine.pipeline.reasoner.id,
            recipe=settings.recipe,
            settings_json=json.dumps(provenance, sort_keys=True),
            support_version=support.version,
            code_version=self._code_version,
        )
        self._drop_job()
        self._job = job = Job(engine, support, fitted, run_id, labels)
        if is_slow(engine.pipeline.reasoner):
            job.meanwhile = meanwhile(engine.pipeline.reasoner, settings)
            asked = Remembering(engine.pipeline.reasoner, settings, self._answers)
            job.lane = ReasoningLane(self._store, engine, fitted, run_id, asked, on_progress=self._wake.set)
        if self._standing is not None and self._standing.serves(engine, fitted):
            job.standing = self._standing.update(fitted)
        self._list_images(job)
        return job

    def _calibration_is_due(self, job: Job) -> bool:
        """Whether people have labelled twice as many images as the calibration rests on."""
        labelled = self._store.counts(WORKER).labelled
        return calibration_rung(labelled) > max(job.calibration_labels, job.calibration_tried)

    def _engine_for(self, settings: PipelineSettings) -> Engine:
        if self._engine is None or self._engine.settings != settings or self._engine.wanted_is_there():
            if self._engine is not None:
                self._engine.close()
                self._engine = None
            loading = f"Loading the encoder {settings.encoder} and the reasoner {settings.reasoner}."
            self._say("loading", f"{loading} {self._announce(settings)}".rstrip())
            self._engine = self._compose(settings)
        return self._engine

    def _list_images(self, job: Job) -> None:
        """Reads from the store what is still to be done under this run."""
        job.finished = job.prepared = False
        job.images = self._store.count_images()
        queries = self._store.query_images()
        # what could not be read is tried again: its file may have been put back
        complete = self._store.predicted_images(job.run_id) - {f.image for f in self._store.failed_images(job.run_id)}
        scored = self._store.predicted_images(job.run_id, complete=False)
        missing = [image for image in queries if image not in complete]
        job.total = len(queries)
        job.margins = {i: m for i, m in self._store.margins(job.run_id).items() if i not in complete}
        job.to_score = deque(job.engine.cached([i for i in missing if i not in scored]))
        job.to_predict = dict.fromkeys(sorted(missing, key=lambda i: job.margins.get(i, 2.0)))
        if job.lane is not None:
            job.lane.add(self._store.unreasoned(job.run_id))
        self._say_progress(job, "computing")

    def _embed_ahead(self) -> bool:
        """Without support nothing can be scored, but the images can be encoded meanwhile."""
        try:
            engine = self._engine_for(self._settings())
        except RagVisionError as error:
            log.warning("cannot encode ahead: %s", error)
            return False
        queries = self._store.query_images()
        missing = set(queries) - set(engine.cached(queries))
        todo = [i for i in queries if i in missing][: 8 * CHUNK]
        unusable = engine.embed_queries(todo)
        return len(unusable) < len(todo)

    # ------------------------------------------------------------------ work
    def _score_some(self, job: Job) -> None:
        chunk = [job.to_score.popleft() for _ in range(min(SCORE_CHUNK, len(job.to_score)))]
        known, standing = job.standing
        light = [job.scored(image, standing, known[image]) for image in chunk if image in known]
        rest = [image for image in chunk if image not in known]
        if rest:
            scores = job.engine.score(job.fitted, rest)
            light += [job.scored(image, scores, row) for row, image in enumerate(rest)]
        for prediction in light:
            job.margins[prediction.image] = prediction.margin if prediction.margin is not None else 2.0
        self._store.save_predictions(job.run_id, light)
        if not job.to_score:  # the order of the queue is known now: predict in that order
            job.to_predict = dict.fromkeys(sorted(job.to_predict, key=lambda i: job.margins.get(i, 2.0)))
        self._say_progress(job, "computing")

    def _take_urgent(self, job: Job) -> list[str]:
        with self._lock:
            wanted = [image for image in self._urgent if image in job.to_predict]
            self._urgent = dict.fromkeys(wanted[CHUNK:])
        return wanted[:CHUNK]

    def _predict(self, job: Job, chunk: Sequence[str]) -> None:
        records = self._store.images_by_id(set(chunk))
        began = time.monotonic()
        found = job.engine.predict(job.fitted, [records[i] for i in chunk], reasoner=job.meanwhile)
        if job.lane is not None:
            found = [replace(p, reasoning=Reasoning.PENDING) if p.status is Status.OK else p for p in found]
        self._store.save_predictions(job.run_id, found)
        if job.lane is not None:
            job.lane.add([p.image for p in found if p.reasoning is Reasoning.PENDING])
        self._speed.append((time.monotonic() - began, len(chunk)))
        for image in chunk:
            job.to_predict.pop(image, None)
            self._prepare(image)
        self._say_progress(job, "computing")

    # ------------------------------------------------------------------ saying
    def _say(self, state: str, sentence: str) -> None:
        settings = self._settings()
        self._status = RunStatus(
            state,
            sentence,
            total=self._status.total,
            encoder=settings.encoder,
            reasoner=settings.reasoner,
            recipe=settings.recipe,
        )

    def _say_progress(self, job: Job, state: str) -> None:
        self._status = job.status(state, self._speed, self._left_out)

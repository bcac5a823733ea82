"""One image asked about now: a bounded queue in front of a thread of its own, beside the background worker.

The answer equals the workbench's own prediction under the same settings, since it is made by the same engine on
the same fitted support set. Nothing is stored: neither the image nor what was found. A missing model is an error
here, never a stand-in: whoever asks names the model that is to answer.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any

from core.engine import Engine
from core.errors import Busy, InvalidSettings, NotReady, TookTooLong
from core.images import decode
from core.scoring import FittedSupport
from core.settings import ImageLimits, PipelineSettings
from core.store import Store
from core.store.access import WORKBENCH
from core.support_fit import calibrated_on_labels, calibration_rung, fit_support
from core.types import ClassRecord, ImageRecord, Prediction, QueryImage, SupportSet

log = logging.getLogger("ragvision.inference")

CAPACITY = 16  # requests that may wait
SECONDS = 120.0  # how long a caller waits at most, its place in the queue included
KEPT = 3  # configurations held ready; each may hold a model
LONGEST_ADVICE = 120  # seconds: the most that a refused caller is told to wait
_CLOSING_SECONDS = 10
# What decides an answer but not the fitted support set: another prompt must not fit everything anew.
_OF_THE_REASONER = (
    *("reasoner", "reasoner_model", "max_visual_tokens", "swap_options", "max_patches_per_class"),
    *("temperature", "top_p", "max_new_tokens", "system_prompt", "user_prompt"),
)
_KINDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


@dataclass(frozen=True, slots=True)
class InferenceResult:
    """What was found out about one image, and what is needed to show it.

    ``image`` is the sha256 of its bytes, ``width`` and ``height`` those of the upright image; ``classes`` are the
    active ones, ``support`` the records behind the evidence. ``ms`` has wait, prepare, predict and total.
    A reasoner that failed leaves ``prediction.status`` FAILED, with scores and evidence.
    """

    image: str
    width: int
    height: int
    prediction: Prediction
    classes: tuple[ClassRecord, ...]
    support: Mapping[str, ImageRecord]
    settings: PipelineSettings
    ms: Mapping[str, float]


@dataclass(eq=False, slots=True)
class _Job:
    image: bytes | str
    settings: PipelineSettings
    on_text: Callable[[str], None] | None
    future: Future[InferenceResult] = field(default_factory=Future)
    at: float = field(default_factory=time.monotonic)

    def say(self, image: str, text: str) -> None:
        """Hands on the explanation so far, as long as somebody waits for it."""
        if self.on_text is None or self.future.done():
            return
        try:
            self.on_text(text)
        except Exception:
            log.exception("whoever listens to an explanation failed")


def overridden(settings: PipelineSettings, overrides: Mapping[str, Any]) -> PipelineSettings:
    """``settings`` with ``overrides`` by name; raises InvalidSettings for a name or value that cannot be."""
    known = {f.name: type(f.default) for f in fields(PipelineSettings)}
    unknown = sorted(str(name)[:40] for name in overrides if name not in known)
    if unknown:
        raise InvalidSettings(f"There is no setting called {', '.join(unknown[:3])}. There are: {', '.join(known)}.")
    given = {name: _checked(name, value, known[name]) for name, value in overrides.items()}
    return replace(settings, **given)


def _checked(name: str, value: Any, kind: type[Any]) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise InvalidSettings(f"{name} is {str(value)[:40]!r}; it must be {_KINDS[kind]}.")
    return value


class InferenceService:
    """Answers single images. Safe to call from any thread; ``close`` it when done.

    ``settings`` gives those in force, ``limits`` what an image may be at most; ``compose`` makes the engine of a
    configuration (slow: it loads a model) and raises ModelUnavailable where the model is missing. At most
    ``capacity`` requests wait; whoever waits longer than ``seconds`` in all gets TookTooLong.
    """

    def __init__(
        self,
        store: Store,
        *,
        settings: Callable[[], PipelineSettings],
        compose: Callable[[PipelineSettings], Engine],
        limits: Callable[[], ImageLimits],
        capacity: int = CAPACITY,
        seconds: float = SECONDS,
    ) -> None:
        self._store, self._settings, self._compose, self._limits = store, settings, compose, limits
        self._capacity, self._seconds = capacity, seconds
        self._turn = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._busy_since: float | None = None  # with the request in hand
        self._closed = False
        self._thread: threading.Thread | None = None
        self._speed: deque[float] = deque(maxlen=20)  # seconds of the last requests, waiting left out
        self._engines: OrderedDict[PipelineSettings, Engine] = OrderedDict()
        self._fits: OrderedDict[tuple[Any, ...], FittedSupport] = OrderedDict()

    # ------------------------------------------------------------------ from other threads
    def submit(
        self,
        image: bytes | str,
        overrides: Mapping[str, Any] | None = None,
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Future[InferenceResult]:
        """Asks about an image: the bytes of a file, or the sha256 of a stored one.

        ``overrides`` are settings by name that differ from those in force. ``on_text`` is called with the
        explanation so far, from another thread, where the reasoner can stream it. A future that is cancelled
        before its turn costs nothing.

        Raises InvalidSettings, and Busy while the queue is full. The future raises an ImageError, NotFound,
        NotReady (nothing to compare with), ModelUnavailable, UnknownAdapter, InvalidSettings (what the encoder
        cannot do) or TookTooLong.
        """
        job = _Job(image, overridden(self._settings(), overrides or {}), on_text)
        with self._turn:
            if self._closed:
                raise NotReady("The workbench is being closed. Ask again when it is open.")
            self._refuse_if_stuck()
            self._waiting = deque(j for j in self._waiting if not j.future.done())
            if len(self._waiting) >= self._capacity:
                raise Busy(
                    f"{len(self._waiting)} requests wait already, as many as may. Try again in a moment.",
                    retry_after=self._advice(),
                )
            self._waiting.append(job)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
                self._thread.start()
            self._turn.notify()
        limit = threading.Timer(self._seconds, self._give_up, [job])
        limit.daemon = True
        job.future.add_done_callback(lambda _: limit.cancel())
        limit.start()
        return job.future

    def infer(self, image: bytes | str, overrides: Mapping[str, Any] | None = None) -> InferenceResult:
        """As :meth:`submit`, waiting for the answer."""
        return self.submit(image, overrides).result()

    def close(self) -> None:
        """Ends the thread after the request in hand; those that wait are told so."""
        with self._turn:
            self._closed = True
            left, self._waiting = list(self._waiting), deque()
            self._turn.notify_all()
            thread = self._thread
        for job in left:
            _fail(job, NotReady("The workbench was closed before it came to this image. Ask again when it is open."))
        if thread is not None:
            thread.join(_CLOSING_SECONDS)

    def _advice(self) -> int:
        mean = sum(self._speed) / len(self._speed) if self._speed else 1.0
        return min(LONGEST_ADVICE, max(1, math.ceil(mean * len(self._waiting))))

    def _refuse_if_stuck(self) -> None:
        """While the model hangs on one image, nobody else is let in to wait for nothing."""
        if self._busy_since is not None and time.monotonic() - self._busy_since > self._seconds:
            raise Busy(
                f"The model has been busy with one image for more than {self._seconds:g} seconds. Try again later; if "
                "it stays so, look at the model's server or start the workbench again.",
                retry_after=LONGEST_ADVICE,
            )

    def _give_up(self, job: _Job) -> None:
        _fail(
            job,
            TookTooLong(
                f"There was no answer within {self._seconds:g} seconds. Try again, with a smaller model or a shorter "
                "explanation (max_new_tokens) if it stays so."
            ),
        )

    # ------------------------------------------------------------------ the thread
    def _run(self) -> None:
        while (job := self._next()) is not None:
            began = time.monotonic()
            try:
                result = self._answer(job, began)
            except Exception as error:  # noqa: BLE001 - it is the caller's, who waits in another thread
                _fail(job, error)
            else:
                if not job.future.done():
                    _settle(job.future.set_result, result)
            finally:
                with self._turn:
                    self._busy_since = None
                    self._speed.append(time.monotonic() - began)
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()
        self._fits.clear()

    def _next(self) -> _Job | None:
        """The next job that somebody still waits for; None once the service is closed."""
        with self._turn:
            while not self._closed:
                while self._waiting:
                    job = self._waiting.popleft()
                    if not job.future.done() and _settle(job.future.set_running_or_notify_cancel):
                        self._busy_since = time.monotonic()
                        return job
                self._turn.wait()
        return None

    def _answer(self, job: _Job, began: float) -> InferenceResult:
        query = self._query(job.image)
        engine, fitted = self._ready(job.settings)
        prepared = time.monotonic()
        if isinstance(query, ImageRecord):
            key, width, height = query.sha256, query.width, query.height
            prediction = engine.predict(fitted, [query], on_text=job.say)[0]
        else:
            key, width, height = query.key, query.width, query.height
            prediction = engine.predict_unstored(fitted, query, on_text=job.say)
        ended = time.monotonic()
        return InferenceResult(
            image=key,
            width=width,
            height=height,
            prediction=prediction,
            classes=fitted.classes + fitted.without_images,
            support=self._store.images_by_id({e.support_image for e in prediction.evidence}),
            settings=job.settings,
            ms={
                "wait": _ms(began - job.at),
                "prepare": _ms(prepared - began),
                "predict": _ms(ended - prepared),
                "total": _ms(ended - job.at),
            },
        )

    def _query(self, image: bytes | str) -> QueryImage | ImageRecord:
        if isinstance(image, str):
            return self._store.image(image)
        # decoded here and not where it came in: what waits holds its bytes alone, not its pixels
        decoded = decode(image, "the image", self._limits())
        return QueryImage(
            decoded.sha256, "the image", decoded.width, decoded.height, load=partial(_same, decoded.image)
        )

    # ------------------------------------------------------------------ what is held ready
    def _ready(self, settings: PipelineSettings) -> tuple[Engine, FittedSupport]:
        support = self._store.support_set()
        engine = self._engines.get(settings)
        if engine is None:
            while len(self._engines) >= KEPT:  # before the next model is loaded
                self._engines.popitem(last=False)[1].close()
            engine = self._engines[settings] = self._compose(settings)
        self._engines.move_to_end(settings)
        return engine, self._fitted(engine, support)

    def _fitted(self, engine: Engine, support: SupportSet) -> FittedSupport:
        defaults: dict[str, Any] = {f.name: f.default for f in fields(PipelineSettings) if f.name in _OF_THE_REASONER}
        rung = calibration_rung(self._store.counts(WORKBENCH).labelled)
        key = (replace(engine.settings, **defaults), support.version, support.classes, rung)
        fitted = self._fits.get(key)
        if fitted is None:
            fitted, _ = fit_support(self._store, engine, support)
            fitted, _ = calibrated_on_labels(self._store, engine, fitted)
            self._fits[key] = fitted
            while len(self._fits) > KEPT:
                self._fits.popitem(last=False)
        self._fits.move_to_end(key)
        return fitted


def _same(image: Any) -> Any:
    return image


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _fail(job: _Job, error: BaseException) -> None:
    if not job.future.done():
        _settle(job.future.set_exception, error)


def _settle(change: Callable[..., Any], *values: Any) -> Any:
    """Changes a future that its owner may have cancelled, or the time limit ended, this very moment."""
    try:
        return change(*values)
    except InvalidStateError:
        return False

"""The slow reasoner's own thread: it answers on images whose scores and evidence are shown already.

Nothing waits for it: neither the next image, nor a key press, nor the end of the worker. Where it fails, the
scores stand and say why; where all of its answers fail, it is left alone for a while, longer each time, so that
ten thousand images are not marked as failed because a server was away for a minute.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice

from core.engine import Engine
from core.errors import RagVisionError
from core.ports import Reasoner
from core.reasoners import in_its_place
from core.scoring import FittedSupport
from core.store import Store
from core.types import Prediction, Reasoning

log = logging.getLogger("ragvision.reasoning")

TOGETHER = 4  # images asked about at once, where the reasoner does not say: more would keep an urgent one waiting
TRIES = 4
URGENT = 500  # images asked for first that are remembered
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 300.0  # seconds


def put_first(images: Sequence[str], urgent: dict[str, None]) -> dict[str, None]:
    """``images``, then those that were urgent before, each once; an ordered set of a bounded size."""
    return dict(islice({**dict.fromkeys(images), **urgent}.items(), URGENT))


class ReasoningLane:
    """One run's questions to its reasoner. Public methods may be called from any thread and never wait.

    ``reasoner`` is asked instead of the engine's own; ``on_progress`` is called from the lane's thread after each
    answer.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        fitted: FittedSupport,
        run_id: int,
        reasoner: Reasoner,
        *,
        on_progress: Callable[[], None],
    ) -> None:
        self._store, self._engine, self._fitted, self._run_id = store, engine, fitted, run_id
        self._reasoner, self._on_progress = reasoner, on_progress
        self._together = int(getattr(reasoner, "together", TOGETHER))
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._waiting: dict[str, None] = {}  # an ordered set
        self._urgent: dict[str, None] = {}
        self._asked: tuple[str, ...] = ()  # in hand
        self._tries: dict[str, int] = {}
        self._texts: dict[str, str] = {}
        self._speed: deque[tuple[float, int]] = deque(maxlen=20)
        self._in_vain = 0  # times in a row that nothing but failures came
        self._trouble = ""

    # ------------------------------------------------------------------ from other threads
    def add(self, images: Sequence[str]) -> None:
        """Asks about these as well, in their order; those that failed too often are left out."""
        with self._lock:
            self._waiting |= dict.fromkeys(i for i in images if self._tries.get(i, 0) < TRIES and i not in self._asked)
            if self._waiting and self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="reasoning", daemon=True)
                self._thread.start()
        self._wake.set()

    def prioritise(self, images: Sequence[str]) -> None:
        """Asks for these first."""
        with self._lock:
            self._urgent = put_first(images, self._urgent)
        self._wake.set()

    def stop(self) -> None:
        """Ends the thread after the answer in hand, which is not stored any more; never waits for it."""
        self._stopped.set()
        self._wake.set()

    @property
    def left(self) -> int:
        """Images without an answer, those in hand included."""
        with self._lock:
            return len(self._waiting) + len(self._asked)

    @property
    def given_up(self) -> int:
        """Images whose answer failed too often."""
        with self._lock:
            return sum(tries >= TRIES for tries in self._tries.values())

    @property
    def trouble(self) -> str:
        """Why no answer comes just now; empty while answers come."""
        return self._trouble

    @property
    def seconds_per_answer(self) -> float | None:
        """Of late; None before the first answer."""
        spent, answers = sum(s for s, _ in self._speed), sum(n for _, n in self._speed)
        return spent / answers if answers else None

    @property
    def seconds_left(self) -> float | None:
        """Until the last answer at the speed of late; None where there is none to come or the speed is not known."""
        each = self.seconds_per_answer
        return each * self.left if each is not None and self.left else None

    def text_so_far(self, image: str) -> str | None:
        """What the reasoner has written of this image's explanation; None while it writes nothing."""
        return self._texts.get(image)

    def is_expected(self, image: str) -> bool:
        """Whether an answer on this image is still to come."""
        with self._lock:
            return image in self._waiting or image in self._asked

    # ------------------------------------------------------------------ the thread
    def _run(self) -> None:
        while not self._stopped.is_set():
            chunk = self._next()
            if not chunk:
                self._wake.wait()
                self._wake.clear()
                continue
            began = time.monotonic()
            try:
                answers = self._ask(chunk)
            except RagVisionError as error:
                answers, self._trouble = [], str(error)
            except Exception:
                if self._stopped.is_set():  # the engine was closed meanwhile
                    return
                log.exception("the reasoner's lane failed")
                answers, self._trouble = [], "it failed with an internal error; the server's log has the details."
            if self._stopped.is_set():
                return
            good = [p.image for p in answers if p.reasoning is not Reasoning.FAILED]
            if good:
                self._speed.append((time.monotonic() - began, len(good)))
            self._settle(chunk, good, [p.reason for p in answers if p.reasoning is Reasoning.FAILED])
            self._on_progress()
            if self._in_vain:
                self._pause()

    def _next(self) -> tuple[str, ...]:
        with self._lock:
            first = [i for i in self._urgent if i in self._waiting][: self._together]
            rest = (i for i in self._waiting if i not in first)
            chosen = (*first, *(i for i, _ in zip(rest, range(self._together - len(first)), strict=False)))
            for image in chosen:
                self._waiting.pop(image, None)
                self._urgent.pop(image, None)
            self._asked = chosen
        return chosen

    def _settle(self, chunk: Sequence[str], good: Sequence[str], reasons: Sequence[str]) -> None:
        """What was answered is done; what failed comes again, after all others."""
        done = set(good)
        with self._lock:
            self._asked = ()
            for image in chunk:
                self._texts.pop(image, None)
                if image in done:
                    self._tries.pop(image, None)
                    continue
                self._tries[image] = self._tries.get(image, 0) + 1
                if self._tries[image] < TRIES:
                    self._waiting[image] = None
        if good:
            self._in_vain, self._trouble = 0, ""
        else:
            self._in_vain += 1
            self._trouble = reasons[0] if reasons else self._trouble

    def _pause(self) -> None:
        seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self._in_vain - 1))
        self._stopped.wait(seconds)

    def _ask(self, chunk: Sequence[str]) -> list[Prediction]:
        records = self._store.images_by_id(set(chunk))
        present = [i for i in chunk if i in records]
        wanted = [records[i] for i in present]
        told = self._engine.predict(self._fitted, wanted, reasoner=self._reasoner, on_text=self._heard)
        if self._stopped.is_set():
            return []
        shown = self._store.predictions(self._run_id, present)
        answers = [_settled(p, shown[p.image][1] if p.image in shown else None) for p in told]
        self._store.save_predictions(self._run_id, answers)
        return answers

    def _heard(self, image: str, text: str) -> None:
        if image in self._asked:
            self._texts[image] = text


def _settled(answer: Prediction, shown: Prediction | None) -> Prediction:
    """The answer; where it failed, what is shown already, with why there is no answer."""
    if answer.reasoning is not Reasoning.FAILED or shown is None or shown.contributions is None:
        return answer
    return replace(
        shown,
        reasoning=Reasoning.FAILED,
        reasoner=in_its_place(answer.reasoner, "no answer of"),
        reason=answer.reason,
        transcript=answer.transcript,
        prompt=answer.prompt,
        ms={**shown.ms, **answer.ms},
    )

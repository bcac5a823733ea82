"""A reasoner whose model is loaded when it is first asked: scores and evidence do not wait for gigabytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from core.errors import ReasoningFailed
from core.ports import Reasoner, ReasonRequest
from core.types import Answer


class Deferred:
    """Loads by ``load`` in the thread that asks first; until then ``id`` is the one that it is going to have.

    Where loading fails, asking raises ModelUnavailable, and the next time it is tried again. Once closed it loads
    nothing any more and asking raises ReasoningFailed: another model may be on its way into the same memory.
    """

    slow = True

    def __init__(self, id: str, prompt_version: str, memory: str, source: object, load: Callable[[], Reasoner]) -> None:
        self._id, self.prompt_version, self.memory, self.source = id, prompt_version, memory, source
        self._load, self._lock = load, threading.Lock()
        self._loading = self._closed = False
        self.loaded: Reasoner | None = None

    @property
    def id(self) -> str:
        """Of the model in memory, which may have found less room than was planned with."""
        loaded = self.loaded  # once: it may be closed this very moment
        return self._id if loaded is None else loaded.id

    @property
    def device(self) -> str:
        """Where it runs; empty until it is loaded."""
        return str(getattr(self.loaded, "device", ""))

    @property
    def note(self) -> str:
        """Said while it is being loaded."""
        return f"Its model is being loaded: {self.memory}" if self._loading else ""

    def reason(self, request: ReasonRequest) -> Answer:
        """The model's answer."""
        return self.reason_batch([request])[0]

    def reason_batch(self, requests: Sequence[ReasonRequest]) -> list[Answer]:
        """The model's answers, in order."""
        model: Any = self._model()
        answers: list[Answer] = model.reason_batch(requests)
        return answers

    def _model(self) -> Reasoner:
        with self._lock:
            if self._closed:
                raise ReasoningFailed("The model was put away, since the settings are others now.")
            loaded = self.loaded
            if loaded is None:
                self._loading = True
                try:
                    loaded = self._load()
                finally:
                    self._loading = False
                self.loaded = None if self._closed else loaded
            return loaded

    def close(self) -> None:
        """Uses the model no longer. It stays in memory until another needs the room: settings may come back."""
        self._closed, self.loaded = True, None  # without the lock: whoever is loading is not waited for

"""An explanation while it is being written: told a few times a second, and never at the cost of the answer."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection

from core.reasoning import explained

log = logging.getLogger("ragvision.reasoning")

_LEAST = 0.1  # seconds between two calls: more are not seen, and each may cost a write


class Telling:
    """Calls ``on_text`` with the explanation so far, fit to show, at most ten times a second.

    Where ``on_text`` raises, it is not called again; the answer does not depend on it.
    """

    def __init__(
        self,
        on_text: Callable[[str], None] | None,
        numbers: Collection[int] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._on_text, self._numbers, self._clock = on_text, numbers, clock
        self._next = float("-inf")
        self._told = ""

    @property
    def wanted(self) -> bool:
        """Whether anybody listens."""
        return self._on_text is not None

    @property
    def due(self) -> bool:
        """Whether a call would be made now: decoding what nobody is told costs time."""
        return self._on_text is not None and self._clock() >= self._next

    def __call__(self, text: str) -> None:
        """``text`` is the whole explanation so far."""
        if self._on_text is None or not self.due:
            return
        shown = explained(text, self._numbers)[0]
        if not shown or shown == self._told:
            return
        self._told = shown
        self._next = self._clock() + _LEAST
        try:
            self._on_text(shown)
        except Exception:
            log.exception("an explanation could not be shown while it was written")
            self._on_text = None

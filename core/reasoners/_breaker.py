"""Leaving a server alone that fails: after some failures in a row nobody waits for it for a while.

The libraries for this (pybreaker, circuitbreaker, purgatory) have a fixed cool-down and do not tell how much of it
is left, which the sentence on the screen says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Breaker:
    """Closed until ``most`` failures in a row; then refuses for a cool-down that doubles with every failed probe.

    Whoever is let through (:meth:`refused_for` gave 0) reports :meth:`succeeded` or :meth:`failed`. Times in seconds.
    """

    def __init__(
        self,
        *,
        most: int = 5,
        cool_down: float = 10.0,
        longest: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most, self._first, self._longest, self._clock = most, cool_down, longest, clock
        self._lock = threading.Lock()
        self._failures = 0
        self._cool_down = cool_down
        self._opens_at: float | None = None  # None: closed
        self._probing = False

    @property
    def failures(self) -> int:
        """How many there were in a row."""
        return self._failures

    def refused_for(self) -> float:
        """0 for whoever may go on; else the seconds until somebody may. After the cool-down one is let through."""
        with self._lock:
            if self._opens_at is None:
                return 0.0
            left = self._opens_at - self._clock()
            if left > 0:
                return left
            if self._probing:
                return 1.0  # the answer to the probe is not known yet
            self._probing = True
            return 0.0

    def succeeded(self) -> None:
        """The server answers: everything is as at the start."""
        with self._lock:
            self._failures, self._cool_down, self._opens_at, self._probing = 0, self._first, None, False

    def failed(self) -> None:
        """One more failure; those of calls that began before it was left alone change nothing."""
        with self._lock:
            if self._opens_at is not None and not self._probing:
                return
            self._failures += 1
            if self._probing:
                self._cool_down = min(self._longest, 2 * self._cool_down)
            if self._probing or self._failures >= self._most:
                self._opens_at = self._clock() + self._cool_down
            self._probing = False

"""How many requests one token, or one address, may send: a token bucket each.

No library: those that are kept (limits, pyrate-limiter) count in windows without a burst of their own, start a
thread or keep every request's time, and neither bounds how many callers are remembered.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from core.errors import InvalidInput

VARIABLE: Final = "RAGVISION_RATE_LIMIT"
# The hot loop and its pictures: an annotator at 20 keys a second sends 20 decisions, 20 previews and some thumbnails
# of evidence a second. Twenty times the rate is 200 requests a second, and more than one person's keys.
HOT_FACTOR: Final = 20
REMEMBERED: Final = 10_000  # callers; those heard of least lately are forgotten, which gives them a full bucket


@dataclass(frozen=True, slots=True)
class Rate:
    """``per_minute`` requests in the long run, ``burst`` at once."""

    per_minute: int = 600
    burst: int = 120

    def times(self, factor: int) -> Rate:
        """The rate of something that happens ``factor`` times as often."""
        return Rate(self.per_minute * factor, self.burst * factor)


def configured_rate() -> Rate | None:
    """``RAGVISION_RATE_LIMIT``: ``600``, ``600/120`` (a minute/at once) or ``off``; None for no limit. InvalidInput."""
    text = os.environ.get(VARIABLE, "").strip().lower()
    if not text:
        return Rate()
    if text == "off":
        return None
    found = re.fullmatch(r"([0-9]{1,7})(?:/([0-9]{1,7}))?", text)
    if found is None or int(found[1]) < 1 or int(found[2] or 1) < 1:
        raise InvalidInput(
            f"{VARIABLE} is {text!r}; it must be requests a minute (600), with how many at once (600/120), or off."
        )
    per_minute = int(found[1])
    return Rate(per_minute, int(found[2]) if found[2] else max(1, per_minute // 5))


class Buckets:
    """A bucket a key, each of the same rate. For one thread: the event loop's."""

    def __init__(
        self, rate: Rate, *, clock: Callable[[], float] = time.monotonic, remembered: int = REMEMBERED
    ) -> None:
        self._rate, self._clock, self._remembered = rate, clock, remembered
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()  # when the bucket would be full again

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, key: Hashable) -> int:
        """0 where the request may go on, else the whole seconds to wait."""
        wait = self._wait(key)
        if wait > 0:
            return math.ceil(wait)
        self._full_at[key] = max(self._full_at.get(key, 0.0), self._clock()) + self._seconds_each
        self._full_at.move_to_end(key)
        while len(self._full_at) > self._remembered:
            self._full_at.popitem(last=False)
        return 0

    def wait(self, key: Hashable) -> int:
        """As :meth:`take`, taking nothing."""
        return math.ceil(self._wait(key))

    @property
    def _seconds_each(self) -> float:
        return 60 / self._rate.per_minute

    def _wait(self, key: Hashable) -> float:
        """One request empties the bucket by what takes ``_seconds_each`` to fill again; it holds ``burst`` of them."""
        missing = max(0.0, self._full_at.get(key, 0.0) - self._clock())
        # a hair's breadth: the sum of many small steps must not make the last request of a burst wait
        return max(0.0, missing + self._seconds_each - self._rate.burst * self._seconds_each - 1e-6)


class RateLimit:
    """The buckets of one server: calls, the hot loop, and those who gave no token."""

    def __init__(self, rate: Rate, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._calls = Buckets(rate, clock=clock)
        self._hot = Buckets(rate.times(HOT_FACTOR), clock=clock)
        self._strangers = Buckets(rate, clock=clock)

    def call(self, key: Hashable, *, hot: bool) -> int:
        """A request of somebody who is known: 0, or the seconds to wait."""
        return (self._hot if hot else self._calls).take(key)

    def stranger(self, address: str) -> int:
        """A request that is refused for want of a token."""
        return self._strangers.take(address)

    def may_guess(self, address: str) -> int:
        """Whether a token is still compared with the one that somebody made up."""
        return self._strangers.wait(address)

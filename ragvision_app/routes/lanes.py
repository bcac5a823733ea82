"""Lanes for blocking work: a slow kind of request can only keep its own kind waiting.

Everything in one pool of threads would let thirty previews or one export hold up a decision.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

P = ParamSpec("P")
T = TypeVar("T")


class Lane:
    """At most ``width`` calls of this kind at a time, each in a thread of its own."""

    def __init__(self, width: int) -> None:
        self._limiter = CapacityLimiter(width)

    async def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs ``call`` off the event loop; waits only behind calls of the same lane."""
        return await to_thread.run_sync(partial(call, *args, **kwargs), limiter=self._limiter)


class Lanes:
    """The lanes of one API."""

    def __init__(self) -> None:
        self.decisions = Lane(8)  # short writes; SQLite orders them
        self.queue = Lane(4)
        self.images = Lane(4)  # decoding and resizing: more than a few only compete for the cores
        self.records = Lane(2)  # lists and exports, which may take seconds
        self.uploads = Lane(2)  # an image is decoded and written
        self.inference = Lane(2)  # only puts requests into the queue
        self.health = Lane(1)

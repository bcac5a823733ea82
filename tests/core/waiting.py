"""Waiting for what another thread does."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait(until: Callable[[], bool], seconds: float = 60) -> None:
    """Returns once ``until`` is true; fails after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)

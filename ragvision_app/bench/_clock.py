"""Timing two ways of doing the same, turn by turn, so that a busy moment of the machine meets both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], n: int) -> tuple[float, float]:
    """Median milliseconds of ``ours`` and ``theirs`` over ``n`` turns, after one turn of warm-up."""
    taken: tuple[list[float], list[float]] = [], []
    for turn in range(n + 1):
        for times, work in zip(taken, (ours, theirs), strict=True):
            spent = seconds(work)
            if turn:
                times.append(spent * 1000)
    return statistics.median(taken[0]), statistics.median(taken[1])

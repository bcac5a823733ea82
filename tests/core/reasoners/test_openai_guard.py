"""Deadline and waits below the client, where a real server would make a test wait."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from core.reasoners._guard import OutOfTime, _Bounded, asked_to_wait


class Stalled(httpx2.SyncByteStream):
    """A body that stops coming, over a connection that can be cut."""

    def __init__(self) -> None:
        self.cut = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield b"some"
        if self.cut.wait(20):
            raise httpx2.ReadError("cut")
        yield b"late"

    def get_extra_info(self, name: str) -> Stalled:
        return self

    def shutdown(self, how: int) -> None:
        self.cut.set()


def test_a_body_that_stops_coming_is_cut_off_at_the_deadline() -> None:
    stalled = Stalled()
    with pytest.raises(OutOfTime):
        list(_Bounded(stalled, time.monotonic() + 0.05, stalled))
    assert stalled.cut.is_set(), "it was not waited for"


def test_a_body_in_time_is_left_alone() -> None:
    stalled = Stalled()
    body = iter(_Bounded(stalled, time.monotonic() + 60, stalled))
    assert next(body) == b"some"
    body.close()  # type: ignore[attr-defined]
    assert not stalled.cut.is_set() and not any(t.name.startswith("Timer") for t in threading.enumerate())


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2", 2.0), ("0.5", 0.5), ("-3", 0.0), ("soon", None), ("", None), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)
def test_how_long_a_server_asks_to_wait(value: str, expected: float | None) -> None:
    assert asked_to_wait(httpx2.Headers({"retry-after": value})) == expected


def test_a_date_to_come_back_at_is_a_wait() -> None:
    later = email.utils.formatdate(time.time() + 90, usegmt=True)
    assert 60 < (asked_to_wait(httpx2.Headers({"Retry-After": later})) or 0) <= 90

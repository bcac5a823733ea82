"""What stands between the ``openai`` client and the network: a deadline, a limit of bytes, and no way elsewhere.

The client's own time-out is one of a single read, and its waits between attempts know nothing of a deadline: a server
that drips, or asks to come back in a minute, would hold a worker for as long as it likes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
from openai import OpenAIError

MOST_BYTES = 4_000_000  # of one answer: a completion with 20 log-probabilities a token has some kilobytes
_CONNECT = 10.0  # seconds
_LEAST_WAIT = 1.0  # seconds: the client's own first wait between attempts is half of it or more

deadline: ContextVar[float] = ContextVar("deadline")  # of the answer that is being had, as time.monotonic()


class OutOfTime(OpenAIError):
    """The deadline passed. An error of the client's own kind is handed on without another attempt."""


class TooLarge(OpenAIError):
    """More bytes than any answer has."""


class Encoded(OpenAIError):
    """Compressed, although nobody asked for it: a few bytes could become gigabytes."""


class Guard(httpx2.BaseTransport):
    """A transport that holds the deadline of the context for every attempt, and for the waits between them."""

    def __init__(self, inner: httpx2.BaseTransport | None = None) -> None:
        self._inner = inner or httpx2.HTTPTransport()
        self._streams: weakref.WeakSet[Any] = weakref.WeakSet()  # the network's, of connections that may be open

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The response; its stream ends at the deadline and at the limit of bytes."""
        until = deadline.get()
        left = until - time.monotonic()
        if left <= 0:
            raise OutOfTime
        times = {"connect": min(_CONNECT, left), "read": left, "write": left, "pool": left}
        request.extensions = {**request.extensions, "timeout": times, "trace": self._watch}
        request.headers["Accept-Encoding"] = "identity"
        try:
            response = self._inner.handle_request(request)
        except httpx2.TimeoutException:
            if time.monotonic() + _LEAST_WAIT >= until:
                raise OutOfTime from None
            raise
        if response.headers.get("content-encoding", "identity") != "identity":
            response.close()
            raise Encoded
        if response.status_code >= 400 and _asks_to_wait(response) > until - time.monotonic():
            response.headers["x-should-retry"] = "false"  # understood by the client: it would sleep past the deadline
        network = response.extensions.get("network_stream")
        response.stream = _Bounded(response.stream, until, network)  # type: ignore[arg-type]  # sync, as was asked for
        return response

    def _watch(self, event: str, info: Mapping[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._streams.add(info["return_value"])
            _keep_to_the_deadline(info["return_value"])

    def close(self) -> None:
        """Closes the connections; who waits for an answer on one is woken, which closing alone does not do."""
        for stream in list(self._streams):
            _cut(stream)
        self._inner.close()


class _Bounded(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream, until: float, network: Any) -> None:
        self._inner, self._until, self._network = inner, until, network

    def __iter__(self) -> Iterator[bytes]:
        # A read that has begun waits as long as the first one might; the socket's end is what wakes it in time.
        timer = threading.Timer(max(0.0, self._until - time.monotonic()), _cut, [self._network])
        timer.daemon = True
        timer.start()
        seen = 0
        try:
            for chunk in self._inner:
                seen += len(chunk)
                if seen > MOST_BYTES:
                    raise TooLarge
                yield chunk
        except httpx2.TransportError:
            if time.monotonic() >= self._until:
                raise OutOfTime from None
            raise
        finally:
            timer.cancel()
        if time.monotonic() >= self._until:
            raise OutOfTime

    def close(self) -> None:
        self._inner.close()


def _keep_to_the_deadline(stream: Any) -> None:
    """Has every read on a connection end at the deadline of the answer that it is for.

    A time-out of reads begins anew with every byte, so that headers that drip would be waited for without end.
    """
    plain = stream.read

    def read(most: int, timeout: float | None = None) -> Any:
        return plain(most, max(0.001, deadline.get() - time.monotonic()))

    stream.read = read


def _cut(network: Any) -> None:
    sock = network.get_extra_info("socket") if network is not None else None
    if sock is not None:
        with contextlib.suppress(OSError):  # it may be closed already
            sock.shutdown(socket.SHUT_RDWR)


def asked_to_wait(headers: httpx2.Headers) -> float | None:
    """Seconds that ``Retry-After`` names, as a number or a date; None where there is none."""
    text = headers.get("retry-after", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _asks_to_wait(response: httpx2.Response) -> float:
    asked = asked_to_wait(response.headers)
    return _LEAST_WAIT if asked is None else asked

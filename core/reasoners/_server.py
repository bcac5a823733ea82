"""One OpenAI-compatible server, shared by all reasoners of the process: its client, what it lacks, how it has fared."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, TypeVar

import httpx2
import openai
from PIL import Image

from core.errors import ReasoningFailed
from core.reasoners._breaker import Breaker
from core.reasoners._chat import (
    NoCompletion,
    Said,
    Stream,
    decoded,
    error_message,
    image_part,
    read,
    shown,
    text_part,
)
from core.reasoners._connection import BASE_URL, KEY, MODEL, Connection, model_name
from core.reasoners._guard import Encoded, Guard, OutOfTime, TooLarge, asked_to_wait, deadline

log = logging.getLogger("ragvision.reasoning")

_RETRIES = 2  # after the first attempt, with the client's own growing waits between them
_LOOK_AGAIN = 300.0  # seconds after which a server that did not see pictures is tried again
_LISTED = 8  # models named in a sentence
T = TypeVar("T")
_begun: ContextVar[int] = ContextVar("begun")  # how often the server had been closed when this answer began


class Refused(ReasoningFailed):
    """The server is well and does not take this request: perhaps it lacks a field of it."""


class Server:
    """Raises ReasoningFailed with a sentence for a person, whatever happens; nothing is asked before it is needed."""

    def __init__(self, at: Connection, breaker: Breaker | None = None) -> None:
        self.at = at
        self.way = 0  # how it is asked for a class: see core/reasoners/openai.py
        self.note = ""  # what it lacks, for the screen
        self._breaker = breaker or Breaker()
        self._slots = threading.BoundedSemaphore(at.concurrency)
        self._lock = threading.Lock()  # the first contact is one thread's
        self._client: openai.OpenAI | None = None
        self._users = 0
        self._closings = 0
        self._model = at.model
        self._sees: bool | None = None
        self._look_again = 0.0
        self._last_failure = ""
        self.counts_tokens = True

    # ------------------------------------------------------------------ who it is
    @property
    def place(self) -> str:
        """host:port"""
        return self.at.place

    @property
    def model_name(self) -> str:
        """What the model is called on the screen; empty as long as the server has not been asked for its only one."""
        return model_name(self._model)

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Around one whole answer: it has ``timeout`` seconds, and no more than ``concurrency`` are had at a time."""
        until = time.monotonic() + self.at.timeout
        if not self._slots.acquire(timeout=self.at.timeout):
            raise ReasoningFailed(f"The model server at {self.place} was busy for {self.at.timeout:g} s.")
        before, begun = deadline.set(until), _begun.set(self._closings)
        try:
            yield
        finally:
            deadline.reset(before)
            _begun.reset(begun)
            self._slots.release()

    def ready(self) -> None:
        """Before the first answer: which model, and does it see pictures? Both are remembered."""
        if self._model and self._sees:
            return
        if not self._lock.acquire(timeout=max(0.0, deadline.get() - time.monotonic())):
            raise ReasoningFailed(f"The model server at {self.place} did not answer within {self.at.timeout:g} s.")
        try:
            if not self._model:
                self._model = self._only_model()
            if self._sees is None or (not self._sees and time.monotonic() >= self._look_again):
                self._sees = self._counts_pictures()
                self._look_again = time.monotonic() + _LOOK_AGAIN
        finally:
            self._lock.release()
        if not self._sees:
            raise ReasoningFailed(
                f"The server at {self.place} drops pictures: a prompt to {self.model_name} has no more tokens with a "
                "picture than without one. Serve a model for images and text, with its image processor."
            )

    def _only_model(self) -> str:
        body = self._sent(lambda client: _json(client.models.with_raw_response.list()))
        listed = body.get("data") if isinstance(body, Mapping) else None
        names = [m["id"] for m in listed or () if isinstance(m, Mapping) and isinstance(m.get("id"), str)]
        if len(names) == 1:
            return str(names[0])
        told = ", ".join(shown(name, 80) for name in names[:_LISTED])
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        raise ReasoningFailed(
            f"Which model of the server at {self.place}? Set reasoner_model or {MODEL}. "
            + (f"It has: {told}{more}." if names else "It lists none.")
        )

    def _counts_pictures(self) -> bool:
        """Whether a prompt grows with a picture. A server that counts no tokens gets the benefit of the doubt."""
        text = text_part("What is this? Answer with one word.")
        picture = image_part(Image.new("RGB", (112, 112), (40, 120, 200)))
        counted = []
        for content in ([text], [text, picture]):
            asked = {"messages": [{"role": "user", "content": content}], "max_tokens": 1, "temperature": 0.0}
            counted.append(self.complete(asked).prompt_tokens)
        bare, shown_one = counted
        self.counts_tokens = bare is not None and shown_one is not None
        if bare is None or shown_one is None:
            log.warning("the server at %s counts no tokens: whether it sees pictures is not known", self.place)
            return True
        return shown_one > bare

    # ------------------------------------------------------------------ asking
    def complete(self, asked: Mapping[str, Any], on_text: Callable[[str], None] | None = None) -> Said:
        """One chat completion of ``asked`` (fields of the request, less the model); streamed where somebody listens."""
        fields, extra = dict(asked), dict(asked.get("extra_body", {}))
        fields.pop("extra_body", None)

        def send(client: openai.OpenAI) -> Said:
            create: Any = client.chat.completions
            if on_text is None:
                return read(_json(create.with_raw_response.create(model=self._model, extra_body=extra, **fields)))
            with create.create(model=self._model, extra_body=extra, stream=True, **fields) as events:
                return _streamed(events, lambda text: on_text(self.at.without_key_so_far(text)))

        said = self._sent(send)
        clean = self.at.without_key
        return Said(clean(said.text), said.first, said.prompt_tokens)

    def _sent(self, send: Callable[[openai.OpenAI], T]) -> T:
        closings = _begun.get()
        if closings != self._closings:
            raise ReasoningFailed(f"The connection to the model server at {self.place} was closed meanwhile.")
        wait = self._breaker.refused_for()
        if wait:
            raise ReasoningFailed(
                f"The model server at {self.place} failed {self._breaker.failures} times in a row and is left alone "
                f"for {wait:.0f} s. {self._last_failure}"
            )
        healthy = False
        try:
            result = send(self._connected())
            healthy = True
            return result
        except NoCompletion as error:
            raise ReasoningFailed(self._told(f"The model server at {self.place} {error}")) from None
        except ReasoningFailed as error:  # the model's doing
            healthy = True
            raise ReasoningFailed(self._told(str(error), remember=False)) from None
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            healthy = True
            raise Refused(self._told(self._sentence(error), remember=False)) from None
        except openai.OpenAIError as error:  # its text may hold anything that the server sent
            raise ReasoningFailed(self._told(self._sentence(error))) from None
        except (httpx2.HTTPError, httpx2.StreamError):
            raise ReasoningFailed(
                self._told(f"The connection to the model server at {self.place} broke off.")
            ) from None
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            log.info("what the server at %s sent cannot be read: %s", self.place, type(error).__name__)
            raise ReasoningFailed(self._told(f"What the model server at {self.place} sent cannot be read.")) from None
        finally:
            if healthy:
                self._breaker.succeeded()
            elif closings == self._closings:  # else it was we who ended the call
                self._breaker.failed()

    def _told(self, sentence: str, remember: bool = True) -> str:
        sentence = self.at.without_key(sentence)
        if remember:
            self._last_failure = sentence
        return sentence

    def _sentence(self, error: openai.OpenAIError) -> str:
        """What went wrong with the server, and what to do; never its address in full, never the key."""
        server = f"The model server at {self.place}"
        if isinstance(error, OutOfTime | openai.APITimeoutError):
            return f"{server} did not answer within {self.at.timeout:g} s."
        if isinstance(error, TooLarge):
            return f"{server} sent far more than an answer has; the rest was not read."
        if isinstance(error, Encoded):
            return f"{server} sent a compressed answer, which was not asked for."
        if isinstance(error, openai.APIStatusError):
            return f"{server} {_status_words(error, self.model_name)}"
        if isinstance(error, openai.APIConnectionError):
            cause = shown(str(error.__cause__ or ""), 80)
            return f"{server} cannot be reached{f' ({cause})' if cause else ''}."
        return f"{server} {_error_words(error)}"

    def _connected(self) -> openai.OpenAI:
        if self._client is None or self._client.is_closed():
            with _lock:
                if self._client is None or self._client.is_closed():
                    self._client = openai.OpenAI(
                        api_key=self.at.key or "none",  # servers without keys take anything
                        base_url=self.at.base_url,
                        max_retries=_RETRIES,
                        timeout=self.at.timeout,
                        http_client=httpx2.Client(transport=Guard(), follow_redirects=False),
                    )
        return self._client

    def join(self) -> None:
        """One more reasoner asks it."""
        with _lock:
            self._users += 1

    def leave(self) -> None:
        """One reasoner less. After the last the connections are closed, also those on which an answer is waited for."""
        with _lock:
            self._users -= 1
            if self._users:
                return
            client, self._client = self._client, None
            self._closings += 1
        if client is not None:
            client.close()


def _json(raw: Any) -> Any:
    response = raw.http_response
    return decoded(response.content, response.headers.get("content-type", ""))


def _streamed(events: Any, on_text: Callable[[str], None]) -> Said:
    """The events of a stream; a server that does not stream sends the whole at once."""
    response = events.response
    kind = response.headers.get("content-type", "")
    if "event-stream" not in kind:
        return read(decoded(response.read(), kind))
    stream = Stream()
    for event in events:
        if stream.add(event.to_dict() if hasattr(event, "to_dict") else event):
            on_text(stream.text)
    return stream.said()


def _status_words(error: openai.APIStatusError, model: str) -> str:
    status, said = error.status_code, error_message(error.body)
    words = f": {said.rstrip('.')}" if said else ""
    if status in (401, 403):
        return f"refused the key in {KEY} ({status}){words}."
    if status == 404:
        return f"has no such address or no model {model!r} (404){words}. Does {BASE_URL} end in /v1?"
    if status == 429:
        wait = asked_to_wait(error.response.headers)
        return f"is busy (429{f', asks to wait {wait:.0f} s' if wait is not None else ''}){words}."
    if 300 <= status < 400:
        return f"sends elsewhere ({status}), which is not followed. Set {BASE_URL} to its final address."
    return f"{'failed' if status >= 500 else 'refused the request'} ({status}){words}."


def _error_words(error: openai.OpenAIError) -> str:
    said = shown(str(error))
    return f"sent an error: {said.rstrip('.')}." if said else "failed."


_servers: dict[Connection, Server] = {}
_lock = threading.Lock()


def server_at(at: Connection) -> Server:
    """The one server object of a connection: what it lacks and how it fares is known to all who ask it."""
    with _lock:
        return _servers.setdefault(at, Server(at))

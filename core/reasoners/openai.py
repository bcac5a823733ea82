"""Any OpenAI-compatible server (vLLM, llama.cpp, Ollama, transformers serve …), addressed by environment variables.

The flag comes from the probabilities of the option letters where the server can be held to a letter and sends
log-probabilities, averaged over both orders of the classes; the explanation is then written for that flag. A server
that cannot is asked for a JSON object instead, which is read under the same contract, and that is said.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal

from core.errors import ModelUnavailable, RagVisionError, ReasoningFailed
from core.ports import ReasonRequest
from core.prompt_format import PromptFormat
from core.prompts import template_of
from core.reasoners._chat import NoLetter, letter_probabilities, messages
from core.reasoners._connection import connection, model_name
from core.reasoners._question import Question, question_of
from core.reasoners._reachable import is_answering
from core.reasoners._server import Refused, Server, server_at
from core.reasoners._streaming import Telling
from core.reasoning import MOST_OPTIONS, Prompt, build_prompt, explanation_so_far, failed, letters, parse_answer
from core.settings import PipelineSettings
from core.types import Answer

NAME = "openai"
SETTINGS = (  # all that a vision-language model has, but where it runs is its server's matter
    *("reasoner_model", "max_visual_tokens", "swap_options", "temperature", "top_p", "max_new_tokens"),
    *("system_prompt", "user_prompt"),
)
_TOP = 20  # log-probabilities asked for: the most that servers give
_JSON_TOKENS = 64  # what the object takes beside the explanation


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is asked for a class; ``fields`` of the request are made from the option letters."""

    words: str
    form: Literal["letter", "json"]
    fields: Callable[[list[str]], dict[str, Any]]


def _probable(extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"max_tokens": 1, "logprobs": True, "top_logprobs": _TOP, "extra_body": dict(extra or {})}


# From the best on: what the server refuses or ignores is remembered, and the next is taken.
WAYS = (
    Way("a letter by structured outputs", "letter", lambda s: _probable({"structured_outputs": {"choice": s}})),
    Way("a letter by guided choice", "letter", lambda s: _probable({"guided_choice": s})),
    Way("a letter", "letter", lambda s: _probable()),
    Way("a JSON object", "json", lambda s: {"response_format": {"type": "json_object"}}),
    Way("a JSON object in plain text", "json", lambda s: {}),
)


def create(settings: PipelineSettings) -> OpenAIReasoner:
    """The adapter. Nothing is asked yet: a server that is away is a failing answer, and comes back by itself.

    Raises ModelUnavailable where an environment variable is missing or cannot be.
    """
    return OpenAIReasoner(server_at(connection(settings.reasoner_model)), settings)


def reachable(settings: PipelineSettings) -> tuple[bool, str]:
    """Whether the server answers now, within seconds, and a sentence. Asked for by a person, never by the pages."""
    return is_answering(connection(settings.reasoner_model))


def memory_note(settings: PipelineSettings) -> str:
    """Where the pictures go, said before the first one does; why not where there is no server."""
    try:
        at = connection(settings.reasoner_model)
    except ModelUnavailable as error:
        return str(error)
    model = model_name(at.model) or "the server's model"
    return f"{model} at {at.place} is sent the pictures; nothing is loaded here."


def model_files(settings: PipelineSettings) -> str:
    """What tells one connection from another; ModelUnavailable where none is described. Nothing is asked."""
    at = connection(settings.reasoner_model)
    return f"{at.place} {at.model}"


def prompt_format(settings: PipelineSettings) -> PromptFormat:
    """How prompts are read: by letter, or as JSON where the server turned out to lack what a letter needs."""
    try:
        is_json = WAYS[server_at(connection(settings.reasoner_model)).way].form == "json"
    except ModelUnavailable:
        is_json = False
    return PromptFormat(
        ("json", "letter") if is_json else ("letter", "json"),
        note="The server's tokenizer is not here, so its tokens are estimated.",
        visual_exact=False,
    )


class OpenAIReasoner:
    """See the module. Any number of threads; the server's bound on requests at a time holds for all of them."""

    slow = True

    def __init__(self, server: Server, settings: PipelineSettings) -> None:
        self.together = server.at.concurrency
        self._server, self._settings = server, settings
        self._pool: ThreadPoolExecutor | None = None
        self._joined = False
        self._lock = threading.Lock()

    @property
    def id(self) -> str:
        """Model and host; no path, no key."""
        return " ".join(filter(None, (NAME, self._server.model_name, "at", self._server.place)))

    @property
    def prompt_version(self) -> str:
        """Named in provenance."""
        return template_of(self._settings).version

    @property
    def device(self) -> str:
        """Where it runs: not here."""
        return f"server at {self._server.place}"

    @property
    def note(self) -> str:
        """What the server lacks, where that changes the answers; for the screen."""
        return self._server.note

    def reason(self, request: ReasonRequest) -> Answer:
        """One answer: never a class that was not offered, and a failure with its reason whatever the server does."""
        question = question_of(request, self._settings, most=MOST_OPTIONS)
        if isinstance(question, Answer):
            return question
        self._join()
        try:
            with self._server.answering():
                self._server.ready()
                return self._asked(question)
        except (RagVisionError, OSError) as error:
            return failed(str(error), question.transcript(str(error)))

    def reason_batch(self, requests: Sequence[ReasonRequest]) -> list[Answer]:
        """Answers in order, several asked for at a time."""
        if len(requests) < 2:
            return [self.reason(request) for request in requests]
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._server.at.concurrency, thread_name_prefix="openai")
            asked = [self._pool.submit(self.reason, request) for request in requests]
        return [self._had(future) for future in asked]

    def _had(self, future: Future[Answer]) -> Answer:
        try:
            return future.result()
        except CancelledError:
            return failed(f"The connection to the model server at {self._server.place} was closed meanwhile.")

    def close(self) -> None:
        """Ends threads and connections, and waits for no answer; a later request opens them again."""
        with self._lock:
            pool, self._pool = self._pool, None
            joined, self._joined = self._joined, False
        if joined:
            self._server.leave()
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _join(self) -> None:
        with self._lock:
            if not self._joined:
                self._joined = True
                self._server.join()

    # ------------------------------------------------------------------ one answer
    def _asked(self, question: Question) -> Answer:
        """By the best way that the server takes; the way that it took is remembered."""
        lacks: list[str] = []
        lacking: ReasoningFailed | None = None
        for number in range(self._server.way, len(WAYS)):
            way = WAYS[number]
            try:
                answer = self._by_letter(question, way) if way.form == "letter" else self._by_json(question, way, lacks)
            except (Refused, NoLetter) as error:
                lacks.append(f"{way.words} ({str(error).rstrip('.')})")
                lacking = error
                continue
            self._learn(number, lacks)
            return answer
        raise lacking or ReasoningFailed(f"The model server at {self._server.place} gave no answer.")

    def _learn(self, number: int, lacks: Sequence[str]) -> None:
        server = self._server
        if number <= server.way:
            return
        server.way = number
        if WAYS[number].form == "json":
            server.note = (
                f"{server.model_name} at {server.place} gives no probabilities for the classes, so its flag is read "
                f"from its text. Asked in vain: {lacks[0]}."
            )

    def _by_letter(self, question: Question, way: Way) -> Answer:
        """Flag by probabilities and an explanation for it; NoLetter where the server gave none of the kind."""
        found = []
        for prompt in question.prompts:
            fields = {"temperature": 0.0, **way.fields(list(letters(prompt.classes)))}
            said = self._server.complete({"messages": messages(prompt), **fields})
            found.append((prompt, letter_probabilities(said, prompt)))
        for prompt, (probabilities, share) in found:
            question.found(prompt, probabilities, share)
        question.decide()
        question.notes += self._notes(way)
        if question.flag is not None:
            self._explain(question)
        return question.answer()

    def _explain(self, question: Question) -> None:
        """Words for a flag that stands already: without them it stays, and says that there are none."""
        telling = Telling(question.request.on_text, question.shown.numbers)
        asked = {
            "messages": messages(question.prompts[0], *question.turns()),
            "max_tokens": self._settings.max_new_tokens,
            "temperature": self._settings.temperature,
            "top_p": self._settings.top_p,
            "seed": _seed(question),
        }
        try:
            question.explanation = self._server.complete(asked, telling if telling.wanted else None).text
        except ReasoningFailed as error:
            question.no_explanation = f"No explanation: {error}"

    def _by_json(self, question: Question, way: Way, lacks: Sequence[str]) -> Answer:
        """Flag and explanation out of one text, under the contract; no probabilities."""
        prompt = build_prompt(
            question.request, self._settings, question.shown, question.prompts[0].classes, form="json"
        )
        telling = Telling(question.request.on_text, question.shown.numbers)
        asked = {
            "messages": messages(prompt),
            "max_tokens": self._settings.max_new_tokens + _JSON_TOKENS,
            "temperature": 0.0,  # the flag is deterministic, and here it cannot be had apart from its explanation
            **way.fields(list(letters(prompt.classes))),
        }
        said = self._server.complete(asked, _partly(telling) if telling.wanted else None)
        question.prompts = [prompt]
        question.notes += self._notes(way, lacks)
        answer = parse_answer(said.text, prompt.classes, prompt.numbers, prompt=_texts(prompt))
        text = question.with_offer(answer.explanation) if answer.explanation else ""
        return replace(answer, explanation=text, transcript=question.transcript(said.text))

    def _notes(self, way: Way, lacks: Sequence[str] = ()) -> list[str]:
        """How it was asked, for the transcript."""
        notes = [f"Asked for {way.words}."]
        if lacks or self._server.note:
            notes.append(f"Asked in vain: {'; '.join(lacks)}." if lacks else self._server.note)
        if not self._server.counts_tokens:
            notes.append("The server counts no tokens, so whether it saw the pictures could not be checked.")
        return notes


def _partly(telling: Telling) -> Callable[[str], None]:
    """Tells the explanation inside an unfinished JSON object."""

    def tell(text: str) -> None:
        if telling.due:
            telling(explanation_so_far(text))

    return tell


def _texts(prompt: Prompt) -> str:
    return "".join(part for part in prompt.parts if isinstance(part, str))


def _seed(question: Question) -> int:
    """The same explanation for the same image, as far as the server keeps to a seed."""
    return int.from_bytes(hashlib.sha256(question.request.query.key.encode()).digest()[:4], "big") >> 1

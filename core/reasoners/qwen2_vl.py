"""Qwen2-VL, or any other model for images and text that transformers loads, from a folder or by its hub id.

The flag is read off the probabilities of the option letters after one forward pass, so that it is always
one of the classes; the explanation is then generated for that flag. Only the explanation is sampled.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from core.errors import ModelUnavailable, ReasoningFailed
from core.ports import ReasonRequest
from core.prompt_format import PromptFormat
from core.prompts import template_of
from core.reasoners._conversation import conversation
from core.reasoners._deferred import Deferred
from core.reasoners._loading import Loaded, load, planned_place, release
from core.reasoners._local_model import LocalModel, Place, find_model
from core.reasoners._question import Question, question_of
from core.reasoners._streaming import Telling
from core.reasoners._token_count import format_of
from core.reasoning import Prompt, letters
from core.settings import PipelineSettings
from core.types import Answer

__all__ = [
    "DEFAULT_MODEL",
    "NAME",
    "VisionLanguageReasoner",
    "create",
    "deferred",
    "memory_note",
    "prompt_format",
    "release",
]

log = logging.getLogger("ragvision.reasoning")

NAME = "qwen2-vl"
DEFAULT_MODEL = "Qwen/Qwen2-VL-2B-Instruct"
_BATCH = 4  # prompts a forward pass: each holds up to max_visual_tokens of pictures
T = TypeVar("T")
R = TypeVar("R")


def create(settings: PipelineSettings) -> VisionLanguageReasoner:
    """The adapter with its model loaded. Raises ModelUnavailable: not there, not usable, or too large."""
    return VisionLanguageReasoner(load(find_model(settings.reasoner_model or DEFAULT_MODEL), settings.device), settings)


def deferred(settings: PipelineSettings) -> Deferred:
    """The adapter with its model loaded when it is first asked. Raises ModelUnavailable: not there, or too large."""
    source = find_model(settings.reasoner_model or DEFAULT_MODEL)
    place = planned_place(source, settings.device)
    version = template_of(settings).version
    return Deferred(_id(source, place), version, place.sentence, source.folder, lambda: create(settings))


def prompt_format(settings: PipelineSettings) -> PromptFormat:
    """How prompts are read and what they cost; nothing is loaded but the tokenizer's file."""
    return format_of(settings.reasoner_model or DEFAULT_MODEL)


def model_files(settings: PipelineSettings) -> str:
    """What tells one state of the model's files from another; ModelUnavailable where they are not all there."""
    source = find_model(settings.reasoner_model or DEFAULT_MODEL)
    return f"{source.folder} {source.fingerprint}"


def memory_note(settings: PipelineSettings) -> str:
    """What the model takes and what there is, before it is loaded; why not where it is not to be had."""
    try:
        return planned_place(find_model(settings.reasoner_model or DEFAULT_MODEL), settings.device).sentence
    except ModelUnavailable as error:
        return str(error)


def _id(source: LocalModel, place: Place) -> str:
    return f"{NAME} {source.short_name}-{source.fingerprint} · {place.shown}"


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a batch: a conversation as the model reads it, and its pictures."""

    text: str
    prompt: Prompt


class VisionLanguageReasoner:
    """See the module. Used by one thread at a time; others wait."""

    slow = True

    def __init__(self, loaded: Loaded, settings: PipelineSettings) -> None:
        self._loaded, self._settings = loaded, settings

    @property
    def id(self) -> str:
        """Name, model, its fingerprint, device and numbers."""
        return _id(self._loaded.source, self._loaded.place)

    @property
    def prompt_version(self) -> str:
        """Named in provenance."""
        return template_of(self._settings).version

    @property
    def source(self) -> Path:
        """The folder that the model comes from."""
        return self._loaded.source.folder

    @property
    def device(self) -> str:
        """Where it runs, and in which numbers."""
        return self._loaded.place.shown

    @property
    def memory(self) -> str:
        """The sentence about what the model takes and what there was."""
        return self._loaded.place.sentence

    def reason(self, request: ReasonRequest) -> Answer:
        """One answer: a flag with probabilities and an explanation, or a failure with its reason."""
        return self.reason_batch([request])[0]

    def reason_batch(self, requests: Sequence[ReasonRequest]) -> list[Answer]:
        """Answers in order; the flags are those of asking one by one."""
        with self._loaded.lock:
            asked = [self._prepared(request) for request in requests]
            questions = [q for q in asked if isinstance(q, Question) and not q.failure]
            rows = [(q, _Row(self._conversation(p), p)) for q in questions for p in q.prompts]
            for (question, row), found in zip(rows, self._in_batches(rows, self._letters_of), strict=True):
                if isinstance(found, ReasoningFailed):
                    question.failure = str(found)
                else:
                    question.found(row.prompt, *found)
            standing = [q for q in questions if not q.failure]
            for question in standing:
                question.decide()
            self._explain([q for q in standing if q.flag is not None])
        return [q if isinstance(q, Answer) else q.answer() for q in asked]

    # ------------------------------------------------------------------ the prompt
    def _prepared(self, request: ReasonRequest) -> Question | Answer:
        loaded = self._loaded
        question = question_of(
            request, self._settings, most=len(loaded.letter_ids), cell=loaded.cell or 28, special=loaded.special
        )
        if isinstance(question, Question):
            question.failure = self._too_long(question)
        return question

    def _too_long(self, question: Question) -> str:
        text = self._conversation(question.prompts[0])
        tokens = len(self._loaded.processor.tokenizer(text).input_ids) + question.shown.visual_tokens
        most = self._loaded.longest - self._settings.max_new_tokens
        if tokens <= most:
            return ""
        return (
            f"The prompt has about {tokens:,} tokens, and the model takes {most:,} beside the explanation. Lower "
            "max_visual_tokens, max_patches_per_class or max_new_tokens, or shorten the prompts."
        )

    def _conversation(self, prompt: Prompt, *turns: tuple[str, str]) -> str:
        """The chat template filled in; ``turns`` are what was said after the prompt."""
        messages = conversation(prompt, *turns, system_role=self._loaded.system_role)
        text: str = self._loaded.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return text

    def _inputs(self, rows: Sequence[_Row]) -> Any:
        """Left-padded, with as many visual tokens as the pictures must have: a dropped picture is never overlooked."""
        import torch

        images = [row.prompt.images for row in rows]
        own = self._loaded.cell is not None
        inputs = self._loaded.processor(
            text=[row.text for row in rows],
            images=[picture for group in images for picture in group] if own else images,
            padding=True,
            padding_side="left",
            return_tensors="pt",
            **({"do_resize": False} if own else {}),
        )
        counts = (inputs["input_ids"] == self._loaded.image_token_id).sum(dim=1).tolist()
        for row, group, count in zip(rows, images, counts, strict=True):
            self._check_pictures(row.prompt, group, int(count))
        dtype = getattr(torch, self._loaded.place.dtype)
        return inputs.to(self._loaded.place.device, dtype=dtype)

    def _check_pictures(self, prompt: Prompt, pictures: list[Any], count: int) -> None:
        cell, most = self._loaded.cell, self._settings.max_visual_tokens
        expected = sum((p.width // cell) * (p.height // cell) for p in pictures) if cell else None
        if (expected is not None and count != expected) or count < len(pictures):
            raise ReasoningFailed(
                f"The model's processor made {count} visual tokens of {len(pictures)} pictures"
                + (f" that have {expected}" if expected is not None else "")
                + ", so the model would not see what it is shown."
            )
        if count > most:
            raise ReasoningFailed(
                f"{len(pictures)} pictures cost this model {count:,} visual tokens, more than max_visual_tokens "
                f"({most:,}). Raise it, or lower max_patches_per_class."
            )

    # ------------------------------------------------------------------ the flag
    def _letters_of(self, rows: Sequence[tuple[Question, _Row]]) -> list[tuple[list[float], float]]:
        """Of each row the probabilities of its option letters, and their share of all probability."""
        import torch

        model = self._loaded.model
        inputs = self._inputs([row for _, row in rows])
        only_last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
        with torch.inference_mode():
            logits = model(**inputs, use_cache=False, **only_last).logits[:, -1].float()  # (rows, vocabulary)
        found = []
        for (_, row), of_row in zip(rows, logits, strict=True):
            ids = torch.tensor(self._loaded.letter_ids[: len(letters(row.prompt.classes))], device=of_row.device)
            if not bool(torch.isfinite(of_row[ids]).all()):
                raise ReasoningFailed("The model's answer is not a number, so its weights or its precision do not fit.")
            share = torch.softmax(of_row.double(), 0)[ids].sum()
            found.append((torch.softmax(of_row[ids].double(), 0).tolist(), float(share)))
        return found

    # ------------------------------------------------------------------ the explanation
    def _explain(self, questions: Sequence[Question]) -> None:
        """Words for flags that stand already: without them the flag stays, and says that there are none."""
        for question, text in zip(questions, self._in_batches(questions, self._explanations_of), strict=True):
            if isinstance(text, ReasoningFailed):
                question.no_explanation = f"No explanation: {text}"
            else:
                question.explanation = text

    def _explanations_of(self, questions: Sequence[Question]) -> list[str]:
        import torch
        from transformers import GenerationConfig

        loaded, settings = self._loaded, self._settings
        rows = []
        for question in questions:
            prompt = question.prompts[0]
            rows.append(_Row(self._conversation(prompt, *question.turns(loaded.special)), prompt))
        inputs = self._inputs(rows)
        asked = inputs["input_ids"].shape[1]
        published, tokenizer = loaded.model.generation_config, loaded.processor.tokenizer
        padding = published.pad_token_id if published.pad_token_id is not None else tokenizer.pad_token_id
        sampled: dict[str, Any] = {"do_sample": settings.temperature > 0}
        if settings.temperature > 0:  # the published top_k of 1 would leave nothing to sample
            sampled |= {"temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
        make: Any = GenerationConfig
        config = make(
            max_new_tokens=settings.max_new_tokens,
            eos_token_id=published.eos_token_id,
            pad_token_id=padding,
            bos_token_id=published.bos_token_id,
            repetition_penalty=1.0,
            **sampled,
        )
        keys = "".join(q.request.query.key for q in questions)
        seed = int.from_bytes(hashlib.sha256(keys.encode()).digest()[:4], "big")
        devices = [torch.device(loaded.place.device)] if loaded.place.device != "cpu" else []
        with torch.random.fork_rng(devices), torch.inference_mode():
            torch.manual_seed(seed)
            output = loaded.model.generate(**inputs, generation_config=config, **self._listening(questions, asked))
        new = output[:, asked:]  # never what was asked, only what was answered
        words: list[str] = tokenizer.batch_decode(new, skip_special_tokens=True)
        return words

    def _listening(self, questions: Sequence[Question], asked: int) -> dict[str, Any]:
        """What makes ``generate`` tell those who listen, row by row; ``asked`` tokens are the prompt's."""
        told = [Telling(q.request.on_text, q.shown.numbers) for q in questions]
        if not any(one.wanted for one in told):
            return {}
        import torch
        from transformers import StoppingCriteria, StoppingCriteriaList

        tokenizer = self._loaded.processor.tokenizer

        class Listening(StoppingCriteria):
            """Called after every token; never stops anything."""

            def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
                for one, row in zip(told, input_ids, strict=True):
                    if one.due:
                        one(tokenizer.decode(row[asked:], skip_special_tokens=True))
                return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

        return {"stopping_criteria": StoppingCriteriaList([Listening()])}

    # ------------------------------------------------------------------ both
    def _in_batches(self, items: Sequence[T], work: Callable[[Sequence[T]], Sequence[R]]) -> list[R | ReasoningFailed]:
        results: list[R | ReasoningFailed] = []
        for start in range(0, len(items), _BATCH):
            results += self._halved(items[start : start + _BATCH], work)
        return results

    def _halved(self, items: Sequence[T], work: Callable[[Sequence[T]], Sequence[R]]) -> list[R | ReasoningFailed]:
        """Half as many at a time where a batch fails, so that one that cannot be answered fails alone."""
        import torch

        try:
            return list(work(items))
        except torch.OutOfMemoryError:
            failure = ReasoningFailed(
                f"The memory of {self._loaded.place.device} is too small for this prompt. Lower max_visual_tokens."
            )
        except ReasoningFailed as error:
            failure = error
        except (RuntimeError, ValueError, IndexError, TypeError):
            log.exception("the model %s failed", self._loaded.source.short_name)
            failure = ReasoningFailed("The model failed with an internal error; the server's log has the details.")
        if len(items) == 1:
            return [failure]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        half = len(items) // 2
        return self._halved(items[:half], work) + self._halved(items[half:], work)

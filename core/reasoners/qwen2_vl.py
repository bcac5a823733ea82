"""Qwen2-VL, or any other model for images and text that transformers loads, from a folder or by its hub id.

The flag is read off the probabilities of the option letters after one forward pass, so that it is always
one of the classes; the explanation is then generated for that flag. Only the explanation is sampled.
"""

from __future__ import annotations

import gc
import hashlib
import inspect
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any, TypeVar

from core.errors import ModelUnavailable, RagVisionError, ReasoningFailed
from core.ports import ReasonRequest
from core.prompts import template_of
from core.reasoners._local_model import LocalModel, Place, choose_place, find_model, free_memory
from core.reasoning import (
    Prompt,
    Shown,
    averaged,
    build_prompt,
    explained,
    explanation_question,
    failed,
    gather,
    letters,
    offered_classes,
    storable,
)
from core.settings import PipelineSettings
from core.types import Answer, ClassRecord, Status

log = logging.getLogger("ragvision.reasoning")

NAME = "qwen2-vl"
DEFAULT_MODEL = "Qwen/Qwen2-VL-2B-Instruct"
_BATCH = 4  # prompts a forward pass: each holds up to max_visual_tokens of pictures
_TIE = 1e-9  # two classes closer than this were not told apart
T = TypeVar("T")
R = TypeVar("R")


def create(settings: PipelineSettings) -> VisionLanguageReasoner:
    """The adapter with its model loaded. Raises ModelUnavailable: not there, not usable, or too large."""
    model = find_model(settings.reasoner_model or DEFAULT_MODEL)
    return VisionLanguageReasoner(_load(model), settings)


def memory_note(settings: PipelineSettings) -> str:
    """What the model takes and what there is, before it is loaded; why not where it is not to be had."""
    try:
        source = find_model(settings.reasoner_model or DEFAULT_MODEL)
        with _lock:
            held = _held.get(_key(source))
            if held is None:
                _let_go()
        return held.place.sentence if held is not None else choose_place(source, _candidates()).sentence
    except ModelUnavailable as error:
        return str(error)


def release() -> None:
    """Lets go of the model that is held, so that its memory is free for another."""
    with _lock:
        _let_go()


def _let_go() -> None:
    if not _held:
        return
    import torch

    _held.clear()
    gc.collect()  # a model refers to itself
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


# --------------------------------------------------------------------------- loading
@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model ready to be asked. ``letter_ids[i]`` is the token of the i-th option letter."""

    source: LocalModel
    place: Place
    model: Any
    processor: Any
    cell: int | None  # side of the pixels behind one visual token; None: the processor resizes by its own rules
    image_token_id: int
    letter_ids: tuple[int, ...]
    longest: int
    special: frozenset[str]
    system_role: bool
    lock: threading.Lock = field(default_factory=threading.Lock)


_held: dict[tuple[str, str], Loaded] = {}  # at most one: a model is loaded once, whatever else the settings say
_lock = threading.Lock()


def _load(source: LocalModel) -> Loaded:
    key = _key(source)
    with _lock:
        if key not in _held:
            _let_go()
            place = choose_place(source, _candidates())
            log.info("%s", place.sentence)
            _held[key] = _read(source, place)
        return _held[key]


def _key(source: LocalModel) -> tuple[str, str]:
    return str(source.folder), source.fingerprint


def _candidates() -> list[tuple[str, str, int | None]]:
    """Where a model could run, best first. fp16 on a CPU is slow, bfloat16 the way to halve its memory."""
    import torch

    free = free_memory()
    on_cpu: list[tuple[str, str, int | None]] = [("cpu", "float32", free), ("cpu", "bfloat16", free)]
    if not torch.cuda.is_available():
        return on_cpu
    dtype = "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    return [("cuda:0", dtype, torch.cuda.mem_get_info(0)[0]), *on_cpu]


def _read(source: LocalModel, place: Place) -> Loaded:
    """Weights from safetensors alone, no code of the model's own, nothing from the network."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText
    from transformers.utils import logging as transformers_logging

    from core.reasoners._image_processor import QWEN, load_processor

    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    quiet: Any = transformers_logging.disable_progress_bar
    quiet()  # the worker says what it does; a command's output is its own
    if place.device == "cpu":  # one core is left to the pages and the API
        torch.set_num_threads(min(torch.get_num_threads(), max(1, (os.cpu_count() or 2) - 1)))
    try:
        config = AutoConfig.from_pretrained(source.folder, **options)
        kind = str(config.model_type)
        processor = load_processor(source.folder, kind)
        read: Any = AutoModelForImageTextToText.from_pretrained
        model, report = read(
            source.folder, dtype=getattr(torch, place.dtype), use_safetensors=True, output_loading_info=True, **options
        )
    except RagVisionError:
        raise
    except (OSError, ValueError, ImportError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        raise ModelUnavailable(
            f"The model in {source.folder} cannot be loaded: {storable(str(error)).strip().partition(chr(10))[0][:300]}"
        ) from error
    if report["missing_keys"] or report["mismatched_keys"]:
        raise ModelUnavailable(
            f"The weights in {source.folder} are not those of its configuration: "
            f"{len(report['missing_keys'])} tensors are missing. Get the model again."
        )
    tokenizer = processor.tokenizer
    image_token = getattr(processor, "image_token_id", None) or getattr(config, "image_token_id", None)
    if image_token is None:
        raise ModelUnavailable(f"{source.short_name} has no token for a picture, so pictures cannot be counted.")
    text_config = config.get_text_config()
    pixels = processor.image_processor
    return Loaded(
        source=source,
        place=place,
        model=model.to(place.device).eval(),
        processor=processor,
        cell=pixels.patch_size * pixels.merge_size if kind in QWEN else None,
        image_token_id=int(image_token),
        letter_ids=_letter_ids(tokenizer, source.short_name),
        longest=int(getattr(text_config, "max_position_embeddings", 0) or 32_768),
        special=frozenset(str(t) for t in tokenizer.all_special_tokens),
        system_role=_takes_a_system_role(processor, source.short_name),
    )


def _takes_a_system_role(processor: Any, name: str) -> bool:
    """Whether the chat template has a place for a system prompt; ModelUnavailable where it takes no pictures."""
    from jinja2 import TemplateError

    user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Which?"}]}
    system = {"role": "system", "content": [{"type": "text", "text": "A mark 4711."}]}
    for messages in ([system, user], [user]):
        try:
            text = str(processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
        except (TemplateError, ValueError, TypeError) as error:
            log.info("the chat template of %s refused %d messages: %s", name, len(messages), error)
            continue
        if len(messages) == 1 or "4711" in text:
            return len(messages) == 2
    raise ModelUnavailable(f"{name} has no chat template for pictures, so it cannot be asked.")


def _letter_ids(tokenizer: Any, name: str) -> tuple[int, ...]:
    """The single tokens of A, B, C …, as far as there are."""
    ids: list[int] = []
    for letter in ascii_uppercase:
        tokens = tokenizer.encode(letter, add_special_tokens=False)
        if len(tokens) != 1 or tokens[0] in ids or tokens[0] == tokenizer.unk_token_id:
            break
        ids.append(int(tokens[0]))
    if len(ids) < 2:
        raise ModelUnavailable(f"{name} has no single tokens for option letters, so it cannot be asked for a class.")
    return tuple(ids)


# --------------------------------------------------------------------------- asking
@dataclass(slots=True)
class _Question:
    """One request on its way: what is shown, the prompt of each order of the classes, and what was answered."""

    request: ReasonRequest
    shown: Shown
    prompts: list[Prompt]
    not_offered: int
    probabilities: list[dict[int, float]] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)  # how much of all probability fell on the letters
    flag: ClassRecord | None = None
    mean: dict[int, float] = field(default_factory=dict)
    explanation: str = ""
    no_explanation: str = ""
    failure: str = ""


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
        source = self._loaded.source
        return f"{NAME} {source.short_name}-{source.fingerprint} · {self._loaded.place.shown}"

    @property
    def prompt_version(self) -> str:
        """Named in provenance."""
        return template_of(self._settings).version

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
            questions = [q for q in asked if isinstance(q, _Question)]
            rows = [(q, _Row(self._conversation(p), p)) for q in questions for p in q.prompts]
            for (question, row), found in zip(rows, self._in_batches(rows, self._letters_of), strict=True):
                if isinstance(found, ReasoningFailed):
                    question.failure = str(found)
                else:
                    ids = (c.id for c in row.prompt.classes)
                    question.probabilities.append(dict(zip(ids, found[0], strict=True)))
                    question.shares.append(found[1])
            standing = [q for q in questions if not q.failure]
            for question in standing:
                self._decide(question)
            self._explain([q for q in standing if q.flag is not None])
        return [q if isinstance(q, Answer) else self._answer(q) for q in asked]

    # ------------------------------------------------------------------ the prompt
    def _prepared(self, request: ReasonRequest) -> _Question | Answer:
        classes = offered_classes(request, len(self._loaded.letter_ids))
        if not classes:
            return Answer(None, "", status=Status.NO_SUGGESTION, reason="There are no scores to explain.")
        try:
            shown = gather(request, max_visual_tokens=self._settings.max_visual_tokens, cell=self._loaded.cell or 28)
            orders = [classes, classes[::-1]] if self._settings.swap_options and len(classes) > 1 else [classes]
            prompts = [
                build_prompt(request, self._settings, shown, order, special=self._loaded.special) for order in orders
            ]
            question = _Question(request, shown, prompts, len(request.scores) - len(classes))
            self._check_length(question)
        except (RagVisionError, OSError) as error:
            return failed(str(error))
        return question

    def _check_length(self, question: _Question) -> None:
        text = self._conversation(question.prompts[0])
        tokens = len(self._loaded.processor.tokenizer(text).input_ids) + question.shown.visual_tokens
        most = self._loaded.longest - self._settings.max_new_tokens
        if tokens > most:
            raise ReasoningFailed(
                f"The prompt has about {tokens:,} tokens, and the model takes {most:,} beside the explanation. Lower "
                "max_visual_tokens, max_patches_per_class or max_new_tokens, or shorten the prompts."
            )

    def _conversation(self, prompt: Prompt, *turns: tuple[str, str]) -> str:
        """The chat template filled in; ``turns`` are what was said after the prompt."""
        content = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image"} for p in prompt.parts]
        system = {"type": "text", "text": prompt.system}
        messages: list[dict[str, Any]] = [
            *([{"role": "system", "content": [system]}] if self._loaded.system_role else []),
            {"role": "user", "content": content if self._loaded.system_role else [system, *content]},
            *({"role": role, "content": [{"type": "text", "text": words}]} for role, words in turns),
        ]
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
    def _letters_of(self, rows: Sequence[tuple[_Question, _Row]]) -> list[tuple[list[float], float]]:
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

    def _decide(self, question: _Question) -> None:
        question.mean = averaged(question.probabilities)
        ranked = sorted(question.prompts[0].classes, key=lambda c: -question.mean[c.id])
        tied = len(ranked) > 1 and question.mean[ranked[0].id] - question.mean[ranked[1].id] < _TIE
        question.flag = None if tied else ranked[0]

    # ------------------------------------------------------------------ the explanation
    def _explain(self, questions: Sequence[_Question]) -> None:
        """Words for flags that stand already: without them the flag stays, and says that there are none."""
        for question, text in zip(questions, self._in_batches(questions, self._explanations_of), strict=True):
            if isinstance(text, ReasoningFailed):
                question.no_explanation = f"No explanation: {text}"
            else:
                question.explanation = text

    def _explanations_of(self, questions: Sequence[_Question]) -> list[str]:
        import torch
        from transformers import GenerationConfig

        loaded, settings = self._loaded, self._settings
        rows = []
        for question in questions:
            assert question.flag is not None
            prompt = question.prompts[0]
            letter = next(sign for sign, c in letters(prompt.classes).items() if c.id == question.flag.id)
            ask = explanation_question(question.flag, prompt.numbers, loaded.special)
            rows.append(_Row(self._conversation(prompt, ("assistant", letter), ("user", ask)), prompt))
        inputs = self._inputs(rows)
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
            output = loaded.model.generate(**inputs, generation_config=config)
        new = output[:, inputs["input_ids"].shape[1] :]  # never what was asked, only what was answered
        words: list[str] = tokenizer.batch_decode(new, skip_special_tokens=True)
        return words

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

    def _answer(self, question: _Question) -> Answer:
        if question.failure:
            return failed(question.failure, question.prompts[0].as_text())
        text, cited, dropped = explained(storable(question.explanation), question.shown.numbers)
        if question.flag is None:
            text = "The model does not tell the classes apart."
        elif not text:
            text = question.no_explanation or "The model gave no explanation."
        if question.not_offered:
            offered = len(question.prompts[0].classes)
            text += (
                f" (Offered were the {offered} classes with the highest scores, of {offered + question.not_offered}.)"
            )
        return Answer(
            flag=None if question.flag is None else question.flag.id,
            explanation=text,
            cited_evidence=cited,
            dropped_citations=dropped,
            transcript=self._transcript(question),
            class_probabilities=question.mean,
        )

    def _transcript(self, question: _Question) -> str:
        """The exchange: the prompt, what each order gave, and what the model wrote."""
        lines = [question.prompts[0].as_text(), ""]
        for prompt, probabilities, share in zip(question.prompts, question.probabilities, question.shares, strict=True):
            told = ", ".join(f"{sign} {probabilities[c.id]:.4f}" for sign, c in letters(prompt.classes).items())
            lines.append(f"Option letters: {told} ({share:.1%} of all probability)")
        if question.shown.left_out:
            lines.append(f"Left out for want of visual tokens: {question.shown.left_out} pieces of evidence")
        lines += ["", question.explanation]
        return storable("\n".join(lines))[:20_000]

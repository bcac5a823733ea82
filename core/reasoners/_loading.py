"""A model for images and text in memory: where it fits, from safetensors alone, once, and let go of for another."""

from __future__ import annotations

import gc
import logging
import os
import threading
import weakref
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

from core.devices import GPU, gpu_precision
from core.errors import ModelUnavailable, RagVisionError
from core.reasoners._local_model import LocalModel, Place, choose_place, free_memory
from core.reasoning import storable

log = logging.getLogger("ragvision.reasoning")


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
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


_held: dict[tuple[str, str, str], Loaded] = {}  # at most one: a model is loaded once, whatever else the settings say
# What was let go of may be at work still, for the background worker while a request asks another reasoner.
_alive: weakref.WeakValueDictionary[tuple[str, str, str], Loaded] = weakref.WeakValueDictionary()
_lock = threading.Lock()


def load(source: LocalModel, device: str = "auto") -> Loaded:
    """The model in memory, the only one there. Raises ModelUnavailable: not usable, or too large, or no such device."""
    key = _key(source, device)
    with _lock:
        if key not in _held:
            _let_go()
            _held[key] = _alive.get(key) or _fresh(source, device)
            _alive[key] = _held[key]
        return _held[key]


def _fresh(source: LocalModel, device: str) -> Loaded:
    place = choose_place(source, _candidates(device))
    log.info("%s", place.sentence)
    return _read(source, place)


def planned_place(source: LocalModel, device: str = "auto") -> Place:
    """Where it is, or is going to be loaded, another being let go of; ModelUnavailable where it fits nowhere."""
    with _lock:
        if _key(source, device) not in _held:
            _let_go()
        there = _alive.get(_key(source, device))
    return there.place if there is not None else choose_place(source, _candidates(device))


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


def _key(source: LocalModel, device: str) -> tuple[str, str, str]:
    return str(source.folder), source.fingerprint, device


def _candidates(device: str) -> list[tuple[str, str, int | None]]:
    """Where a model could run, best first. fp16 on a CPU is slow, bfloat16 the way to halve its memory."""
    import torch

    free = free_memory()
    on_cpu: list[tuple[str, str, int | None]] = [("cpu", "float32", free), ("cpu", "bfloat16", free)]
    half = gpu_precision(device)
    if half is None:
        return on_cpu
    on_gpu = (GPU, half, torch.cuda.mem_get_info(0)[0])
    return [on_gpu] if device == "cuda" else [on_gpu, *on_cpu]


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
        why = f"it lacks {error}" if isinstance(error, KeyError) else storable(str(error)).strip().partition("\n")[0]
        raise ModelUnavailable(f"The model in {source.folder} cannot be loaded: {why[:300]}") from error
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

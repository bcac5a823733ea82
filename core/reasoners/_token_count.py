"""What a prompt costs a local model, out of the files of its tokenizer alone: the model is not loaded."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import ModelUnavailable
from core.prompt_format import PromptFormat
from core.reasoners._conversation import conversation
from core.reasoners._local_model import find_model
from core.reasoning import Prompt

_PICTURES = ("<|image_pad|>", "<image>", "<|image|>", "[IMG]")
_NO_COUNT = "so its tokens are estimated"


def format_of(name: str) -> PromptFormat:
    """How the model called ``name`` (a folder or a hub id) reads prompts; what is not to be had is estimated."""
    try:
        folder = find_model(name).folder
    except ModelUnavailable:
        return PromptFormat(("letter",), note=f"The model {name} is not on this machine, {_NO_COUNT}.")
    file = folder / "tokenizer.json"
    if not file.is_file():
        return PromptFormat(("letter",), note=f"The model's folder holds no tokenizer.json, {_NO_COUNT}.")
    try:
        return _read(folder, file.stat().st_mtime_ns)
    except Exception as error:  # noqa: BLE001 - tokenizers raises bare Exceptions for files that it cannot read
        return PromptFormat(("letter",), note=f"The model's tokenizer cannot be read ({str(error)[:80]}), {_NO_COUNT}.")


@lru_cache(maxsize=2)
def _read(folder: Path, changed: int) -> PromptFormat:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    special = frozenset(t.content for t in tokenizer.get_added_tokens_decoder().values() if t.special)
    template = _Template(folder)

    def count(prompt: Prompt) -> int:
        tokens: list[str] = tokenizer.encode(template.render(prompt), add_special_tokens=False).tokens
        return len(tokens) - sum(token in _PICTURES for token in tokens)

    count(Prompt("A", ("B",), (), ()))  # a template that cannot be rendered is found out here
    return PromptFormat(("letter",), count, folder.resolve().name, special=special, cell=_cell(folder))


def _cell(folder: Path) -> int:
    """Pixels behind one visual token, by the image processor's file."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        values = _json(folder / name)
        values = values.get("image_processor", values)
        patch, merge = values.get("patch_size"), values.get("merge_size")
        if isinstance(patch, int) and isinstance(merge, int) and 1 <= patch * merge <= 256:
            return patch * merge
    return 28


def _json(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return value if isinstance(value, dict) else {}


class _Template:
    """The chat template of a folder, rendered in jinja2's sandbox as transformers does it."""

    def __init__(self, folder: Path) -> None:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        self._template = environment.from_string(_source(folder))
        self._system_role = "4711" in self._try(Prompt("4711", ("Which?",), (), ()))

    def render(self, prompt: Prompt) -> str:
        """The conversation up to where the model begins to answer; a picture is one token."""
        messages = conversation(prompt, system_role=self._system_role)
        return self._template.render(messages=messages, add_generation_prompt=True)

    def _try(self, prompt: Prompt) -> str:
        from jinja2 import TemplateError

        self._system_role = True
        try:
            return self.render(prompt)
        except TemplateError:
            return ""


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _source(folder: Path) -> str:
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_text(encoding="utf-8")
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        found = _json(folder / name).get("chat_template")
        if isinstance(found, str):
            return found
    raise ValueError("there is no chat template")

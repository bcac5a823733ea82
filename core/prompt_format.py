"""How a reasoner reads prompts, told without loading its model: for previews of what it will be shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from core.reasoning import Prompt

Form = Literal["letter", "json"]


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """``forms`` are the forms of an answer that it asks for, the preferred one first; none: it reads no prompt.

    ``count`` gives the tokens of a prompt's text, chat template included and pictures left out; None where they can
    only be estimated. ``counted_by`` names the tokenizer, ``note`` says why there is none. ``special`` are its
    special tokens, ``cell`` the side in pixels of one visual token (``visual_exact`` False: the server decides).
    """

    forms: tuple[Form, ...] = ()
    count: Callable[[Prompt], int] | None = None
    counted_by: str = ""
    note: str = ""
    special: frozenset[str] = frozenset()
    cell: int = 28
    visual_exact: bool = True

"""The contract with reasoners, in one place: what a vision-language model is shown, and what its answer may be.

Whatever a model writes, what comes out is a class that was offered, an abstention, or a failure with its
reason. Names of classes and text inside images can bend the content of an answer, never its form.
"""

from __future__ import annotations

from core.reasoning._answer import averaged, explained, explanation_so_far, failed, parse_answer
from core.reasoning._asking import ask
from core.reasoning._prompt import (
    JSON_FORM,
    MOST_OPTIONS,
    SHORTEST_SIDE,
    Prompt,
    Shown,
    build_prompt,
    explanation_question,
    fitted,
    gather,
    letters,
    offered_classes,
)
from core.reasoning._text import safe_name, storable, without_special_tokens

__all__ = [
    "JSON_FORM",
    "MOST_OPTIONS",
    "SHORTEST_SIDE",
    "Prompt",
    "Shown",
    "ask",
    "averaged",
    "build_prompt",
    "explained",
    "explanation_question",
    "explanation_so_far",
    "failed",
    "fitted",
    "gather",
    "letters",
    "offered_classes",
    "parse_answer",
    "safe_name",
    "storable",
    "without_special_tokens",
]

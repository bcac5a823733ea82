"""A prompt as the chat templates of local models read it: pictures in their places, the system prompt where it fits."""

from __future__ import annotations

from typing import Any

from core.reasoning import Prompt


def conversation(prompt: Prompt, *turns: tuple[str, str], system_role: bool) -> list[dict[str, Any]]:
    """Messages for a chat template; ``turns`` are what was said after the prompt, as (role, words).

    A template without a ``system_role`` gets the system prompt at the head of the user's message.
    """
    content = [{"type": "text", "text": p} if isinstance(p, str) else {"type": "image"} for p in prompt.parts]
    system = {"type": "text", "text": prompt.system}
    return [
        *([{"role": "system", "content": [system]}] if system_role else []),
        {"role": "user", "content": content if system_role else [system, *content]},
        *({"role": role, "content": [{"type": "text", "text": words}]} for role, words in turns),
    ]

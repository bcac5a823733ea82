"""Does a model server answer? One short question to it, apart from all answers: for the health panel."""

from __future__ import annotations

import httpx2

from core.reasoners._connection import Connection, model_name

_SECONDS = 4.0


def is_answering(at: Connection) -> tuple[bool, str]:
    """(whether it answers, a sentence). Follows no redirect, reads no body, and shows neither address nor key."""
    headers = {"Authorization": f"Bearer {at.key}"} if at.key else {}
    try:
        with (
            httpx2.Client(timeout=_SECONDS, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", f"{at.base_url}/models", headers=headers) as answer,
        ):
            status = answer.status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError):
        return False, f"The server at {at.place} does not answer. Start it, or check OPENAI_BASE_URL."
    if status in (401, 403):
        return False, f"The server at {at.place} refuses the key ({status}). Check OPENAI_API_KEY."
    if status >= 400:
        return (
            False,
            f"The server at {at.place} answers with {status} when asked for its models. Does the address end in /v1?",
        )
    which = f", asked for {model_name(at.model)}" if at.model else ""
    return True, f"The server at {at.place} answers{which}."

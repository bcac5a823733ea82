"""On every page: decisions that wait in this browser are sent, and the sidebar says so while there are any.

The outbox itself is the reviewer's (``reviewer/outbox.js``); here it is drained for every annotator of the
project, so that a closed tab, another name or another page strands nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from ragvision_app.components.reviewer import FOLDER as REVIEWER
from ragvision_app.components.reviewer import joined

FOLDER = Path(__file__).parent
HTML = '<div class="rv-unsent" role="status"></div>'


def bundle() -> str:
    """The component's whole script: the reviewer's modules that it stands on, and its own."""
    return joined([REVIEWER / "dom.js", REVIEWER / "api.js", REVIEWER / "outbox.js", FOLDER / "sender.js"])


def css() -> str:
    """Every rule is scoped under ``.rv-unsent``."""
    return (FOLDER / "outbox.css").read_text(encoding="utf-8")


@cache
def _component() -> Callable[..., Any]:
    import streamlit as st

    component: Callable[..., Any] = st.components.v2.component(
        "rag_vision_unsent", html=HTML, css=css(), js=bundle(), isolate_styles=False
    )
    return component


def unsent(*, project: str, api_base: str = "/api", key: str = "unsent") -> None:
    """Mount it for one project, named as for :func:`ragvision_app.components.reviewer.reviewer`."""
    _component()(key=key, data={"project": project, "api_base": api_base})

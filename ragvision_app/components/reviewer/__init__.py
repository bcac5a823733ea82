"""The hot loop: one Streamlit v2 component that labels without a rerun.

The JavaScript is written as small ES modules, one idea a file. Streamlit takes a component's script
as one string, so :func:`bundle` joins them into one module: imports between them are dropped and all
share one scope (a test holds that no name is declared twice).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
# in order of dependence: a file uses only what stands before it
SCRIPTS = (
    "dom.js",
    "api.js",
    "outbox.js",
    "pictures.js",
    "queue.js",
    "history.js",
    "tally.js",
    "refresher.js",
    "listener.js",
    "heatmap.js",
    "preparer.js",
    "session.js",
    "messages.js",
    "nothing.js",
    "preferences.js",
    "stage.js",
    "evidence.js",
    "panel.js",
    "dialogs.js",
    "bulk.js",
    "keys.js",
    "details.js",
    "connection.js",
    "input.js",
    "view.js",
    "reviewer.js",
)
_IMPORT = re.compile(r"^import\s.*?;\n", re.MULTILINE | re.DOTALL)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


def bundle() -> str:
    """The component's whole script: one ES module with one default export."""
    return joined([FOLDER / name for name in SCRIPTS])


def joined(files: Iterable[Path]) -> str:
    """The modules as one: without the imports and exports between them."""
    parts = [file.read_text(encoding="utf-8") for file in files]
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", part)) for part in parts)


def html() -> str:
    """The skeleton that the script fills in."""
    return (FOLDER / "reviewer.html").read_text(encoding="utf-8")


def css() -> str:
    """Every rule is scoped under ``.rv-reviewer``."""
    return (FOLDER / "reviewer.css").read_text(encoding="utf-8")


@cache
def _component() -> Callable[..., Any]:
    import streamlit as st

    component: Callable[..., Any] = st.components.v2.component(
        "rag_vision_reviewer", html=html(), css=css(), js=bundle(), isolate_styles=False
    )
    return component


def reviewer(
    *,
    annotator: str,
    project: str,
    order: str | None = None,
    prefetch: int = 30,
    api_base: str = "/api",
    key: str = "reviewer",
    on_details: Callable[[], None] | None = None,
) -> Any:
    """Mount the hot loop for one annotator.

    ``project`` names the outbox in the browser together with the annotator, so that decisions made for
    one project are never sent to another. ``on_details`` is called when the annotator asks for the
    details of an image; its sha256 is then in the returned value's ``details``.
    """
    return _component()(
        key=key,
        data={
            "annotator": annotator,
            "project": project,
            "order": order,
            "prefetch": prefetch,
            "api_base": api_base,
        },
        on_details_change=on_details or (lambda: None),
    )

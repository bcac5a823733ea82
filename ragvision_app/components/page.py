"""What every page starts with: the Workbench, or the sentence that says why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RagVisionError
from ragvision_app.state import ANNOTATOR, workbench

if TYPE_CHECKING:
    from core.workbench import Workbench

_MARKUP = frozenset("\\`*_{}[]<>()#+-.!|~$:")
CURATOR = "curator"  # who acts where nobody has given a name yet


def open_page(title: str, sentence: str) -> Workbench:
    """Heading and Workbench; a project that cannot be used ends the page with its sentence."""
    st.header(title, anchor=False)
    st.caption(sentence)
    try:
        return workbench()
    except RagVisionError as error:
        st.error(str(error))
        st.stop()


def person() -> str:
    """The name under which changes on the pages are recorded."""
    return str(st.session_state.get(ANNOTATOR) or CURATOR)


def literal(text: str) -> str:
    """``text`` as Streamlit's Markdown shows it letter by letter: names are data, never markup."""
    return "".join(f"\\{c}" if c in _MARKUP else c for c in text)


def skeleton(height: int, *, label: str) -> None:
    """A grey block of the shape of what is still being computed; ``label`` is read to screen readers."""
    # Only numbers and fixed text of ours go into the markup.
    st.html(
        f'<div role="status" aria-label="{label}" style="height:{int(height)}px;border-radius:6px;opacity:.55;'
        "background:color-mix(in srgb, currentColor 10%, transparent);"
        'animation:rv-breathe 1.6s ease-in-out infinite"></div>'
        "<style>@keyframes rv-breathe{50%{opacity:.25}}"
        "@media (prefers-reduced-motion: reduce){[role=status]{animation:none!important}}</style>"
    )

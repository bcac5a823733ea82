"""What every page starts with: the Workbench, or the sentence that says why there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RagVisionError
from ragvision_app.state import ANNOTATOR, workbench

if TYPE_CHECKING:
    from core.workbench import Workbench

# As dense as the Label page, whose rule this mirrors: the content starts at the top and has the width.
_STYLE = """
<style>
[data-testid="stMainBlockContainer"]:has(.rv-page) { padding: 0.8rem 1.75rem 2rem; max-width: 1640px; }
[data-testid="stMain"]:has(.rv-page) [data-testid="stHeading"]:has(h2) { padding: 0 var(--rv-trail) 0 var(--rv-lead); }
[data-testid="stElementContainer"]:has(> [data-testid="stHtml"] style) { display: none; }
[data-testid="stMain"]:has(.rv-page) [data-testid="stVerticalBlock"] { gap: 0.75rem; }
[data-testid="stMain"]:has(.rv-page) [data-testid="stHeading"] { margin-bottom: -0.5rem; }
[data-testid="stMain"]:has(.rv-page) [class*="st-key-recipe_"] { gap: 0.3rem; padding: 0.5rem 0.75rem 0.75rem; }
[data-testid="stMain"]:has(.rv-page) [class*="st-key-use_"] button { min-height: 2.15rem; padding: 0 0.6rem; }
[data-testid="stMain"]:has(.rv-page) [class*="st-key-use_"] button p { white-space: nowrap; }
[class*="st-key-recipe_"][class*="_in_use"] { border-color: light-dark(#2456c8, #7aa5ff) !important; }
[data-testid="stLayoutWrapper"]:has(> .st-key-rv_bar) { position: sticky; bottom: 0; z-index: 5; }
.st-key-rv_bar { background: var(--st-background-color, light-dark(#ffffff, #14171c));
  box-shadow: 0 -6px 12px -8px rgb(0 0 0 / 25%); }
.st-key-rv_bar_line { flex-wrap: nowrap; }
.st-key-rv_bar_line > :first-child { min-width: 0; }
@keyframes rv-breathe { 50% { opacity: 0.25; } }
.rv-skeleton { border-radius: 6px; opacity: 0.55; background: color-mix(in srgb, currentColor 10%, transparent); }
@media (prefers-reduced-motion: no-preference) { .rv-skeleton { animation: rv-breathe 1.6s ease-in-out infinite; } }
</style>
<span class="rv-page"></span>
"""
_MARKUP = frozenset("\\`*_{}[]<>()#+-.!|~$:")
CURATOR = "curator"  # who acts where nobody has given a name yet


def open_page(title: str, sentence: str) -> Workbench:
    """Heading and Workbench; a project that cannot be used ends the page with its sentence."""
    st.html(_STYLE)
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
    # Only a number and fixed text of ours go into the markup.
    st.html(f'<div role="status" aria-label="{label}" class="rv-skeleton" style="height:{int(height)}px"></div>')

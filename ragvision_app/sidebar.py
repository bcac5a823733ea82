"""The sidebar under the page list: which project, how far it is, who suggests. Calm and compact."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from core.errors import ProjectError
from core.text import duration
from ragvision_app import state
from ragvision_app.components.login_view import draw_login_name
from ragvision_app.components.outbox import unsent
from ragvision_app.components.page import literal

if TYPE_CHECKING:
    from core.run_status import RunStatus
    from core.store import Progress
    from core.workbench import Workbench

REFRESH = 5.0  # seconds; as text, Streamlit would load pandas to read it, before the first page
MISSING = "A chosen model is not there; the default goes on meanwhile. The Settings page says what is missing."
NOBODY = "(nobody yet)"  # whose own counts are zero, as long as no name was given


def progress_sentence(progress: Progress) -> str:
    """``12 of 300 labelled``, with what was put aside where there is any."""
    parts = [f"{progress.labelled:,} of {progress.total:,} labelled"]
    if progress.unsure:
        parts.append(f"{progress.unsure:,} unsure")
    if progress.skipped:
        parts.append(f"{progress.skipped:,} skipped")
    return " · ".join(parts)


def run_sentence(status: RunStatus) -> str:
    """What the worker does, with its numbers while it counts."""
    if status.state == "computing" and status.total:
        left = "" if status.seconds_left is None else f", {duration(status.seconds_left)} left"
        done, what = status.counted
        return f"{done:,} of {status.total:,} {what}{left}"
    return status.brief


def notice_title(notice: str) -> str:
    """The licence that the notice names, where it names one: it has to be on the screen."""
    licence = re.search(r"\bCC[ -](?:BY|0)[A-Z0-9.-]*(?: \d\.\d)?", notice)
    return licence[0] if licence else "About these images"


def draw_sidebar() -> None:
    """Draws it; a project that cannot be opened is said once, here, and ends the page."""
    try:
        workbench = state.workbench()
    except ProjectError as error:
        st.error(str(error), icon=":material/folder_off:")
        st.stop()
    with st.sidebar, st.container(gap="small", key="rv_sidebar"):
        st.text(workbench.project.root.name, help=f"The project's folder: {workbench.project.root}")
        _status(workbench)
        notice = workbench.notice
        if notice:
            with st.popover(notice_title(notice), type="tertiary", help="The licence of these images"):
                st.text(notice)
        unsent(project=state.browser_scope(workbench))
        draw_login_name()
        if not state.is_served():
            st.caption("Pages only: start with `python -m ragvision_app run` to label.")


@st.fragment(run_every=REFRESH)
def _status(workbench: Workbench) -> None:
    progress = workbench.progress(st.session_state.get(state.ANNOTATOR) or NOBODY)
    status = workbench.run_status()
    with st.container(gap="xxsmall"):
        st.progress(progress.labelled / progress.total if progress.total else 0.0)
        st.caption(progress_sentence(progress))
    chosen = workbench.settings.pipeline
    with st.container(gap="xxsmall"):
        st.caption(literal(run_sentence(status)))
        if status.stands_in:
            st.caption(f":orange[:material/cloud_off:] {MISSING}")
        st.caption(
            f"Encoder: {chosen.encoder}  \nReasoner: {chosen.reasoner}  \nRecipe: {chosen.recipe}",
            help=f"In full: {status.encoder}; {status.reasoner}; {status.recipe}." if status.encoder else None,
        )

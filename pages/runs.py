"""Runs: what the worker is doing, what it has done, and under which configuration."""

import streamlit as st

from ragvision_app.components.page import literal, open_page
from ragvision_app.components.runs_view import (
    NEXT_STEP,
    failed_rows,
    progress_line,
    run_rows,
    share,
    stale_sentence,
)

workbench = open_page(
    "Runs", "Suggestions are computed in the background, ahead of the annotator, and go on where they stopped."
)


@st.fragment(run_every=1.0)
def current() -> None:
    """The run in progress, once a second."""
    status = workbench.run_status()
    with st.container(border=True):
        if status.state == "failed":
            st.error(literal(status.sentence))
        else:
            st.markdown(f"**{literal(status.sentence)}**")
        if status.total:
            st.progress(share(status), text=progress_line(status))
        pipeline = workbench.settings.pipeline
        version = status.support_version[:12] or "none yet"
        st.caption(
            f"Encoder {pipeline.encoder} · reasoner {pipeline.reasoner} · recipe {pipeline.recipe} · "
            f"support version {version}",
            help=f"In full: {status.encoder}; {status.reasoner}." if status.encoder else None,
        )
        if stale := stale_sentence(status):
            st.warning(stale, icon=":material/update:")
        if step := NEXT_STEP.get(status.state):
            st.page_link(f"../pages/{step[1]}", label=step[0], icon=":material/arrow_forward:")


@st.fragment(run_every=5.0)
def history() -> None:
    """Every run there was, and the images that none could read."""
    rows = run_rows(workbench, workbench.store.runs())
    if rows:
        st.subheader("History", anchor=False)
        st.dataframe(
            rows,
            key="runs_table",
            hide_index=True,
            column_config={
                "Images": st.column_config.NumberColumn(
                    format="localized", help="images with a suggestion of this run"
                ),
                "Reasoner": st.column_config.TextColumn(width="medium"),
                "Started": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss"),
                "Support version": st.column_config.TextColumn(help="content hash of the support set that was used"),
                "Encoder's id": st.column_config.TextColumn(width="small", help="name, weights and preprocessing"),
            },
        )
    if failed := failed_rows(workbench):
        st.subheader(f"Without a suggestion ({len(failed):,})", anchor=False)
        st.dataframe(failed, hide_index=True)


current()
history()

"""Label: one image, one key. The loop itself runs in the browser; this page only mounts it."""

import streamlit as st

from ragvision_app import state
from ragvision_app.components.details import draw_details
from ragvision_app.components.label_view import FOCUS, PAGE_STYLE, QUEUES, annotator_name, clicked_details
from ragvision_app.components.reviewer import reviewer

COMPONENT = "reviewer"

workbench = state.workbench()
st.html(PAGE_STYLE)
asked_for = st.query_params.get("annotator") or st.session_state.get(state.ANNOTATOR) or ""
name, problem = annotator_name(state.login_name() or asked_for)  # a login's name is not for the address to change

if not name:
    with st.form("who", width=420):
        st.subheader("Who labels?", anchor=False)
        asked = st.text_input("Your name", max_chars=100)
        st.caption("Every decision is stored under it. It goes into the address, so a bookmark opens your queue.")
        if st.form_submit_button("Start labelling", type="primary"):
            name, problem = annotator_name(asked)
            if name:
                st.query_params["annotator"] = name
                st.rerun()
        if problem:
            st.warning(problem)
    st.html(FOCUS, unsafe_allow_javascript=True)
    st.stop()

st.session_state[state.ANNOTATOR] = name
if st.query_params.get("annotator") != name:
    st.query_params["annotator"] = name


settings = workbench.settings.labelling
asked_order = st.query_params.get("order") or settings.order
with st.sidebar:
    order = st.selectbox(
        "Queue",
        QUEUES,
        index=list(QUEUES).index(asked_order) if asked_order in QUEUES else 0,
        format_func=QUEUES.__getitem__,
    )
if order != (st.query_params.get("order") or settings.order):
    st.query_params["order"] = order


def toggle_details() -> None:
    """D opens the panel for the image on screen, and closes it when it is that image's already."""
    asked = clicked_details(st.session_state.get(COMPONENT))
    if asked:
        st.session_state[state.DETAILS] = None if asked == st.session_state.get(state.DETAILS) else asked


@st.fragment
def loop(annotator: str) -> None:
    """Loop and panel rerun together, without the page and without remounting the loop."""
    reviewer(
        annotator=annotator,
        project=state.browser_scope(workbench),
        order=order,
        prefetch=settings.prefetch,
        key=COMPONENT,
        on_details=toggle_details,
    )
    image = st.session_state.get(state.DETAILS)
    if image:
        with st.container(key="rv_details", border=True):
            draw_details(workbench, image, annotator)


loop(name)

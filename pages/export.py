"""Export: the labels with what stood behind them, and labels from elsewhere into this project."""

import streamlit as st

from core.errors import RagVisionError
from ragvision_app import state as keys
from ragvision_app.components.export_view import (
    FORMATS,
    PREVIEW_ROWS,
    Format,
    download,
    export_to_path,
    file_name,
    format_named,
    import_labels,
    preview_rows,
)
from ragvision_app.components.page import literal, open_page

workbench = open_page("Export", "Every label with its provenance: who, when, what was suggested, and by which run.")


def write(chosen: Format, link: bool) -> None:
    """Writes to the path that was typed; what came of it is shown after the rerun."""
    try:
        report = export_to_path(workbench, chosen.name, st.session_state[keys.EXPORT_PATH], link=link)
        st.session_state[keys.EXPORT_RESULT] = ("success", str(report))
    except RagVisionError as error:
        st.session_state[keys.EXPORT_RESULT] = ("error", str(error))


def take_labels(key: str) -> None:
    """Imports the uploaded label file."""
    uploaded = st.session_state.get(key)
    if uploaded is None:
        return
    try:
        report = import_labels(workbench, uploaded.name, uploaded.getvalue())
        level = "warning" if report.missing or report.refused or report.kept else "success"
        st.session_state[keys.LABELS_RESULT] = (level, str(report))
    except RagVisionError as error:
        st.session_state[keys.LABELS_RESULT] = ("error", str(error))


def told(key: str) -> None:
    """What the last action came to, once."""
    if result := st.session_state.pop(key, None):
        level, text = result
        {"success": st.success, "warning": st.warning, "error": st.error}[level](literal(text))


rows = preview_rows(workbench)
with st.container(border=True):
    name = st.segmented_control(
        "Format", [f.name for f in FORMATS], default="csv", required=True, format_func=lambda n: format_named(n).title
    )
    chosen = format_named(name or "csv")
    st.caption(chosen.about)
    st.download_button(
        f"Download {'as zip' if chosen.is_folder else chosen.title}",
        data=lambda: download(workbench, chosen.name),
        file_name=file_name(workbench, chosen),
        mime=chosen.media_type,
        type="primary",
        icon=":material/download:",
        on_click="ignore",
        disabled=not rows,
    )
    with st.expander("Write to a path on the server instead"):
        link = chosen.is_folder and (
            st.segmented_control(
                "Images are",
                ["copied", "hard-linked"],
                default="copied",
                required=True,
                help="A hard link takes no space and needs the same disk; where there is none, the image is copied.",
            )
            == "hard-linked"
        )
        st.text_input(
            "Path", key=keys.EXPORT_PATH, placeholder="/data/labels" + ("" if chosen.is_folder else chosen.ending)
        )
        st.button("Write", disabled=not rows, on_click=write, args=(chosen, link))
    told(keys.EXPORT_RESULT)

st.subheader("Preview", anchor=False)
if rows:
    st.dataframe(rows, hide_index=True, placeholder="")
    if len(rows) == PREVIEW_ROWS:
        st.caption(f"The first {PREVIEW_ROWS} rows; the export has every label and more columns.")
else:
    st.info("Nothing is labelled yet. The export is empty until the first decision.", icon=":material/info:")
    st.page_link("../pages/label.py", label="Label", icon=":material/arrow_forward:")

with st.expander("Import labels"):
    st.caption(
        "An export of another project, CSV or JSONL. Images are matched by their content, so they have to be imported "
        "first; a label that is here already is not stored twice."
    )
    st.file_uploader("Exported labels", type=["csv", "jsonl"], key=keys.LABELS_FILE)
    st.button(
        "Import labels",
        disabled=st.session_state.get(keys.LABELS_FILE) is None,
        on_click=take_labels,
        args=(keys.LABELS_FILE,),
    )
told(keys.LABELS_RESULT)

"""Images: bring them in from the browser or from a folder, and see what the project holds."""

import streamlit as st

from core.errors import RagVisionError
from core.text import duration
from ragvision_app import state as keys
from ragvision_app.components.gallery import image_grid
from ragvision_app.components.import_jobs import JOBS, ImportJob, Work
from ragvision_app.components.import_view import (
    UPLOAD_TYPES,
    counts_line,
    duplicate_rows,
    page_count,
    page_of_images,
    path_work,
    refused_rows,
    report_csv,
    report_line,
    row_height,
    upload_work,
)
from ragvision_app.components.page import literal, open_page, person

PAGE_SIZE = 120
workbench = open_page(
    "Images", "What is to be labelled. Each image is stored once, whatever its name; the originals stay where they are."
)
project = workbench.project.root


def start(title: str, work: Work) -> None:
    """Starts an import in the background; a refusal is shown where the button is."""
    try:
        JOBS.start(project, title, work)
    except RagVisionError as error:
        st.session_state[keys.IMPORT_REFUSED] = str(error)


def start_upload(key: str) -> None:
    """Imports what was chosen in the uploader, and empties it."""
    files = st.session_state.get(key) or []
    title = files[0].name if len(files) == 1 else f"{len(files):,} files"
    start(title, upload_work(workbench, [(f.name, f) for f in files]))
    st.session_state[keys.UPLOAD_ROUND] = st.session_state.get(keys.UPLOAD_ROUND, 0) + 1


def start_path() -> None:
    """Imports the path that was typed."""
    as_support = st.session_state[keys.IMPORT_AS] == "Support set"
    try:
        title, work = path_work(workbench, st.session_state[keys.IMPORT_PATH], as_support=as_support, by=person())
    except RagVisionError as error:
        st.session_state[keys.IMPORT_REFUSED] = str(error)
        return
    start(title, work)


def sources(busy: bool) -> None:
    """The two ways in: through the browser, or from the server's own disk."""
    browser, server = st.tabs(["From this computer", "From a folder on the server"])
    with browser:
        key = f"upload_{st.session_state.get('upload_round', 0)}"
        files = st.file_uploader(
            "Images, or a zip of them", type=UPLOAD_TYPES, accept_multiple_files=True, key=key, disabled=busy
        )
        st.button(
            f"Import {len(files):,} {'file' if len(files) == 1 else 'files'}" if files else "Import",
            type="primary",
            disabled=busy or not files,
            on_click=start_upload,
            args=(key,),
        )
    with server, st.form("import_from_path", border=False):
        st.text_input(
            "Folder, zip or image",
            key=keys.IMPORT_PATH,
            placeholder="/data/cells",
            help="On the machine that runs the workbench. Sub-folders are searched too.",
        )
        st.segmented_control(
            "Import as",
            ["Images to label", "Support set"],
            default="Images to label",
            required=True,
            key=keys.IMPORT_AS,
            help="As a support set, the name of each sub-folder is a class and its images are its examples.",
        )
        st.form_submit_button("Import", type="primary", disabled=busy, on_click=start_path)


@st.fragment(run_every=0.5)
def running(job: ImportJob) -> None:
    """Progress, twice a second; the whole page once more when it is done."""
    if not job.running:
        st.rerun()
    st.progress(job.share, text=f"Importing {literal(job.title)}: {job.line()}")
    st.caption("This goes on when you leave the page.")


def report(job: ImportJob) -> None:
    """What came of the last import, by name."""
    took = duration((job.finished or job.started) - job.started)
    with st.container(border=True):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown(f"**{literal(job.title)}** · imported in {took}" if job.report else f"**{literal(job.title)}**")
            st.button("Dismiss", type="tertiary", on_click=JOBS.dismiss, args=(project,))
        if job.error:
            st.error(literal(job.error))
        if job.report is None:
            return
        st.markdown(report_line(job.report))
        if job.report.refused:
            rows = refused_rows(job.report)
            st.dataframe(
                rows,
                hide_index=True,
                row_height=row_height(rows),
                column_config={
                    "File": st.column_config.TextColumn("Refused", width="small"),
                    "Reason": st.column_config.TextColumn("Why", width="large"),
                },
            )
        if job.report.duplicates:
            with st.expander(f"Duplicates ({len(job.report.duplicates):,})"):
                st.dataframe(duplicate_rows(job.report), hide_index=True)
        st.download_button(
            "Report as CSV",
            data=lambda kept=job.report: report_csv(kept),
            file_name="import-report.csv",
            mime="text/csv",
            on_click="ignore",
            icon=":material/download:",
        )


def turn(by: int) -> None:
    """To another page of the gallery."""
    st.session_state[keys.IMAGE_PAGE] = st.session_state.get(keys.IMAGE_PAGE, 0) + by


@st.fragment
def overview() -> None:
    """Counts, and the images page by page."""
    total = workbench.store.count_images()
    progress = workbench.progress(person())
    pages = page_count(total, PAGE_SIZE)
    page = min(max(0, st.session_state.get(keys.IMAGE_PAGE, 0)), pages - 1)
    st.session_state[keys.IMAGE_PAGE] = page
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.markdown(counts_line(total, progress), width="content")
        if pages > 1:
            with st.container(horizontal=True, vertical_alignment="center", width="content"):
                st.caption(
                    f"{page * PAGE_SIZE + 1:,}–{min(total, (page + 1) * PAGE_SIZE):,} of {total:,}", width="content"
                )
                st.button("Back", icon=":material/chevron_left:", disabled=page == 0, on_click=turn, args=(-1,))
                st.button("Next", icon=":material/chevron_right:", disabled=page == pages - 1, on_click=turn, args=(1,))
    image_grid(page_of_images(workbench, page, PAGE_SIZE), key="image_grid")


job = JOBS.newest(project)
busy = job is not None and job.running
sources(busy)
if refusal := st.session_state.pop(keys.IMPORT_REFUSED, None):
    st.error(literal(refusal))
if job is not None and job.running:
    running(job)
elif job is not None:
    report(job)
st.divider()
if workbench.store.count_images():
    overview()
else:
    st.info(
        "No images yet. Choose files above, or name a folder; a zip with 10,000 images is fine.", icon=":material/info:"
    )

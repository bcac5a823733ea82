"""The Images page: importing from the browser and from a path, the report by name, and the gallery."""

from __future__ import annotations

import io
import threading
import zipfile
from pathlib import Path

import pytest
from page_project import files, page, png, shown
from streamlit.testing.v1 import AppTest

from core.errors import InvalidInput
from core.imports import ImportReport, upload_source
from ragvision_app.components.import_jobs import JOBS, ImportJob
from ragvision_app.components.import_view import (
    duplicate_rows,
    page_count,
    page_of_images,
    path_work,
    refused_rows,
    report_csv,
    row_height,
    upload_work,
)


def quiet(*_: object) -> None:
    """A progress that nobody looks at."""


def done(workbench) -> ImportJob:
    """The import of this project, ended."""
    for _ in range(1000):
        job = JOBS.newest(workbench.project.root)
        if job is not None and not job.running:
            return job
        threading.Event().wait(0.01)
    raise AssertionError("no import ended")


def folder(root: Path, count: int = 3) -> Path:
    root.mkdir(parents=True)
    for name, data in files(500, count):
        (root / name).write_bytes(data)
    return root


def typed(at: AppTest, path: Path | str, *, kind: str = "Images to label") -> AppTest:
    """The path form, filled in and sent."""
    at.text_input(key="import_path").input(str(path))
    at.button_group(key="import_as").set_value(kind)
    return next(b for b in at.button if b.label == "Import" and b.proto.is_form_submitter).click().run()


def test_an_empty_project_says_what_to_do(empty):
    at = page("images")
    assert not at.exception
    assert "No images yet" in shown(at)


def test_a_folder_on_the_server_is_imported_in_the_background_and_reported_by_name(empty, tmp_path):
    root = folder(tmp_path / "photos")
    (root / "twin.png").write_bytes(png(500))
    (root / "text.jpg").write_bytes(b"hello")
    at = typed(page("images"), root)
    assert not at.exception
    report = done(empty).report
    assert (len(report.added), len(report.duplicates), len(report.refused)) == (3, 1, 1)
    at = at.run()
    assert "**3** added · **1** duplicate, stored once · **1** refused" in shown(at)
    assert "text.jpg" in str(at.dataframe[0].value)
    assert empty.store.count_images() == 3


def test_a_folder_of_folders_becomes_the_support_set(empty, tmp_path):
    for name in ("good", "bad"):
        folder(tmp_path / "set" / name, 1)
    (tmp_path / "set" / "bad" / "image500.png").write_bytes(png(900))
    typed(page("images"), tmp_path / "set", kind="Support set")
    assert not done(empty).error
    assert sorted(c.name for c in empty.store.classes()) == ["bad", "good"]
    assert len(empty.store.support()) == 2


@pytest.mark.parametrize(("path", "said"), [("", "Name a folder"), ("/no/such/folder", "/no/such/folder")])
def test_a_path_that_leads_nowhere_is_refused_where_it_was_typed(empty, path, said):
    at = typed(page("images"), path)
    assert not at.exception
    assert said in at.error[0].value.replace("\\", "")
    assert JOBS.newest(empty.project.root) is None


def test_an_empty_folder_ends_with_a_sentence(empty, tmp_path):
    (tmp_path / "nothing").mkdir()
    at = typed(page("images"), tmp_path / "nothing")
    assert "no images" in done(empty).error
    at = at.run()
    assert "no images" in at.error[0].value


def test_while_an_import_runs_no_second_one_can_be_started(served):
    go = threading.Event()
    JOBS.start(served.project.root, "slow", lambda _: go.wait(10) and ImportReport())
    try:
        at = page("images")
        assert not at.exception
        assert all(b.disabled for b in at.button if b.label == "Import")
        assert "goes on when you leave" in shown(at)
    finally:
        go.set()
        done(served)


def test_what_was_imported_is_gone_from_the_screen_when_dismissed_and_stays_in_the_project(empty, tmp_path):
    at = typed(page("images"), folder(tmp_path / "photos"))
    done(empty)
    at = at.run()
    next(b for b in at.button if b.label == "Dismiss").click().run()
    assert JOBS.newest(empty.project.root) is None
    assert empty.store.count_images() == 3


def test_uploaded_files_and_a_zip_are_imported_together(served):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inside.png", png(700))
    report = upload_work(served, [("loose.png", io.BytesIO(png(701))), ("more.zip", packed)])(quiet)
    assert sorted(a.name for a in report.added) == ["inside.png", "loose.png"]


def test_quotes_around_a_pasted_path_are_no_part_of_it(served, tmp_path):
    root = folder(tmp_path / "my photos")
    title, work = path_work(served, f'  "{root}" ', as_support=False, by="ada")
    assert title == "my photos"
    assert len(work(quiet).added) == 3


def test_a_path_that_does_not_exist_is_named_in_the_refusal(served):
    with pytest.raises(InvalidInput, match="nowhere"):
        path_work(served, "/nowhere", as_support=False, by="ada")


def test_the_report_names_every_file_and_no_spreadsheet_runs_a_name(served):
    report = served.import_images([upload_source([("=cmd.png", png(800)), ("b.txt.png", b"x"), ("c.png", png(800))])])
    text = report_csv(report).decode("utf-8-sig")
    assert "'=cmd.png,added" in text
    assert len(text.splitlines()) == 4
    assert [r["File"] for r in refused_rows(report)] == ["b.txt.png"]
    assert duplicate_rows(report) == [{"File": "c.png", "Same image as": "=cmd.png"}]


def test_the_gallery_shows_what_each_image_is_used_for(served):
    served.import_images([upload_source([("queued.png", png(1))])])
    notes = {row["name"]: row["note"] for row in page_of_images(served, 0, 100)}
    assert notes["queued.png"] == ""
    assert notes["image100.png"] == "support: functional"


def test_pages_of_the_gallery_hold_every_image_once(served):
    pages = page_count(served.store.count_images(), 4)
    shown_images = [row["image"] for number in range(pages) for row in page_of_images(served, number, 4)]
    assert len(shown_images) == len(set(shown_images)) == served.store.count_images() == 6
    assert page_count(0, 4) == 1


def test_the_report_gives_a_long_reason_the_lines_that_it_needs():
    short, long = {"File": "a.png", "Reason": "It is empty."}, {"File": "a.zip", "Reason": "word " * 60}
    assert row_height([]) == row_height([short]) < row_height([short, long]) >= 6 * 21

"""The Export page: formats, download, a path on the server, preview, and labels from elsewhere."""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from pathlib import Path

import pytest
from page_project import files, page, shown

from core.errors import InvalidInput
from core.imports import upload_source
from core.types import Decision, Kind
from core.workbench import Workbench
from ragvision_app.components.export_view import (
    FORMATS,
    download,
    export_to_path,
    file_name,
    format_named,
    import_labels,
    preview_rows,
)


@pytest.fixture
def labelled(served: Workbench) -> Workbench:
    """Four more images, two of them labelled defective."""
    report = served.import_images([upload_source(files(600, 4))])
    for added in report.added[:2]:
        label(served, added.sha256)
    return served


def label(workbench: Workbench, image: str) -> None:
    given = Decision(str(uuid.uuid4()), Kind.CORRECT, image, "ada", "2026-11-24T12:00:00.000+00:00", class_id=2)
    workbench.decide(given)


def test_without_labels_the_page_says_so_and_offers_no_empty_file(served):
    at = page("export")
    assert not at.exception
    assert "Nothing is labelled yet" in shown(at)
    assert at.get("download_button")[0].proto.disabled


def test_the_first_labels_are_on_the_page(labelled):
    at = page("export")
    assert not at.exception
    assert list(at.dataframe[0].value["class_name"]) == ["defective", "defective"]


@pytest.mark.parametrize("chosen", [f.name for f in FORMATS])
def test_every_format_can_be_chosen(labelled, chosen):
    at = page("export")
    at.button_group[0].set_value(chosen).run()
    assert not at.exception
    assert format_named(chosen).about in shown(at)


def test_a_jsonl_download_holds_one_line_a_label(labelled):
    rows = [json.loads(line) for line in download(labelled, "jsonl").splitlines()]
    assert [(r["class_name"], r["annotator"]) for r in rows] == [("defective", "ada")] * 2


def test_a_folder_download_is_a_zip_with_the_original_images(labelled):
    archive = zipfile.ZipFile(io.BytesIO(download(labelled, "folder")))
    images = [n for n in archive.namelist() if n.endswith(".png")]
    assert len(images) == 2
    assert archive.read(images[0]) in [data for _, data in files(600, 4)]


def test_an_export_to_a_folder_is_named_after_project_and_day(labelled, tmp_path):
    export_to_path(labelled, "csv", str(tmp_path))
    assert (tmp_path / file_name(labelled, format_named("csv"))).read_text().count("ada") == 2


def test_a_path_is_written_from_the_page_and_the_result_is_told(labelled, tmp_path):
    at = page("export")
    at.text_input(key="export_path").input(str(tmp_path / "out.csv"))
    next(b for b in at.button if b.label == "Write").click().run()
    assert not at.exception
    assert (tmp_path / "out.csv").exists()
    assert "2 labels written" in at.success[0].value


@pytest.mark.parametrize(("path", "said"), [("", "Name a path"), ("labels.csv", "absolute")])
def test_a_path_that_cannot_be_meant_is_refused(labelled, path, said):
    with pytest.raises(InvalidInput, match=said):
        export_to_path(labelled, "csv", path)


def test_a_folder_that_is_not_empty_is_never_written_over(labelled, tmp_path):
    (tmp_path / "kept.txt").write_text("mine")
    at = page("export")
    at.button_group[0].set_value("folder").run()
    at.text_input(key="export_path").input(str(tmp_path))
    next(b for b in at.button if b.label == "Write").click().run()
    assert not at.exception
    assert "not empty" in at.error[0].value
    assert [p.name for p in tmp_path.iterdir() if p.name == "kept.txt"] == ["kept.txt"]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_labels_of_one_project_come_into_another_that_has_the_images(labelled, tmp_path, form):
    other = Workbench.open(tmp_path / "other")
    try:
        other.import_images([upload_source(files(600, 4))])
        data = download(labelled, form)
        import_labels(other, f"export.{form}", data)
        import_labels(other, f"export.{form}", data)
        names = {c.id: c.name for c in other.store.classes()}
        assert [names[found.class_id] for found in other.store.labels()] == ["defective", "defective"]
    finally:
        other.close()


def test_the_preview_is_short_however_many_labels_there_are(labelled):
    assert len(preview_rows(labelled, limit=1)) == 1


def test_a_format_that_there_is_not_is_refused_with_those_there_are():
    with pytest.raises(InvalidInput, match="csv, jsonl, folder"):
        format_named("xml")


def test_no_download_leaves_files_behind(labelled, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(Path(tmp_path).iterdir())
    download(labelled, "folder")
    assert set(Path(tmp_path).iterdir()) == before

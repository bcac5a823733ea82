"""Images and labels in and out by the command line."""

from __future__ import annotations

import csv
import json
import uuid
import zipfile
from pathlib import Path

import pytest

from core.types import Decision, Kind
from core.workbench import Workbench
from ragvision_app import demo, projects
from tests.cli.conftest import picture


def test_import_reports_what_became_of_every_file(call, tmp_path, photos):
    done = call("import", photos, "--project", tmp_path / "p")
    assert done.code == 0
    assert "6 images added, 1 duplicate, 3 refused, 1 file of other kinds ignored." in done.out
    assert "twin.png: the same as stripes0.png" in done.err
    for name in ("text.jpg", "cut.png", "moving.gif"):
        assert f"  {name}: " in done.err


def test_import_of_single_files_and_of_examples(call, tmp_path, examples):
    picture(tmp_path / "one.png", "dots", 900)
    assert "1 image added." in call("import", tmp_path / "one.png", "--project", tmp_path / "p").out
    done = call("import", examples, "--as-support", "--project", tmp_path / "p")
    assert done.code == 0 and "stripes: 4 examples" in done.out and "dots: 4 examples" in done.out
    again = call("import", examples, "--as-support", "--project", tmp_path / "p")
    assert again.code == 0 and "8 duplicates" in again.out and "examples" not in again.out.replace(str(examples), "")


def test_nothing_usable_is_a_failure(call, tmp_path):
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / "a.jpg").write_text("text")
    done = call("import", tmp_path / "q", "--project", tmp_path / "p")
    assert done.code == 1 and "a.jpg" in done.err and "None of the files could be used." in done.err


def test_an_import_that_is_refused_leaves_no_new_project_and_an_old_one_as_it_was(call, tmp_path, photos):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../out.png", b"x")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    for arguments in (
        [photos, tmp_path / "evil.zip"],
        [photos, tmp_path / "evil.zip", "--as-support"],
        [broken],
        [tmp_path / "missing"],
    ):
        done = call("import", *arguments, "--project", tmp_path / "p")
        assert done.code == 1 and not (tmp_path / "p").exists(), arguments
    Workbench.open(tmp_path / "old", create=True).close()
    assert call("import", broken, "--project", tmp_path / "old").code == 1
    assert (tmp_path / "old" / "labels.db").is_file()


def test_zips_in_a_folder_are_named(call, tmp_path):
    picture(tmp_path / "photos" / "a" / "one.png", "dots", 1)
    for name in ("b.zip", "a/a.ZIP"):
        (tmp_path / "photos" / name).write_bytes(b"PK")
    done = call("import", tmp_path / "photos", "--project", tmp_path / "p")
    assert done.code == 0 and "2 zips lie in it and were not opened: a/a.ZIP, b.zip." in done.err
    done = call("import", tmp_path / "photos", "--as-support", "--project", tmp_path / "p")
    assert done.code == 0 and "a: 1 example\n" in done.out and "2 zips lie in it" in done.err
    (tmp_path / "photos" / "a" / "one.png").unlink()
    assert "a/a.ZIP" in call("import", tmp_path / "photos", "--project", tmp_path / "p").err


@pytest.mark.parametrize("command", ["import", "import-labels", "export"])
def test_without_a_project_the_demo_is_meant_and_nothing_else(call, tmp_path, monkeypatch, photos, command):
    monkeypatch.setattr(projects, "DEMO_PROJECT", tmp_path / "demo")
    arguments = {
        "import": [photos],
        "import-labels": [tmp_path / "labels.csv"],
        "export": ["--format", "csv", "--out", tmp_path / "labels.csv"],
    }[command]
    done = call(command, *arguments)
    assert done.code == 1 and "--project" in done.err and not (tmp_path / "demo").exists()
    Workbench.open(tmp_path / "demo", create=True).close()  # somebody's own, where the demo would be
    assert "--project" in call(command, *arguments).err
    (tmp_path / "demo" / "NOTICE.txt").write_text(demo.NOTICE, encoding="utf-8")
    call("export", "--format", "csv", "--out", tmp_path / "labels.csv")
    done = call(command, *arguments)
    assert done.code == 0 and f"Project: {tmp_path / 'demo'}" in done.out


def labelled_project(call, root, examples, photos):
    assert call("import", photos, "--project", root).code == 0
    assert call("import", examples, "--as-support", "--project", root).code == 0
    workbench = Workbench.open(root, create=False)
    try:
        ids = {c.name: c.id for c in workbench.store.classes()}
        for image in workbench.store.images(limit=100, offset=0):
            kind = "dots" if "dots" in image.name else "stripes"
            if image.sha256 not in {s.image for s in workbench.store.support()}:
                workbench.decide(
                    Decision(
                        id=str(uuid.uuid4()),
                        kind=Kind.CORRECT,
                        image=image.sha256,
                        annotator="ada",
                        made_at="2026-11-24T12:00:00+00:00",
                        class_id=ids[kind],
                        note="=1+1" if kind == "dots" else None,
                    )
                )
    finally:
        workbench.close()


def read_csv(path):
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def test_labels_go_out_in_and_out_again_the_same(call, tmp_path, examples, photos):
    labelled_project(call, tmp_path / "a", examples, photos)
    done = call("export", "--format", "csv", "--out", tmp_path / "a.csv", "--project", tmp_path / "a")
    assert done.code == 0
    assert f"6 labels written to “{tmp_path / 'a.csv'}”." in done.out and f"Project: {tmp_path / 'a'}" in done.out
    again = call("export", "--format", "csv", "--out", tmp_path / "a.csv", "--project", tmp_path / "a")
    assert again.code == 0 and "is replaced" in again.out and "is replaced" not in done.out
    rows = read_csv(tmp_path / "a.csv")
    assert len(rows) == 6 and {row["annotator"] for row in rows} == {"ada"}

    assert call("import", photos, "--project", tmp_path / "b").code == 0
    done = call("import-labels", tmp_path / "a.csv", "--project", tmp_path / "b")
    assert "6 labels added" in done.out and "stay in the file" in done.out
    assert "0 labels added" in call("import-labels", tmp_path / "a.csv", "--project", tmp_path / "b").out
    assert call("export", "--format", "csv", "--out", tmp_path / "b.csv", "--project", tmp_path / "b").code == 0

    def what_was_decided(rows):
        return sorted((r["image"], r["class_name"], r["annotator"], r["decided_at"], r["note"]) for r in rows)

    assert what_was_decided(read_csv(tmp_path / "b.csv")) == what_was_decided(rows)


def test_every_format_is_written(call, tmp_path, examples, photos):
    labelled_project(call, tmp_path / "a", examples, photos)
    assert call("export", "--format", "jsonl", "--out", tmp_path / "a.jsonl", "--project", tmp_path / "a").code == 0
    assert len([json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]) == 6
    done = call("export", "--format", "folder", "--out", tmp_path / "tree", "--link", "--project", tmp_path / "a")
    assert done.code == 0
    assert (
        len(list((tmp_path / "tree" / "dots").iterdir())) == len(list((tmp_path / "tree" / "stripes").iterdir())) == 3
    )


def test_unsure_and_skipped_are_told_apart_from_labels(call, tmp_path, photos):
    assert call("import", photos, "--project", tmp_path / "p").code == 0
    workbench = Workbench.open(tmp_path / "p", create=False)
    try:
        images = [image.sha256 for image in workbench.store.images(limit=4, offset=0)]
        class_id = workbench.store.add_class("dots").id
        for image, kind in zip(images, (Kind.CORRECT, Kind.UNSURE, Kind.UNSURE, Kind.SKIP), strict=True):
            workbench.decide(
                Decision(
                    id=str(uuid.uuid4()),
                    kind=kind,
                    image=image,
                    annotator="ada",
                    made_at="2026-11-24T12:00:00+00:00",
                    class_id=class_id if kind is Kind.CORRECT else None,
                )
            )
    finally:
        workbench.close()
    for format in ("csv", "jsonl", "folder"):
        done = call("export", "--format", format, "--out", tmp_path / format, "--project", tmp_path / "p")
        assert done.out.startswith("1 label (and 1 skipped, 2 unsure) written to "), done.out


def test_an_export_to_stdout_is_the_file_and_nothing_else(call, tmp_path, examples, photos):
    labelled_project(call, tmp_path / "a", examples, photos)
    for format in ("csv", "jsonl"):
        call("export", "--format", format, "--out", tmp_path / format, "--project", tmp_path / "a")
        done = call("export", "--format", format, "--out", "-", "--project", tmp_path / "a")
        assert done.code == 0 and done.out.encode() == (tmp_path / format).read_bytes()
    done = call("export", "--format", "folder", "--out", "-", "--project", tmp_path / "a")
    assert done.code == 1 and done.out == "" and "stdout" in done.err and not Path("-").exists()


def test_an_unknown_format_is_told_in_plain_words(call):
    done = call("export", "--format", "xml", "--out", "x")
    assert done.code == 2 and "“xml”" in done.err and "csv, folder, jsonl" in done.err
    assert "Value error" not in done.err


def test_images_that_this_project_lacks_are_named(call, tmp_path, examples, photos):
    labelled_project(call, tmp_path / "a", examples, photos)
    call("export", "--format", "jsonl", "--out", tmp_path / "a.jsonl", "--project", tmp_path / "a")
    picture(tmp_path / "other" / "one.png", "dots", 77)
    call("import", tmp_path / "other", "--project", tmp_path / "c")
    done = call("import-labels", tmp_path / "a.jsonl", "--project", tmp_path / "c")
    assert "6 of images that are not in this project" in done.out

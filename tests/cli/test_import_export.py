"""Images and labels in and out by the command line."""

from __future__ import annotations

import csv
import json
import uuid

from core.types import Decision, Kind
from core.workbench import Workbench
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
    assert done.code == 0 and "6 labels written" in done.out
    rows = read_csv(tmp_path / "a.csv")
    assert len(rows) == 6 and {row["annotator"] for row in rows} == {"ada"}

    assert call("import", photos, "--project", tmp_path / "b").code == 0
    assert "6 labels added" in call("import-labels", tmp_path / "a.csv", "--project", tmp_path / "b").out
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


def test_images_that_this_project_lacks_are_named(call, tmp_path, examples, photos):
    labelled_project(call, tmp_path / "a", examples, photos)
    call("export", "--format", "jsonl", "--out", tmp_path / "a.jsonl", "--project", tmp_path / "a")
    picture(tmp_path / "other" / "one.png", "dots", 77)
    call("import", tmp_path / "other", "--project", tmp_path / "c")
    done = call("import-labels", tmp_path / "a.jsonl", "--project", tmp_path / "c")
    assert "6 of images that are not in this project" in done.out

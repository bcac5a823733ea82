"""``doctor``: everything is fine, or what is not and what to do."""

from __future__ import annotations

import json

from ragvision_app.cli import doctor
from tests.cli.conftest import picture


def findings(call, project):
    done = call("doctor", "--json", "--project", project)
    return done.code, {row["name"]: row for row in json.loads(done.out)}, json.loads(done.out)


def test_a_sound_project_passes_every_check(call, tmp_path):
    picture(tmp_path / "photos" / "one.png", "dots", 1)
    call("import", tmp_path / "photos", "--project", tmp_path / "p")
    code, _, rows = findings(call, tmp_path / "p")
    assert code == 0 and len(rows) >= 5
    assert not [row for row in rows if row["ok"] is False]
    assert all(row["sentence"].strip() for row in rows)


def test_a_lost_image_file_is_found_and_fails_the_check(call, tmp_path):
    picture(tmp_path / "photos" / "one.png", "dots", 1)
    call("import", tmp_path / "photos", "--project", tmp_path / "p")
    for path in (tmp_path / "p" / "images").rglob("*"):
        if path.is_file():
            path.unlink()
    code, _, rows = findings(call, tmp_path / "p")
    assert code == 1 and [row for row in rows if row["ok"] is False]
    assert "checks failed" in call("doctor", "--project", tmp_path / "p").err


def test_a_project_that_is_not_there_is_a_warning_and_is_not_made(call, tmp_path):
    code, by_name, _ = findings(call, tmp_path / "nothing")
    assert code == 0 and by_name["project"]["ok"] is None
    assert not (tmp_path / "nothing").exists()


def test_a_folder_that_is_no_project_is_wrong(call, tmp_path):
    (tmp_path / "holiday.txt").write_text("mine")
    code, by_name, _ = findings(call, tmp_path)
    assert code == 1 and by_name["project"]["ok"] is False


def test_other_versions_are_a_warning_and_missing_packages_are_wrong(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("# pins\nnumpy==0.0.1 # old\ntyper==9999 # new\n")
    ((name, ok, sentence),) = doctor.pinned_versions(requirements)
    assert (name, ok) == ("packages", None) and "instead of 0.0.1" in sentence and "typer" in sentence
    requirements.write_text("no-such-package==1 # reason\n")
    ((_, ok, sentence),) = doctor.pinned_versions(requirements)
    assert ok is False and "no-such-package" in sentence and "make setup" in sentence


def test_the_environment_of_these_tests_is_the_pinned_one():
    assert [ok for _, ok, _ in doctor.pinned_versions(doctor.ROOT / "requirements.txt")] == [True]

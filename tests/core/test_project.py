"""A project is a folder; everything else that the path might be is refused with a sentence."""

import os

import pytest

from core.errors import InvalidInput, ProjectError
from core.project import Project

SHA = "ab" + "0" * 62


def test_a_new_project_has_its_folders_and_opens_again_without_create(tmp_path):
    made = Project.open(tmp_path / "cells", create=True)
    assert made.images_dir.is_dir() and made.thumbnails_dir.is_dir()
    assert Project.open(tmp_path / "cells") == made
    assert made.name == "cells"


def test_an_image_lies_under_its_digest(tmp_path):
    project = Project.open(tmp_path, create=True)
    assert project.image_path(SHA) == tmp_path / "images" / "ab" / SHA


@pytest.mark.parametrize(
    "sha",
    ["", "ab", SHA.upper(), SHA + "0", "../../etc/passwd", "g" * 64, SHA + "\n", f"../{'a' * 61}"],
    ids=["empty", "short", "upper case", "long", "path", "no hex", "line end", "path of 64"],
)
def test_nothing_but_a_digest_becomes_a_path(tmp_path, sha):
    with pytest.raises(InvalidInput):
        Project.open(tmp_path, create=True).image_path(sha)


def test_a_missing_project_is_not_made_without_create(tmp_path):
    with pytest.raises(ProjectError, match="There is no project"):
        Project.open(tmp_path / "typo")
    assert not (tmp_path / "typo").exists()


def test_a_file_is_no_project(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProjectError, match="is a file"):
        Project.open(tmp_path / "file", create=True)


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(ProjectError, match="holds other files"):
        Project.open(tmp_path, create=True)
    assert [p.name for p in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_first_start_that_was_killed_can_go_on(tmp_path):
    (tmp_path / "images").mkdir()  # the folders were made, the database was not
    (tmp_path / ".gitkeep").touch()
    assert Project.open(tmp_path, create=True).thumbnails_dir.is_dir()


def test_a_cache_that_was_deleted_is_made_again(tmp_path):
    project = Project.open(tmp_path, create=True)
    project.labels_db.touch()
    project.thumbnails_dir.rmdir()
    project.cache_dir.rmdir()
    assert Project.open(tmp_path).thumbnails_dir.is_dir()


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ProjectError, match="cannot be written"):
        Project.open(tmp_path / "file" / "project", create=True)


def test_what_a_kill_left_behind_is_cleared_and_what_is_being_written_is_not(tmp_path):
    project = Project.open(tmp_path, create=True)
    folder = project.images_dir / "ab"
    folder.mkdir()
    (folder / ".tmp-old").write_bytes(b"half")
    (folder / ".tmp-new").write_bytes(b"half")
    os.utime(folder / ".tmp-old", (0, 0))
    Project.open(tmp_path)
    assert [p.name for p in folder.iterdir()] == [".tmp-new"]

"""What a folder gives, and what is passed over, refused or reported."""

import os
from pathlib import Path

import pytest

from core.errors import ImportFailed
from core.imports import file_source, folder_source, sources_for


def names(source):
    return [file.name for file in source]


def test_sub_folders_are_read_sorted_with_relative_names(tree, image):
    root = tree({"b.png": image(1), "a/z.JPG": image(2), "a/b/c.webp": image(3), "A.bmp": image(4)})
    source = folder_source(root)
    assert names(source) == ["A.bmp", "a/b/c.webp", "a/z.JPG", "b.png"]
    assert source.label == "folder photos"
    assert source.files[3].read() == image(1) and source.files[3].size == len(image(1))


def test_other_files_are_counted_and_foreign_images_named(tree, image):
    root = tree({"a.png": image(1), "notes.txt": b"x", "labels.csv": b"x", "scan.tiff": b"x", "moving.GIF": b"x"})
    source = folder_source(root)
    assert (names(source), source.ignored) == (["a.png"], 2)
    assert [(r.name, r.reason.split(" ")[0]) for r in source.refused] == [
        ("moving.GIF", ".gif"),
        ("scan.tiff", ".tiff"),
    ]


def test_hidden_files_and_what_systems_leave_behind_are_passed_over(tree, image):
    root = tree({"a.png": image(1), ".hidden.png": image(2), "__MACOSX/._a.png": b"x", ".git/b.png": image(3)})
    source = folder_source(root)
    assert (names(source), source.ignored, source.refused) == (["a.png"], 0, [])


def test_a_project_inside_the_folder_is_not_imported_into_itself(tree, image):
    root = tree({"a.png": image(1), "project/labels.db": b"x", "project/cache/thumbnails/x.webp": image(2)})
    assert names(folder_source(root)) == ["a.png"]


@pytest.mark.parametrize("files", [{}, {"notes.txt": b"x"}, {".hidden.png": b"x"}], ids=["empty", "text", "hidden"])
def test_a_folder_without_images_says_what_was_looked_for(tree, files):
    with pytest.raises(ImportFailed, match=r"no images in .*JPEG, PNG, WebP and BMP"):
        folder_source(tree(files))


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ImportFailed, match=r"There is no folder .*typo"):
        folder_source(tmp_path / "typo")


@pytest.mark.skipif(not Path("/proc/self/root").exists(), reason="a Linux")
def test_what_the_system_says_of_itself_is_no_folder_of_images(tree, image):
    with pytest.raises(ImportFailed, match="not files of yours"):
        folder_source(Path("/proc/self"))
    root = tree({"a.png": image(1)})
    (root / "link").symlink_to("/proc/self", target_is_directory=True)
    source = folder_source(root)
    assert (names(source), source.ignored) == (["a.png"], 0)


def test_links_are_followed_once(tree, image):
    root = tree({"a/x.png": image(1)})
    outside = tree({"y.png": image(2)}, "outside")
    (root / "a" / "up").symlink_to(root, target_is_directory=True)  # would never end
    (root / "out").symlink_to(outside, target_is_directory=True)
    (root / "gone.png").symlink_to(root / "nowhere")
    source = folder_source(root)
    assert names(source) == ["a/x.png", "out/y.png"]
    assert [r.name for r in source.refused] == ["gone.png"]


def test_a_pipe_called_jpg_does_not_hang_the_import(tree, image):
    root = tree({"a.png": image(1)})
    os.mkfifo(root / "pipe.jpg")
    assert [r.name for r in folder_source(root).refused] == ["pipe.jpg"]


def test_a_file_that_was_named_is_tried_whatever_its_ending(tree, image):
    root = tree({"scan": image(1)})
    assert names(file_source(root / "scan")) == ["scan"]
    with pytest.raises(ImportFailed, match="There is no file"):
        file_source(root / "typo.png")


def test_paths_become_the_source_of_their_kind(tree, image, tmp_path):
    root = tree({"a.png": image(1), "b/c.png": image(2)})
    assert [source.label for source in sources_for([root, root / "a.png"])] == ["folder photos", "file"]
    with pytest.raises(ImportFailed, match="typo"):
        sources_for([root, tmp_path / "typo"])

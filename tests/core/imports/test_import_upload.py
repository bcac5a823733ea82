"""Uploads: every file is tried; a zip among them is unpacked in memory."""

import io
import zipfile

import pytest

from core.errors import ImportFailed
from core.imports import upload_source


def test_bytes_and_open_files_are_read_in_the_order_of_the_upload(image):
    with upload_source([("b.png", image(1)), ("a", io.BytesIO(image(2)))]) as source:
        assert [(file.name, file.size, file.read()) for file in source] == [
            ("b.png", len(image(1)), image(1)),
            ("a", len(image(2)), image(2)),
        ]


@pytest.mark.parametrize("name", ["C:\\fakepath\\a.png", "../../a.png", "/etc/a.png"])
def test_only_the_last_part_of_a_browsers_path_is_kept(name, image):
    assert [file.name for file in upload_source([(name, image(1))])] == ["a.png"]


def test_a_zip_is_unpacked_and_a_bad_one_refused_by_name(image):
    good, bad = io.BytesIO(), io.BytesIO()
    for out, name in ((good, "x.png"), (bad, "../x.png")):
        with zipfile.ZipFile(out, "w") as packed:
            packed.writestr(name, image(1))
    with upload_source([("good.zip", good.getvalue()), ("BAD.ZIP", bad), ("a.png", image(2))]) as source:
        assert [file.name for file in source] == ["x.png", "a.png"]
        assert [file.read() for file in source] == [image(1), image(2)]
        assert [r.name for r in source.refused] == ["BAD.ZIP"]


def test_nothing_uploaded_is_a_sentence():
    with pytest.raises(ImportFailed, match="Nothing was uploaded"):
        upload_source([])

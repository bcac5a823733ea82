"""A zip is read in memory, and one that no image needs to be is refused whole."""

import io
import stat
import zipfile

import pytest

from core.errors import DamagedImage, ImportFailed, UnsafeArchive
from core.imports import ZipLimits, zip_source


def archive(files, compression=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return out.getvalue()


def test_images_are_read_sorted_and_others_counted(image):
    data = archive({"b/z.png": image(1), "a.jpg": image(2), "b/": b"", "x.txt": b"x", "__MACOSX/._a.jpg": b"x"})
    with zip_source(data, "shots.zip") as source:
        assert [file.name for file in source] == ["a.jpg", "b/z.png"]
        assert (source.label, source.ignored) == ("zip shots.zip", 1)
        assert source.files[1].read() == image(1)


def test_a_zip_on_disk_is_named_by_its_file(tmp_path, image):
    (tmp_path / "shots.zip").write_bytes(archive({"a.png": image(1)}))
    with zip_source(tmp_path / "shots.zip") as source:
        assert source.label == "zip shots.zip" and source.files[0].read() == image(1)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../evil.png", "out of the archive"),
        ("a/../../evil.png", "out of the archive"),
        ("..\\evil.png", "out of the archive"),
        ("/etc/evil.png", "an absolute path"),
        ("\\\\server\\evil.png", "an absolute path"),
        ("C:\\evil.png", "an absolute path"),
        ("../evil.txt", "out of the archive"),  # not an image: still no archive to trust
    ],
)
def test_a_path_that_leads_elsewhere_refuses_the_archive(name, says, image, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafeArchive, match=says):
        zip_source(archive({"good.png": image(1), name: image(2)}), "shots.zip")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_link_or_a_device_refuses_the_archive(kind):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (kind | 0o777) << 16
    with pytest.raises(UnsafeArchive, match="a link or a device"):
        zip_source(archive({link: "/etc/passwd"}))


def test_a_bomb_is_refused_before_it_is_unpacked(monkeypatch):
    data = archive({f"{n}.png": b"\0" * 20_000_000 for n in range(3)})
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("a member was opened"))
    with pytest.raises(UnsafeArchive, match="times its size"):
        zip_source(data)


def test_count_and_total_are_limited(image):
    data = archive({f"{n}.png": image(n) for n in range(4)})
    with pytest.raises(UnsafeArchive, match="holds 4 files; at most 3"):
        zip_source(data, limits=ZipLimits(max_members=3))
    with pytest.raises(UnsafeArchive, match="would unpack to"):
        zip_source(data, limits=ZipLimits(max_total=100))
    assert len(zip_source(data, limits=ZipLimits(max_members=4))) == 4


def test_a_member_that_lies_about_its_size_gives_no_more_than_it_declared(image):
    data = bytearray(archive({"a.png": b"\0" * 5_000_000}))
    at = data.rindex(b"PK\1\2") + 24
    data[at : at + 4] = (1000).to_bytes(4, "little")  # declares 1,000 bytes
    with zip_source(bytes(data)) as source, pytest.raises(DamagedImage, match="cannot be unpacked"):
        source.files[0].read()


def test_a_damaged_member_is_refused_alone(image):
    data = bytearray(archive({"a.png": image(1, side=40), "b.png": image(2)}, zipfile.ZIP_STORED))
    data[200] ^= 0xFF
    with zip_source(bytes(data)) as source:
        with pytest.raises(DamagedImage, match=r"a\.png.*cannot be unpacked"):
            source.files[0].read()
        assert source.files[1].read() == image(2)


def test_a_password_is_said(image):
    data = bytearray(archive({"a.png": image(1)}))
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(magic) + offset] |= 1
    with pytest.raises(ImportFailed, match="password"):
        zip_source(bytes(data), "shots.zip")


def test_packing_that_can_hide_bombs_is_refused_by_name(image):
    source = zip_source(archive({"a.png": image(1)}, zipfile.ZIP_LZMA))
    assert [r.name for r in source.refused] == ["a.png"] and len(source) == 0


@pytest.mark.parametrize("data", [b"", b"PK\3\4 not really", b"text"])
def test_what_is_no_zip_is_a_sentence(data):
    with pytest.raises(ImportFailed, match="not a zip archive"):
        zip_source(data, "shots.zip")


def test_a_zip_without_images_says_what_was_looked_for():
    with pytest.raises(ImportFailed, match=r"no images in “shots\.zip”"):
        zip_source(archive({"a.txt": b"x"}), "shots.zip")

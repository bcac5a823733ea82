"""What becomes of every file: stored once, duplicate, or refused by name; files before rows; bounded memory."""

import hashlib
import io
import os
import zipfile

import pytest
from PIL import Image

from core.errors import ImportFailed, ProjectError
from core.files import write_atomic
from core.imports import _importer, folder_source, import_images, upload_source, zip_source
from core.imports._source import ImageSource, SourceFile
from core.settings import ImageLimits


def sha(data):
    return hashlib.sha256(data).hexdigest()


def test_each_image_is_stored_with_its_bytes_and_its_record(project, store, tree, image):
    files = {"a.png": image(1), "sub/b.jpg": image(2, "JPEG", 30)}
    report = import_images(project, store, [folder_source(tree(files))])
    assert [item.name for item in report.added] == ["a.png", "sub/b.jpg"]
    assert (report.total, report.duplicates, report.refused) == (2, [], [])
    for data in files.values():
        assert project.image_path(sha(data)).read_bytes() == data
    record = store.image(sha(files["sub/b.jpg"]))
    assert (record.name, record.source, record.width, record.height, record.bytes) == (
        "sub/b.jpg",
        "folder photos",
        30,
        30,
        len(files["sub/b.jpg"]),
    )
    assert len(record.phash) == 16


def test_bad_files_are_refused_by_name_and_the_rest_goes_on(project, store, tree, image):
    files = {
        "a.png": image(1),
        "text.jpg": b"just text",
        "cut.jpg": image(2, "JPEG", 64)[:300],
        "empty.png": b"",
        "scan.tif": b"x",
        "notes.txt": b"x",
        "z.png": image(3),
    }
    report = import_images(project, store, [folder_source(tree(files))])
    assert [item.name for item in report.added] == ["a.png", "z.png"]
    assert {r.name: r.reason for r in report.refused}.keys() == {"text.jpg", "cut.jpg", "empty.png", "scan.tif"}
    assert all(r.reason.endswith(".") for r in report.refused)
    assert (report.total, report.ignored, store.count_images()) == (6, 1, 2)
    assert report.summary() == "2 images added, 4 refused, 1 file of other kinds ignored."


def test_nothing_of_a_refused_file_stays_on_the_disk(project, store):
    import_images(project, store, [upload_source([("text.jpg", b"just text")])])
    assert [p for p in project.images_dir.rglob("*") if p.is_file()] == []


def test_duplicates_are_reported_under_the_first_name_and_stored_once(project, store, tree, image):
    root = tree({"a.png": image(1), "copy.png": image(1), "sub/again.png": image(1), "b.png": image(2)})
    report = import_images(project, store, [folder_source(root)])
    assert [(d.name, d.first) for d in report.duplicates] == [("copy.png", "a.png"), ("sub/again.png", "a.png")]
    assert store.count_images() == 2
    again = import_images(project, store, [folder_source(root)])
    assert (again.added, len(again.duplicates)) == ([], 4)
    assert {d.name: d.first for d in again.duplicates}["copy.png"] == "a.png"
    assert again.total == 4 and store.count_images() == 2


def test_twins_that_cannot_be_decoded_are_both_refused(project, store):
    report = import_images(project, store, [upload_source([("a.jpg", b"text"), ("b.jpg", b"text")])])
    assert [r.name for r in report.refused] == ["a.jpg", "b.jpg"] and report.duplicates == []


def test_an_original_that_was_lost_comes_back_with_the_next_import(project, store, image):
    import_images(project, store, [upload_source([("a.png", image(1))])])
    path = project.image_path(sha(image(1)))
    path.unlink()
    report = import_images(project, store, [upload_source([("a.png", image(1))])])
    assert path.read_bytes() == image(1)
    assert (len(report.added), len(report.duplicates)) == (0, 1)


def test_the_file_is_there_before_the_row(project, store, image, monkeypatch):
    seen = []
    real = store.add_images

    def watched(records):
        seen.extend(project.image_path(r.sha256).is_file() for r in records)
        return real(records)

    monkeypatch.setattr(store, "add_images", watched)
    import_images(project, store, [upload_source([(f"{n}.png", image(n)) for n in range(5)])])
    assert seen == [True] * 5


def test_an_import_that_died_can_be_repeated(project, store, image, monkeypatch):
    files = [(f"{n}.png", image(n)) for n in range(5)]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(store, "add_images", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        import_images(project, store, [upload_source(files)])
    assert store.count_images() == 0
    assert len(import_images(project, store, [upload_source(files)]).added) == 5


def test_a_full_disk_is_a_sentence_and_keeps_what_was_stored(project, store, image, monkeypatch):
    monkeypatch.setattr(_importer, "_BATCH_FILES", 2)
    written = []

    def full(path, data, **options):
        if len(written) >= 2:
            raise OSError(28, "No space left on device")
        written.append(path)
        write_atomic(path, data, **options)

    monkeypatch.setattr(_importer, "write_atomic", full)
    with pytest.raises(ProjectError, match="No space left"):
        import_images(project, store, [upload_source([(f"{n}.png", image(n)) for n in range(6)])])
    assert store.count_images() == 2


def test_progress_counts_every_file_up_to_the_total(project, store, tree, image):
    files = {f"{n:03}.png": image(n) for n in range(70)} | {"x.gif": b"x", "y.jpg": b"text", "dup.png": image(1)}
    calls = []
    root = tree(files)
    report = import_images(project, store, [folder_source(root)], on_progress=lambda *call: calls.append(call))
    assert [done for done, _, _ in calls] == list(range(2, 74))  # the gif was refused beforehand
    assert {total for _, total, _ in calls} == {73} == {report.total}
    assert calls[-1][2] == report.bytes == sum(len(data) for name, data in files.items() if name != "x.gif")


def test_memory_is_bounded_by_the_batch(project, store):
    """Never more than one batch of files is read and not yet let go."""
    alive, most = set(), 0

    class Data(bytes):
        def __new__(cls, number):
            nonlocal most
            out = bytes.__new__(cls, number.to_bytes(4, "big") + b"not an image")
            alive.add(number)
            most = max(most, len(alive))
            out.number = number
            return out

        def __del__(self):
            alive.discard(self.number)

    files = [SourceFile(f"{n}.png", 20 * 2**20, lambda n=n: Data(n)) for n in range(40)]
    report = import_images(project, store, [ImageSource("many", files)])
    assert len(report.refused) == 40
    assert most <= 7  # 64 MB hold three of 20 MB; the batch before may still be on its way out


def test_a_file_over_the_byte_limit_is_refused_without_being_read(project, store):
    source = ImageSource("x", [SourceFile("big.png", 101, lambda: pytest.fail("it was read"))])
    report = import_images(project, store, [source], limits=ImageLimits(max_bytes=100))
    assert "at most 100" in report.refused[0].reason


def test_a_file_that_vanishes_is_refused_and_the_rest_goes_on(project, store, tree, image):
    root = tree({"a.png": image(1), "b.png": image(2)})
    source = folder_source(root)
    (root / "a.png").unlink()
    report = import_images(project, store, [source])
    assert [r.name for r in report.refused] == ["a.png"] and [a.name for a in report.added] == ["b.png"]


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
        ("caf\udce9.png", "caf\\xe9.png"),
        ("🐱" * 50 + ".png", "🐱" * 50 + ".png"),
        ("=HYPERLINK(1).png", "=HYPERLINK(1).png"),
    ],
)
def test_names_are_kept_as_data(project, store, image, name, stored):
    report = import_images(project, store, [upload_source([(name, image(1))])])
    assert report.added[0].name == stored == store.images()[0].name


def test_a_name_on_disk_that_is_not_utf8_is_imported(project, store, tree, image):
    root = tree({"a.png": image(1)})
    (root / "a.png").rename(root / os.fsdecode(b"caf\xe9.png"))
    assert import_images(project, store, [folder_source(root)]).added[0].name == "caf\\xe9.png"


def test_sources_are_closed_also_when_the_import_fails(project, store, image):
    closed = []
    for failing in (False, True):

        def progress(*_, failing=failing):
            if failing:
                raise RuntimeError("stop")

        source = ImageSource("x", [SourceFile("a.png", 9, lambda: image(1))], close=lambda: closed.append(1))
        try:
            import_images(project, store, [source], on_progress=progress)
        except RuntimeError:
            assert failing
    assert closed == [1, 1]


def test_nothing_at_all_is_a_sentence(project, store):
    with pytest.raises(ImportFailed, match="nothing to import"):
        import_images(project, store, [])


def test_a_zip_and_a_folder_at_once(project, store, tree, image, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("in.png", image(1))
    root = tree({"in.png": image(1), "out.png": image(2)})
    report = import_images(project, store, [zip_source(tmp_path / "a.zip"), folder_source(root)])
    assert [a.name for a in report.added] == ["in.png", "out.png"]
    assert [d.name for d in report.duplicates] == ["in.png"]


def test_an_exif_turn_is_in_the_stored_size(project, store):
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (40, 30)).save(out, "JPEG", exif=exif.tobytes())
    import_images(project, store, [upload_source([("a.jpg", out.getvalue())])])
    assert (store.images()[0].width, store.images()[0].height) == (30, 40)

"""What may come in, what it becomes, and what is refused with which sentence."""

import hashlib
import io
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core import images
from core.errors import DamagedImage, ImageError, ImageTooLarge, InvalidInput, NotFound, UnsupportedImage
from core.images import decode, open_stored, perceptual_hash, preview_bytes, render, shown, storable
from core.project import Project
from core.settings import ImageLimits

FORMATS = ["JPEG", "PNG", "WEBP", "BMP"]


def encoded(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def picture(width=40, height=30):
    """Left half red, right half blue, top row of blocks brighter: no symmetry that a wrong turn could hide in."""
    array = np.zeros((height, width, 3), np.uint8)
    array[:, : width // 2, 0] = 200
    array[:, width // 2 :, 2] = 200
    array[: height // 2, :, 1] = 90
    return Image.fromarray(array)


def noise(width=64, height=48, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def png_header(width, height):
    """A PNG that claims a size and has next to no data: what a bomb looks like."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


# --------------------------------------------------------------------------- accepted
@pytest.mark.parametrize("format", FORMATS)
def test_each_format_decodes_to_upright_rgb_with_its_address(format):
    data = encoded(picture(), format)
    decoded = decode(data, "a.jpg")  # the name's ending decides nothing
    assert (decoded.image.mode, decoded.width, decoded.height, decoded.format) == ("RGB", 40, 30, format)
    assert decoded.sha256 == hashlib.sha256(data).hexdigest()
    assert decoded.bytes == len(data)
    left, right = decoded.image.getpixel((5, 25)), decoded.image.getpixel((35, 25))
    assert left[0] > 150 and left[2] < 60 and right[2] > 150 and right[0] < 60


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_image_as_a_viewer_would(format, orientation):
    upright = picture()
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the sensor would have held this picture
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if format != "PNG" else {}
    decoded = decode(encoded(stored, format, exif=exif.tobytes(), **options), "turned.jpg")
    assert decoded.image.size == upright.size
    difference = np.abs(np.asarray(decoded.image, float) - np.asarray(upright, float)).mean()
    assert difference < 12  # a wrong turn is above 60


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_beside_sound_pixels_does_not_cost_the_image():
    data = encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert decode(data, "a.jpg").image.size == (40, 30)


def test_a_photo_with_a_second_picture_inside_opens_as_its_first_jpeg():
    first = picture()
    data = encoded(first, "MPO", save_all=True, append_images=[noise(40, 30)])
    assert Image.open(io.BytesIO(data)).format == "MPO"  # what Pillow makes of it by itself
    decoded = decode(data, "stereo.jpg")
    assert decoded.format == "JPEG"
    assert np.abs(np.asarray(decoded.image, float) - np.asarray(first, float)).mean() < 12


@pytest.mark.parametrize("format", ["WEBP", "PNG"])
def test_an_animation_is_its_first_frame(format):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=50, **_lossless(format))
    assert decode(data, "moving").image.getpixel((8, 8)) == (255, 0, 0)


def _lossless(format):
    return {"lossless": True} if format == "WEBP" else {}


def test_seek_is_never_called(monkeypatch):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:])

    def forbidden(*_):
        raise AssertionError("seek was called")

    monkeypatch.setattr("PIL.WebPImagePlugin.WebPImageFile.seek", forbidden)
    monkeypatch.setattr("PIL.MpoImagePlugin.MpoImageFile.seek", forbidden)
    assert decode(data, "moving.webp").width == 16


def test_a_cmyk_jpeg_has_its_colours():
    decoded = decode(
        encoded(Image.new("RGB", (32, 32), (250, 20, 20)).convert("CMYK"), "JPEG", quality=95), "print.jpg"
    )
    red, green, blue = decoded.image.getpixel((16, 16))
    assert red > 200 and green < 60 and blue < 60


def test_16_bit_gray_keeps_its_range_instead_of_being_clipped():
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (4, 1))
    gray = np.asarray(decode(encoded(Image.fromarray(ramp), "PNG"), "16.png").image)[0, :, 0]
    assert np.abs(gray.astype(int) - np.arange(256)).max() <= 1


def test_12_bits_in_16_are_not_black():
    ramp = np.tile(np.linspace(0, 4095, 256).astype(np.uint16), (4, 1))
    gray = np.asarray(decode(encoded(Image.fromarray(ramp), "PNG"), "12.png").image)[0, :, 0]
    assert gray[0] == 0 and gray[-1] == 255 and np.all(np.diff(gray.astype(int)) >= 0)


@pytest.mark.parametrize("value", [0, 300, 65535])
def test_16_bit_gray_of_one_value_is_that_shade(value):
    flat = Image.fromarray(np.full((4, 4), value, np.uint16))
    assert decode(encoded(flat, "PNG"), "flat.png").image.getpixel((0, 0)) == (value >> 8,) * 3


def test_transparency_is_on_white():
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.putpixel((0, 0), (10, 20, 30, 255))
    decoded = decode(encoded(image, "PNG"), "logo.png").image
    assert decoded.getpixel((0, 0)) == (10, 20, 30) and decoded.getpixel((5, 5)) == (255, 255, 255)


def test_a_palette_with_a_transparent_entry_is_on_white():
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 10, 10])
    image.putpixel((0, 0), 0)
    decoded = decode(encoded(image, "PNG", transparency=0), "p.png").image
    assert decoded.getpixel((0, 0)) == (255, 255, 255) and decoded.getpixel((5, 5)) == (200, 10, 10)


def test_an_alpha_that_hides_everything_is_ignored():
    assert decode(encoded(Image.new("RGBA", (4, 4), (9, 8, 7, 0)), "PNG"), "a.png").image.getpixel((1, 1)) == (9, 8, 7)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_every_mode_of_png_becomes_rgb(mode):
    assert decode(encoded(picture().convert(mode), "PNG"), "a.png").image.mode == "RGB"


# --------------------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("data", "kind", "says"),
    [
        (b"hello, I am a text", UnsupportedImage, "holds text"),
        (
            b"BMW is not a bitmap, whatever it begins with; nor is a text of more than a header",
            UnsupportedImage,
            "holds text",
        ),
        (b"", DamagedImage, "empty"),
        (b"\xff\xd8\xff", DamagedImage, "damaged"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", UnsupportedImage, "SVG"),
        (b"GIF89a" + b"\0" * 40, UnsupportedImage, "a GIF"),
        (b"II*\0" + b"\0" * 40, UnsupportedImage, "a TIFF"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 40, UnsupportedImage, "HEIC"),
        (b"PK\3\4" + b"\0" * 40, UnsupportedImage, "a zip"),
        (bytes(range(128, 200)), UnsupportedImage, "not an image"),
    ],
)
def test_what_is_no_image_is_refused_by_what_it_is(data, kind, says):
    with pytest.raises(kind, match=says) as caught:
        decode(data, "photo.jpg")
    assert "“photo.jpg”" in str(caught.value)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95])
def test_a_truncated_file_is_damaged(format, part):
    data = encoded(noise(), format)
    with pytest.raises(DamagedImage, match="damaged or cut short"):
        decode(data[: max(20, int(len(data) * part))], "cut.jpg")


@pytest.mark.parametrize("format", FORMATS)
def test_a_file_that_lacks_its_last_bytes_is_damaged(format):
    data = encoded(noise(), format)
    for missing in (1, 2, 12, 20):
        with pytest.raises(DamagedImage):
            decode(data[:-missing], "cut.png")


def test_a_huge_png_is_refused_before_a_pixel_is_decoded(monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(ImageTooLarge, match="30,000 × 30,000"):
        decode(png_header(30_000, 30_000), "bomb.png")


@pytest.mark.parametrize("format", FORMATS)
def test_the_pixel_limit_is_checked_before_loading_in_every_format(format, monkeypatch):
    data = encoded(noise(), format)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("pixels were decoded"))
    with pytest.raises(ImageTooLarge, match="64 × 48"):
        decode(data, "a", ImageLimits(max_pixels=64 * 48 - 1))


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("animated", [True, False])
def test_a_webp_is_measured_before_pillow_makes_its_canvas(lossless, animated, monkeypatch):
    options = {"save_all": True, "append_images": [noise(seed=1)]} if animated else {}
    data = encoded(noise(), "WEBP", lossless=lossless, **options)
    monkeypatch.setitem(images._PLUGINS, "WEBP", lambda _: pytest.fail("the canvas was made"))
    with pytest.raises(ImageTooLarge, match="64 × 48"):
        decode(data, "a.webp", ImageLimits(max_pixels=100))


def test_the_limits_are_inclusive():
    data = encoded(noise(), "PNG")
    assert decode(data, "a", ImageLimits(max_pixels=64 * 48, max_bytes=len(data))).width == 64
    with pytest.raises(ImageTooLarge, match="bytes"):
        decode(data, "a", ImageLimits(max_bytes=len(data) - 1))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FORMATS), st.data())
def test_whatever_happens_to_the_bytes_only_typed_errors_come_out(format, draw):
    data = bytearray(encoded(noise(24, 16), format))
    for _ in range(draw.draw(st.integers(1, 8))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        decoded = decode(bytes(data), "fuzzed", ImageLimits(max_pixels=1_000_000))
    except ImageError as error:
        assert str(error).endswith(".")
    else:
        assert decoded.image.mode == "RGB"


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_with_a_sentence(data):
    with pytest.raises(ImageError):
        decode(data, "x")


# --------------------------------------------------------------------------- names
def test_a_name_in_a_message_is_short_and_printable():
    assert shown("a\x1b[31m\u202egnp.exe\n") == "“a�[31m�gnp.exe�”"
    assert len(shown("x" * 500)) <= 82
    assert shown("Zelle ä 太阳 🐱.png") == "“Zelle ä 太阳 🐱.png”"


def test_a_name_that_no_database_can_hold_is_spelled_out():
    assert storable("caf\udce9.jpg") == "caf\\xe9.jpg"  # Latin-1 on a UTF-8 system
    assert storable("\ud83d.jpg") == "\\ud83d.jpg"
    assert storable("nul\0.jpg") == "nul\\x00.jpg"
    assert storable("<img src=x onerror=alert(1)>🐱\n") == "<img src=x onerror=alert(1)>🐱\n"


@given(st.text(alphabet=st.characters(), max_size=50))
def test_every_storable_name_is_utf8(name):
    assert "\0" not in storable(name).encode().decode()


# --------------------------------------------------------------------------- perceptual hash
def test_the_perceptual_hash_is_that_of_imagehash():
    # imagehash 4.3.2, phash(), of these two images
    assert perceptual_hash(noise()) == "e7496833422957d7"
    assert perceptual_hash(Image.linear_gradient("L").convert("RGB")) == "8000800080008000"


def test_near_images_have_near_hashes_and_others_do_not():
    smooth = noise(16, 12).resize((320, 240), Image.Resampling.BICUBIC)
    again = decode(encoded(smooth.resize((200, 150)), "JPEG", quality=60), "a").phash
    assert _distance(perceptual_hash(smooth), again) <= 6
    assert _distance(perceptual_hash(smooth), perceptual_hash(noise(16, 12, seed=9).resize((320, 240)))) >= 16


def _distance(a, b):
    return (int(a, 16) ^ int(b, 16)).bit_count()


# --------------------------------------------------------------------------- previews
@pytest.fixture
def stored(tmp_path):
    project = Project.open(tmp_path / "p", create=True)

    def put(data):
        sha = hashlib.sha256(data).hexdigest()
        path = project.image_path(sha)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return sha

    return project, put


def opened(data):
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize(("size", "expected"), [(160, (160, 120)), (320, (320, 240)), (1024, (640, 480))])
def test_a_preview_is_webp_of_its_size_and_never_enlarged(stored, size, expected):
    project, put = stored
    image = opened(preview_bytes(project, put(encoded(picture(640, 480), "PNG")), size))
    assert (image.format, image.size) == ("WEBP", expected)


def test_a_preview_is_upright_and_carries_nothing_of_the_original(stored):
    project, put = stored
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "SecretCamera"
    data = preview_bytes(project, put(encoded(picture(), "JPEG", exif=exif.tobytes(), comment=b"SecretComment")), 160)
    assert opened(data).size == (30, 40)
    assert b"Secret" not in data


def test_a_large_jpeg_is_not_blurred_by_decoding_it_smaller(stored, tmp_path):
    (tmp_path / "a").write_bytes(encoded(picture(1200, 900), "JPEG", quality=95))  # an eighth would be too small
    small = np.asarray(opened(render(tmp_path / "a", 160)).convert("RGB"), float)
    reference = np.asarray(picture(1200, 900).resize((160, 120), Image.Resampling.LANCZOS), float)
    assert np.abs(small - reference).mean() < 4


def test_the_cache_is_used_and_can_be_deleted_or_damaged(stored):
    project, put = stored
    sha = put(encoded(noise(), "PNG"))
    first = preview_bytes(project, sha, 160)
    cached = next(project.thumbnails_dir.rglob("*.webp"))
    project.image_path(sha).unlink()
    assert preview_bytes(project, sha, 160) == first  # from the cache
    cached.write_bytes(first[:-9])
    with pytest.raises(NotFound):  # a cut file is not served
        preview_bytes(project, sha, 160)
    put(encoded(noise(), "PNG"))
    assert preview_bytes(project, sha, 160) == first == cached.read_bytes()


def test_many_requests_for_one_preview_encode_it_once(stored, monkeypatch):
    project, put = stored
    sha = put(encoded(noise(), "PNG"))
    calls, real, barrier = [], images.render, threading.Barrier(8)

    def slow(*args):
        calls.append(1)
        time.sleep(0.05)  # the others arrive meanwhile
        return real(*args)

    monkeypatch.setattr(images, "render", slow)

    def request(_):
        barrier.wait()
        return preview_bytes(project, sha, 320)

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(request, range(8)))
    assert (len(answers), len(calls)) == (1, 1)
    assert [p.suffix for p in project.thumbnails_dir.rglob("*") if p.is_file()] == [".webp"]


def test_a_cache_that_cannot_be_written_costs_no_picture(stored, monkeypatch):
    project, put = stored

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(images, "write_atomic", full)
    assert opened(preview_bytes(project, put(encoded(noise(), "PNG")), 160)).size == (64, 48)


def test_only_ids_and_sizes_that_there_are_get_a_preview(stored):
    project, put = stored
    sha = put(encoded(noise(), "PNG"))
    for bad in (0, 161, 4096):
        with pytest.raises(InvalidInput, match="160, 320, 1024"):
            preview_bytes(project, sha, bad)
    with pytest.raises(InvalidInput):
        preview_bytes(project, "../labels.db", 160)
    with pytest.raises(NotFound):
        preview_bytes(project, "0" * 64, 160)


def test_a_stored_original_opens_upright(stored):
    project, put = stored
    exif = Image.Exif()
    exif[0x0112] = 8
    assert open_stored(project.image_path(put(encoded(picture(), "JPEG", exif=exif.tobytes())))).size == (30, 40)

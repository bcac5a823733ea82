"""Bytes → a safe, upright RGB image; its address, perceptual hash and previews.

What the outside gives us is opened with care (CVE-2026-40192 and its kin): the format is told by the
first bytes and only that one Pillow plugin is asked, the size is checked before any pixel is decoded, and
``seek`` is never called: of an animation, the first frame counts. Original bytes are never served.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np
from PIL import BmpImagePlugin, Image, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from core.errors import DamagedImage, ImageTooLarge, InvalidInput, NotFound, UnsupportedImage
from core.files import write_atomic
from core.project import Project
from core.settings import ImageLimits
from core.text import printable

FORMATS: Final = ("JPEG", "PNG", "WEBP", "BMP")
EXTENSIONS: Final = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "BMP": ".bmp"}
PREVIEW_SIZES: Final = {"thumb": 160, "small": 320, "preview": 1024}

# The plugins themselves rather than Image.open: its JPEG factory turns a photo with an MP index into an MPO,
# a multi-frame format with its own seek.
_PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
# What Pillow's decoders are known to raise on hostile data; warnings, where they are made errors.
_DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, EOFError,
    OverflowError, ArithmeticError, RuntimeError, struct.error, zlib.error, Warning,
)  # fmt: skip
_OTHER_KINDS = (
    (b"GIF8", "a GIF"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%PDF", "a PDF"),
    (b"PK\3\4", "a zip archive"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000"),
    (b"8BPS", "a Photoshop file"),
    (b"\xff\x0a", "a JPEG XL"),
)
_PNG_END = b"IEND\xaeB`\x82"
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# A 100-megapixel image takes 400 MB while it is decoded: those above this size are decoded one at a time.
_LARGE_PIXELS = 16_000_000
_one_large_image = threading.Lock()
_preview_locks = tuple(threading.Lock() for _ in range(32))


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """An accepted image. ``image`` is RGB and upright; ``width`` and ``height`` are its own, after the turn."""

    image: Image.Image
    sha256: str
    width: int
    height: int
    bytes: int
    phash: str
    format: str


def decode(data: bytes, name: str, limits: ImageLimits | None = None) -> DecodedImage:
    """Check and decode the bytes of one image file; ``name`` is only used in messages.

    Raises :class:`UnsupportedImage` (another format, or no image), :class:`ImageTooLarge` (before any pixel
    is decoded) or :class:`DamagedImage` (truncated or corrupt).
    """
    limits = limits or ImageLimits()
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(
            f"{shown(name)} has {len(data):,} bytes; at most {limits.max_bytes:,} are accepted. Save it smaller."
        )
    image, kind = _load(io.BytesIO(data), name, limits)
    if kind == "PNG" and _PNG_END not in data:  # Pillow is content when the pixels are there
        raise _damaged(kind, name)
    return DecodedImage(
        image, hashlib.sha256(data).hexdigest(), image.width, image.height, len(data), perceptual_hash(image), kind
    )


def open_stored(path: Path, limits: ImageLimits | None = None) -> Image.Image:
    """The upright RGB image of a stored original. Raises :class:`NotFound` or an ``ImageError``."""
    with _opened(path) as file:
        return _load(file, path.name, limits or ImageLimits())[0]


def format_of(head: bytes) -> str | None:
    """Which of :data:`FORMATS` the first 16 bytes begin, or None."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    # "BM" alone also begins many a text; in a bitmap, the upper half of the offset of its pixels is zero.
    if head.startswith(b"BM") and len(head) >= 14 and not any(head[12:14]):
        return "BMP"
    return None


def stored_format(path: Path) -> str:
    """Which of :data:`FORMATS` a stored original has. Raises :class:`NotFound` or :class:`DamagedImage`."""
    with _opened(path) as file:
        kind = format_of(file.read(16))
    if kind is None:
        raise DamagedImage(f"The stored file {path.name} is no longer an image. Import the image again.")
    return kind


def perceptual_hash(image: Image.Image) -> str:
    """pHash, 16 hex digits: near images differ in few of the 64 bits. Equal to ``imagehash.phash``.

    Written out because the package would bring scipy and PyWavelets for these five lines.
    """
    gray = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float64)  # (32, 32)
    # (8, 8) lowest frequencies; rounded, for what is zero by symmetry must not become noise of the 13th digit
    low = np.round(_DCT @ gray @ _DCT.T, 6)
    return np.packbits(low > np.median(low)).tobytes().hex()


_DCT = 2 * np.cos(np.pi * np.outer(np.arange(8), 2 * np.arange(32) + 1) / 64)  # (8, 32), DCT-II


def shown(name: str, longest: int = 80) -> str:
    """A file's name as it may stand in a message: printable, short, in quotes."""
    text = printable(name)
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[-(longest // 2 - 1) :]}"
    return f"“{text}”"


def storable(name: str) -> str:
    """``name`` with what no database or JSON can hold (lone surrogates, NUL) written as ``\\xe9``; else as it is.

    Only a name of over 1,000 characters, which no file system has, loses its beginning.
    """
    return re.sub(
        "[\0\ud800-\udfff]",
        lambda m: f"\\x{ord(m[0]) & 0xFF:02x}" if m[0] < "\1" or m[0] >= "\udc80" else f"\\u{ord(m[0]):04x}",
        name[-1000:],
    )


# --------------------------------------------------------------------------- previews
def thumbnail(path: Path, size: int, limits: ImageLimits | None = None) -> Image.Image:
    """A stored original as RGB, upright, with ``size`` pixels on its long side at most; never enlarged."""
    with _opened(path) as file:
        image = _load(file, path.name, limits or ImageLimits(), at_least=size)[0]
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return image


def render(path: Path, long_side: int, limits: ImageLimits | None = None) -> bytes:
    """A stored original encoded again as WebP (never its own bytes), ``long_side`` pixels at most."""
    out = io.BytesIO()
    # Method 2 takes half the time of the default 4 for files a few per cent larger.
    thumbnail(path, long_side, limits).save(out, "WEBP", quality=90 if long_side > 320 else 82, method=2)
    return out.getvalue()


def preview_bytes(project: Project, sha256: str, size: int, limits: ImageLimits | None = None) -> bytes:
    """The WebP of an image at one of :data:`PREVIEW_SIZES`, from the cache where it is there.

    Safe under concurrent calls. Raises :class:`InvalidInput` (size or id), :class:`NotFound`, ``ImageError``.
    """
    if size not in PREVIEW_SIZES.values():
        raise InvalidInput(f"There is no preview of {size} pixels; there are {', '.join(map(str, _sizes()))}.")
    original = project.image_path(sha256)
    cached = project.thumbnails_dir / str(size) / sha256[:2] / f"{sha256}.webp"
    if (data := _whole_webp(cached)) is not None:
        return data
    with _preview_locks[int(sha256[:4], 16) % len(_preview_locks)]:  # the same image once, others beside it
        if (data := _whole_webp(cached)) is not None:
            return data
        data = render(original, size, limits)
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(cached, data, durable=False)
        except OSError:
            return data  # a full disk costs the cache, not the picture
        return data


def _sizes() -> list[int]:
    return sorted(PREVIEW_SIZES.values())


def _whole_webp(path: Path) -> bytes | None:
    # Written without fsync: after a power loss a file may be empty or short, and is made again.
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if len(data) > 12 and int.from_bytes(data[4:8], "little") + 8 == len(data) else None


# --------------------------------------------------------------------------- decoding
def _load(file: IO[bytes], name: str, limits: ImageLimits, at_least: int | None = None) -> tuple[Image.Image, str]:
    head = file.read(64)
    file.seek(0)
    kind = format_of(head)
    if kind is None:
        raise _not_an_image(head, name)
    if kind == "WEBP":
        _check_size(_webp_size(head), name, limits)  # Pillow allocates the canvas as it opens
    try:
        with _PLUGINS[kind](file) as image:
            _check_size(image.size, name, limits)
            with _one_large_image if image.width * image.height > _LARGE_PIXELS else nullcontext():
                if at_least is not None:
                    image.draft(None, (at_least * 2, at_least * 2))  # a JPEG then decodes at 1/2, 1/4, 1/8
                image.load()
                return _upright(_to_rgb(image), _orientation(image)), kind
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"{shown(name)} has more pixels than can be decoded safely. Save it smaller.") from error
    except MemoryError as error:
        raise ImageTooLarge(f"{shown(name)} needs more memory than there is. Save it smaller.") from error
    except _DECODER_ERRORS as error:
        raise _damaged(kind, name) from error


def _check_size(size: tuple[int, int] | None, name: str, limits: ImageLimits) -> None:
    if size is None:
        return
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageTooLarge(
            f"{shown(name)} has {width:,} × {height:,} pixels; at most {limits.max_pixels:,} in all are accepted. "
            "Save it smaller, or cut it into parts."
        )


def _webp_size(head: bytes) -> tuple[int, int] | None:
    """Canvas from a WebP's first 30 bytes, or None where they are not what they should be."""
    if len(head) < 30:
        return None
    if head[12:16] == b"VP8X":
        return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _DECODER_ERRORS:
        return 1  # broken metadata beside sound pixels: the picture counts


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of the four formats → a fresh RGB image without metadata.

    16-bit gray is stretched from its own darkest to its own brightest value (cameras put 10 or 12 bits into
    16, which would be black). Transparent parts become white; an alpha that hides everything is ignored.
    """
    if image.mode.startswith("I"):
        image = _stretched(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        alpha = rgba.getchannel("A")
        if alpha.getextrema() != (0, 0):
            white = Image.new("RGB", rgba.size, "white")
            white.paste(rgba, mask=alpha)
            return white
        image = rgba
    rgb = image.convert("RGB") if image.mode != "RGB" else image.copy()
    rgb.info = {}
    return rgb


def _stretched(image: Image.Image) -> Image.Image:
    values = np.asarray(image)  # (h, w), uint16 or int32
    low, high = int(values.min()), int(values.max())
    if low == high:
        return Image.new("L", image.size, min(max(low, 0) >> 8, 255))
    gray = np.empty(values.shape, np.uint8)
    for row, out in zip(values, gray, strict=True):  # a row at a time: no float copy of the whole image
        out[:] = np.rint((row.astype(np.float32) - low) * (255.0 / (high - low)))
    return Image.fromarray(gray)


def _not_an_image(head: bytes, name: str) -> UnsupportedImage | DamagedImage:
    wanted = "JPEG, PNG, WebP and BMP are accepted"
    if not head:
        return DamagedImage(f"{shown(name)} is empty (0 bytes). Copy it again.")
    for magic, kind in _OTHER_KINDS:
        if head.startswith(magic):
            return UnsupportedImage(f"{shown(name)} is {kind}; {wanted}. Save it as one of them.")
    if head[4:8] == b"ftyp":
        return UnsupportedImage(f"{shown(name)} is a HEIC, AVIF or video file; {wanted}. Save it as one of them.")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<svg", b"<?xml", b"<!doctype", b"<html")):
        return UnsupportedImage(f"{shown(name)} is SVG, XML or HTML; {wanted}. Save it as one of them.")
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return UnsupportedImage(f"{shown(name)} holds text, not an image; {wanted}. Choose the image file itself.")
    return UnsupportedImage(f"{shown(name)} is not an image that can be read; {wanted}. Save it as one of them.")


def _damaged(kind: str, name: str) -> DamagedImage:
    return DamagedImage(
        f"{shown(name)} is damaged or cut short: it begins as a {'WebP' if kind == 'WEBP' else kind} file but cannot "
        "be read to its end. Copy or save it again."
    )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise NotFound(f"The image {path.name[:12]} is not in the project. Import it again.") from error
    except OSError as error:
        raise DamagedImage(f"The image {path.name[:12]} cannot be read: {error.strerror or error}.") from error
    with file:
        yield file

"""What every source of images gives the importer: files to read, those refused, and how many were ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from core.text import printable

# Accepted endings; a file that was named by a person is tried whatever it is called.
IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib"})
# Endings of images that we do not decode: worth a sentence each, where a .txt is only counted.
_FOREIGN = """
.gif .tif .tiff .heic .heif .avif .svg .jp2 .j2k .jxl .psd .ico .tga .ppm .pgm .pbm .exr .hdr .raw .cr2 .nef .arw .dng
.dcm
"""
FOREIGN_ENDINGS = frozenset(_FOREIGN.split())
ACCEPTED = "JPEG, PNG, WebP and BMP"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file to import. ``read`` gives its bytes, from any thread; ``size`` is what it says it has.

    ``read`` raises OSError or an ``ImageError``.
    """

    name: str
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that was not imported, and why: a sentence for a person."""

    name: str
    reason: str


def _nothing() -> None:
    """A source that holds nothing open."""


@dataclass(slots=True)
class ImageSource:
    """Files in their order. ``label`` says where they come from and is stored with each image.

    ``archives`` names the zips among the files that were ignored: they may well hold what was wanted.
    Iterating gives the files; :meth:`close` lets go of an archive (also by ``with``).
    """

    label: str
    files: list[SourceFile]
    refused: list[Refused] = field(default_factory=list)
    ignored: int = 0
    archives: list[str] = field(default_factory=list)
    close: Callable[[], None] = _nothing

    def ignore(self, name: str) -> None:
        """Counts a file of another kind; a zip is named as well."""
        self.ignored += 1
        if ending(name) == ".zip":
            self.archives.append(name)

    def __iter__(self) -> Iterator[SourceFile]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __enter__(self) -> ImageSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ending(name: str) -> str:
    """The lower-case suffix of a path's last part: ``.jpg``."""
    return PurePosixPath(name).suffix.lower()


def foreign(name: str) -> Refused:
    """The refusal of an image in a format that we do not decode."""
    return Refused(name, f"{ending(name)} files are not read; {ACCEPTED} are. Save it as one of them.")


def hidden(name: str) -> bool:
    """Whether a path has a part that starts with a dot, or is the Mac's or Windows' own."""
    return any(part.startswith(".") or part in ("__MACOSX", "Thumbs.db", "desktop.ini") for part in name.split("/"))


def zips_inside(names: list[str]) -> str:
    """The sentence that names zips which lay among the files, and were not opened; the first ten."""
    some = ", ".join(printable(name) for name in names[:10]) + (", …" if len(names) > 10 else "")
    if len(names) == 1:
        return f"A zip lies in it and was not opened: {some}. Import it by itself."
    return f"{len(names):,} zips lie in it and were not opened: {some}. Import them by themselves."

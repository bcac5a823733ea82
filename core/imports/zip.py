"""Images from a zip archive: read member by member into memory, never unpacked by name."""

from __future__ import annotations

import io
import stat
import threading
import zipfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from core.errors import DamagedImage, ImportFailed, UnsafeArchive
from core.images import shown
from core.imports._source import ACCEPTED, FOREIGN_ENDINGS, IMAGE_ENDINGS, ImageSource, Refused, SourceFile
from core.imports._source import ending as _ending
from core.imports._source import foreign as _foreign
from core.imports._source import hidden as _hidden

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class ZipLimits:
    """What an archive may be at most. The ratio counts only above ``small`` bytes: blank bitmaps pack well."""

    max_members: int = 200_000
    max_total: int = 64 * 2**30
    max_ratio: int = 100
    small: int = 50_000_000


def zip_source(archive: Path | bytes | IO[bytes], name: str = "", limits: ZipLimits | None = None) -> ImageSource:
    """Every image in a zip, sorted by path; the archive is held open until the source is closed.

    Raises :class:`UnsafeArchive` for ``..``, absolute paths, links or what looks like a bomb (nothing of the
    archive is imported then), :class:`ImportFailed` when it is no zip, or encrypted, or holds no image.
    """
    if isinstance(archive, bytes):
        archive = io.BytesIO(archive)
    if isinstance(archive, Path):
        name, archive = name or archive.name, archive.expanduser()
    title = shown(name or "the archive")
    try:
        opened = zipfile.ZipFile(archive)
    except FileNotFoundError as error:
        raise ImportFailed(f"There is no file {title}. Check the path.") from error
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise ImportFailed(f"{title} is not a zip archive that can be read: {error}. Pack it again.") from error
    try:
        return _listed(opened, name, title, limits or ZipLimits())
    except BaseException:
        opened.close()
        raise


def _listed(opened: zipfile.ZipFile, name: str, title: str, limits: ZipLimits) -> ImageSource:
    members = opened.infolist()
    _check_size(members, title, limits)
    for member in members:
        _check_safe(member, title)
    source = ImageSource(f"zip {name}".strip(), [], close=opened.close)
    lock = threading.Lock()  # a ZipFile has one file position for all its readers
    for member in sorted(members, key=lambda member: member.filename):
        path = member.filename
        if member.is_dir() or _hidden(path):
            continue
        if _ending(path) in FOREIGN_ENDINGS:
            source.refused.append(_foreign(path))
        elif _ending(path) not in IMAGE_ENDINGS:
            source.ignore(path)
        elif member.flag_bits & _ENCRYPTED:
            raise ImportFailed(f"{title} is protected by a password. Unpack it, and import the folder.")
        elif member.compress_type not in _METHODS:
            source.refused.append(Refused(path, "it is packed in a way other than deflate. Pack the archive again."))
        else:
            source.files.append(SourceFile(path, member.file_size, partial(_read, opened, member, lock)))
    if not source.files and not source.refused:
        raise ImportFailed(f"There are no images in {title}: {ACCEPTED} files were looked for. Choose another archive.")
    return source


def _check_size(members: list[zipfile.ZipInfo], title: str, limits: ZipLimits) -> None:
    if len(members) > limits.max_members:
        raise UnsafeArchive(
            f"{title} holds {len(members):,} files; at most {limits.max_members:,} are accepted. Split it into parts."
        )
    total = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if total > limits.max_total:
        raise UnsafeArchive(
            f"{title} would unpack to {total / 2**30:,.0f} GiB; at most {limits.max_total / 2**30:,.0f} are accepted. "
            "Split it into parts."
        )
    if total > limits.small and total > limits.max_ratio * max(packed, 1):
        raise UnsafeArchive(
            f"{title} would unpack to {total // max(packed, 1):,} times its size, as a zip bomb does, and images do "
            "not. Nothing was imported."
        )


def _check_safe(member: zipfile.ZipInfo, title: str) -> None:
    path = member.filename.replace("\\", "/")
    what = None
    if path.startswith("/") or path[1:2] == ":":
        what = "an absolute path"
    elif ".." in path.split("/"):
        what = "a path that leads out of the archive"
    elif stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "a link or a device"
    if what:
        raise UnsafeArchive(
            f"{title} contains {what} ({shown(member.filename)}), which images never need. Nothing was imported; pack "
            "the images again, or import the folder."
        )


def _read(opened: zipfile.ZipFile, member: zipfile.ZipInfo, lock: threading.Lock) -> bytes:
    try:
        with lock, opened.open(member) as file:
            data = file.read(member.file_size + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DamagedImage(f"{shown(member.filename)} cannot be unpacked: {error}. Pack the archive again.") from error
    return data

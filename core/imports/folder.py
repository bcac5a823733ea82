"""Images from a folder and its sub-folders, or from one file that was named."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from core.errors import ImportFailed
from core.images import shown
from core.imports._source import ACCEPTED, FOREIGN_ENDINGS, IMAGE_ENDINGS, ImageSource, Refused, SourceFile, zips_inside
from core.imports._source import ending as _ending
from core.imports._source import foreign as _foreign
from core.imports._source import hidden as _hidden

_SYSTEM = ("/proc", "/sys")


def folder_source(root: Path) -> ImageSource:
    """Every image under ``root``, sorted by path; names are paths relative to it, with ``/``.

    Hidden files and folders, and folders that are projects of the workbench, are passed over. Links are
    followed, each folder once. Raises :class:`ImportFailed` when there is no such folder or no image in it.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise ImportFailed(f"There is no folder {shown(str(root))}. Check the path.")
    if _is_the_systems(root):
        raise ImportFailed(
            f"{shown(str(root))} holds what the system says of itself, not files of yours. Choose the folder that "
            "holds the images."
        )
    source = ImageSource(f"folder {root.resolve().name}", [])
    _walk(root, "", source, {_identity(root)})
    if not source.files and not source.refused:
        count = source.ignored
        other = f" It holds {count:,} file{'' if count == 1 else 's'} of other kinds." if count else ""
        if source.archives:
            other += f" {zips_inside(source.archives)}"
        raise ImportFailed(
            f"There are no images in {shown(str(root))} or its sub-folders: {ACCEPTED} files were looked for.{other} "
            "Choose the folder that holds the images."
        )
    return source


def file_source(path: Path) -> ImageSource:
    """One file that a person named: it is tried whatever its ending. Raises :class:`ImportFailed` if missing."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise ImportFailed(f"There is no file {shown(str(path))}. Check the path.")
    return ImageSource("file", [SourceFile(path.name, path.stat().st_size, partial(_read, path))])


def _walk(folder: Path, prefix: str, source: ImageSource, seen: set[tuple[int, int]]) -> None:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        if not prefix:
            raise ImportFailed(f"The folder {shown(str(folder))} cannot be read: {error.strerror}.") from error
        source.refused.append(Refused(prefix.rstrip("/"), f"the folder cannot be read: {error.strerror}."))
        return
    if any(entry.name == "labels.db" for entry in entries):
        return  # a project: its stored images and thumbnails are not new images
    for entry in entries:
        name = prefix + entry.name
        if _hidden(entry.name):
            continue
        try:
            if entry.is_dir():
                identity = _identity(Path(entry.path))
                if identity not in seen and not _is_the_systems(Path(entry.path)):  # a link back up would never end
                    seen.add(identity)
                    _walk(Path(entry.path), f"{name}/", source, seen)
            elif _ending(name) in FOREIGN_ENDINGS:
                source.refused.append(_foreign(name))
            elif _ending(name) not in IMAGE_ENDINGS:
                source.ignore(name)
            elif entry.is_file():
                source.files.append(SourceFile(name, entry.stat().st_size, partial(_read, Path(entry.path))))
            else:
                source.refused.append(Refused(name, "it is not a plain file, or a link that leads nowhere."))
        except OSError as error:
            source.refused.append(Refused(name, f"it cannot be read: {error.strerror}."))


def _is_the_systems(folder: Path) -> bool:
    """Whether it lies, its links followed, where every process and device has files, and links to all others."""
    real = folder.resolve()
    return any(real.is_relative_to(system) for system in _SYSTEM)


def _identity(folder: Path) -> tuple[int, int]:
    info = folder.stat()
    return info.st_dev, info.st_ino


def _read(path: Path) -> bytes:
    return path.read_bytes()

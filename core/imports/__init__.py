"""Import sources: folder, zip, upload. One file a source; each gives an :class:`ImageSource`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from core.imports._importer import Added, Duplicate, ImportReport, import_images
from core.imports._one import SupportUpload, import_one, upload_support
from core.imports._source import ImageSource, Refused, SourceFile, zips_inside
from core.imports._support import SupportReport, import_support
from core.imports.folder import file_source, folder_source
from core.imports.upload import upload_source
from core.imports.zip import ZipLimits, zip_source

__all__ = [
    "Added",
    "Duplicate",
    "ImageSource",
    "ImportReport",
    "Refused",
    "SourceFile",
    "SupportReport",
    "SupportUpload",
    "ZipLimits",
    "file_source",
    "folder_source",
    "import_images",
    "import_one",
    "import_support",
    "sources_for",
    "upload_source",
    "upload_support",
    "zip_source",
    "zips_inside",
]


def sources_for(paths: Iterable[Path]) -> list[ImageSource]:
    """A source for each path that a person named: a folder, a ``.zip``, or one image file.

    Raises :class:`ImportFailed` for the first path that gives none, before anything is imported.
    """
    sources: list[ImageSource] = []
    try:
        for path in map(Path, paths):
            if path.expanduser().is_dir():
                sources.append(folder_source(path))
            elif path.suffix.lower() == ".zip":
                sources.append(zip_source(path.expanduser()))
            else:
                sources.append(file_source(path))
    except BaseException:
        for source in sources:
            source.close()
        raise
    return sources

"""Images that came through the browser; a zip among them is read as one."""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import partial
from typing import IO

from core.errors import ImportFailed
from core.imports._source import ACCEPTED, ImageSource, Refused, SourceFile
from core.imports.zip import zip_source


def upload_source(files: Iterable[tuple[str, bytes | IO[bytes]]]) -> ImageSource:
    """(name, bytes or an open binary file) in the order of the upload; every file is tried.

    A zip that cannot be imported is refused by name, and the rest goes on. Raises :class:`ImportFailed`
    when nothing was uploaded.
    """
    source = ImageSource("upload", [])
    archives: list[ImageSource] = []

    def close() -> None:
        for archive in archives:
            archive.close()

    source.close = close
    for given, content in files:
        name = given.replace("\\", "/").rsplit("/", 1)[-1] or "unnamed"  # a browser's C:\fakepath\
        if name.lower().endswith(".zip"):
            try:
                archive = zip_source(content, name)
            except ImportFailed as error:
                source.refused.append(Refused(name, str(error)))
                continue
            archives.append(archive)
            source.files += archive.files
            source.refused += archive.refused
            source.ignored += archive.ignored
            source.archives += archive.archives
        elif isinstance(content, bytes):
            source.files.append(SourceFile(name, len(content), partial(bytes, content)))
        else:
            size = content.seek(0, io.SEEK_END)
            source.files.append(SourceFile(name, size, partial(_read, content)))
    if not source.files and not source.refused:
        close()
        raise ImportFailed(f"Nothing was uploaded. Choose {ACCEPTED} files, or a zip of them.")
    return source


def _read(content: IO[bytes]) -> bytes:
    content.seek(0)
    return content.read()

"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

TEMPORARY = ".tmp-"


def write_atomic(path: Path, data: bytes, *, durable: bool = True, mode: int = 0o644) -> None:
    """Write ``data`` so that nobody ever sees half of it. Raises OSError.

    ``durable`` waits until the bytes are on the disk before the name appears; the directory entry itself
    is made durable by :func:`sync_folder` (once for many files). The parent folder has to exist.
    """
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[str]]:
    """A UTF-8 text file that takes its name only when the block ends well. Raises OSError.

    Line ends are written as given (``newline=""``), as the csv module wants it. A link is followed; what is no
    plain file (``/dev/null``, a named pipe) is written into, never replaced.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file
        return
    path = Path(os.path.realpath(path))
    temporary = path.parent / f"{TEMPORARY}{secrets.token_hex(8)}"
    try:
        with temporary.open("x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def remake_folder(folder: Path, levels: int) -> None:
    """Makes ``folder``, and the ``levels - 1`` above it, where somebody deleted them; OSError where more is gone.

    So a project that was moved or deleted is not begun anew, empty, in its old place.
    """
    for level in range(levels - 1, -1, -1):
        (folder.parents[level - 1] if level else folder).mkdir(exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable, where the system can do that (Windows cannot open folders)."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

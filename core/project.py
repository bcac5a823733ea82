"""A project is a folder: where its parts lie, and nothing else.

::

    PROJECT/
    ├── labels.db            everything that was decided (SQLite)
    ├── images/ab/abcdef…    original bytes, named by their SHA-256, never by a user's name
    ├── cache/               embeddings and thumbnails: can be deleted at any time
    └── NOTICE.txt           what has to be said of the images, where something has
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from core.errors import InvalidInput, ProjectError
from core.files import TEMPORARY, write_atomic
from core.text import quoted

_SHA256 = re.compile(r"[0-9a-f]{64}")
_OWN = {"images", "cache", "labels.db", "labels.db-wal", "labels.db-shm", "labels.db-journal"}
_STALE_SECONDS = 3600
NOTICE_FILE = "NOTICE.txt"


@dataclass(frozen=True, slots=True)
class Project:
    """The paths of one project. ``root`` is absolute."""

    root: Path

    @classmethod
    def open(cls, root: Path, *, create: bool = False) -> Project:
        """The project at ``root``; with ``create``, its folders are made where they are missing.

        Raises :class:`ProjectError`: no such folder, not a folder, not a project, or not writable.
        """
        root = Path(root).expanduser().absolute()
        project = cls(root)
        if root.exists() and not root.is_dir():
            raise ProjectError(f"The project {quoted(root)} is a file; a project is a folder. Choose another path.")
        if not create and not root.is_dir():
            raise ProjectError(f"There is no project at {quoted(root)}. Check the path, or import images to create it.")
        try:
            if root.is_dir() and not project._is_ours():
                raise ProjectError(
                    f"The folder {quoted(root)} holds other files and no labels.db, so it is no project. "
                    "Choose a new or an empty folder for the project, and import these files into it."
                )
            for folder in (project.images_dir, project.thumbnails_dir):
                folder.mkdir(parents=True, exist_ok=True)
            probe = root / f"{TEMPORARY}writable"
            write_atomic(probe, b"", durable=False)
            probe.unlink(missing_ok=True)
            project._remove_stale_temporaries()
        except OSError as error:
            raise ProjectError(
                f"The project folder {quoted(root)} cannot be written: {error.strerror or error}. "
                "Check its permissions and the free space."
            ) from error
        return project

    @property
    def name(self) -> str:
        """The folder's name, for the screen."""
        return self.root.name

    @property
    def labels_db(self) -> Path:
        """The SQLite store."""
        return self.root / "labels.db"

    @property
    def images_dir(self) -> Path:
        """Original bytes by content address."""
        return self.root / "images"

    @property
    def cache_dir(self) -> Path:
        """Whatever can be computed again."""
        return self.root / "cache"

    @property
    def thumbnails_dir(self) -> Path:
        """Re-encoded previews by size."""
        return self.cache_dir / "thumbnails"

    def image_path(self, sha256: str) -> Path:
        """Where the original with this digest lies, whether or not it is there.

        Raises :class:`InvalidInput` for anything but 64 lower-case hex digits: ids reach this from URLs.
        """
        return self.images_dir / check_sha256(sha256)[:2] / sha256

    def _is_ours(self) -> bool:
        # A first start that was killed leaves folders without labels.db; a mounted volume has lost+found.
        entries = {entry.name for entry in self.root.iterdir() if not entry.name.startswith(".")}
        return "labels.db" in entries or entries <= _OWN | {"lost+found"}

    def _remove_stale_temporaries(self) -> None:
        # A kill between write and rename leaves these; an hour is longer than any import of one file.
        for leftover in [*self.root.glob(f"{TEMPORARY}*"), *self.images_dir.glob(f"*/{TEMPORARY}*")]:
            if leftover.is_file() and time.time() - leftover.stat().st_mtime > _STALE_SECONDS:
                leftover.unlink(missing_ok=True)


def check_sha256(value: str) -> str:
    """``value`` if it is the hex digest of a SHA-256; raises :class:`InvalidInput` otherwise."""
    if not _SHA256.fullmatch(value):
        raise InvalidInput("An image id has 64 hexadecimal digits (0-9, a-f). Reload the page to get the right ones.")
    return value

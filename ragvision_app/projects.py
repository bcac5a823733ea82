"""Which folder is which project: the demo's, a named one, or the one that belongs to a folder of images."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import ImportFailed, ProjectError
from core.project import NOTICE_FILE
from core.text import quoted

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = ROOT / "data" / "projects"
DEMO_PROJECT = PROJECTS / "demo"

_SOURCE = ".source.json"  # inside a project made by `run --images`: which folder, and its state when imported


def is_there(project: Path) -> bool:
    """Whether the folder is a project."""
    return (project / "labels.db").exists()


def is_demo(project: Path) -> bool:
    """Whether the project is the demo: it holds the notice that only :mod:`ragvision_app.demo` writes."""
    try:
        return is_there(project) and "ELPV" in (project / NOTICE_FILE).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def named_or_demo(project: Path | None) -> Path:
    """The project that was named, else the demo's; raises :class:`ProjectError` where that was never made.

    What a person imports or exports must not end up in a project that nobody named and that is no demo.
    """
    if project is not None:
        return project
    if not is_demo(DEMO_PROJECT):
        raise ProjectError(
            "Which project? Name its folder with --project DIR, or set RAGVISION_PROJECT. Without either, the demo is "
            "meant, and there is none."
        )
    return DEMO_PROJECT


@contextmanager
def removed_if_empty(project: Path) -> Iterator[None]:
    """Takes a project away again that was made meanwhile and into which no image came."""
    new = not project.exists()
    try:
        yield
    finally:
        if new and project.is_dir() and not any((project / "images").glob("*/*")):
            shutil.rmtree(project)


def place(path: Path) -> str:
    """A path as a person would write it here: relative to the working folder where it lies in it."""
    path = path.expanduser().absolute()
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def project_of(folder: Path, projects: Path = PROJECTS) -> Path:
    """The project of a folder of images, named after it: the same folder always gives the same project.

    Another folder of the same name gets a name of its own. Raises :class:`ImportFailed` where there is no folder.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise ImportFailed(f"{quoted(folder)} is not a folder. Name a folder that holds the images to label.")
    folder = folder.resolve()
    slug = re.sub(r"[^\w.-]+", "-", folder.name).strip("-.")[:60] or "images"
    plain = projects / slug
    known = _source(plain)
    if not plain.exists() or (known is not None and known.get("folder") == str(folder)):
        return plain
    return projects / f"{slug}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"


def is_imported(project: Path, folder: Path) -> bool:
    """Whether the folder was imported to its end before and no file in it has changed since."""
    known = _source(project)
    return known is not None and known.get("state") == _state(folder.expanduser().resolve())


def remember_folder(project: Path, folder: Path, *, imported: bool) -> None:
    """Notes which folder the project belongs to and, once ``imported``, the state of its files."""
    folder = folder.expanduser().resolve()
    project.mkdir(parents=True, exist_ok=True)
    note = {"folder": str(folder), "state": _state(folder) if imported else None}
    partial = project / f"{_SOURCE}.partial"
    partial.write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    partial.replace(project / _SOURCE)


def _source(project: Path) -> dict[str, str | None] | None:
    try:
        note = json.loads((project / _SOURCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # not made by `run --images`, or damaged: importing again does no harm
    return note if isinstance(note, dict) else None


def _state(folder: Path) -> str:
    """A digest of every file's name, size and time of change: cheap, no file is read."""
    digest = hashlib.sha256()
    for path, stat in sorted(_files(folder)):
        digest.update(f"{path}\0{stat}\n".encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    for path in folder.rglob("*"):
        if path.is_file():
            stat = path.stat()
            yield path.relative_to(folder).as_posix(), f"{stat.st_size} {stat.st_mtime_ns}"

"""From sources to stored images: bounded memory, each batch one transaction, files before rows.

A file is on the disk (fsync, rename) before the row that names it: a kill in between leaves a file without
a row, which the next import of the same image finds again, and never a row without its file.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from core.errors import ImageError, ImportFailed, ProjectError
from core.files import sync_folder, write_atomic
from core.images import decode, shown, storable
from core.imports._source import ImageSource, Refused, SourceFile
from core.project import Project
from core.settings import ImageLimits
from core.types import ImageRecord

if TYPE_CHECKING:  # the store is handed in
    from core.store import Store

Progress = Callable[[int, int, int], None]
"""Called with (files done, files in all, bytes done) after each file."""

_BATCH_FILES = 64
_BATCH_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Added:
    """A new image of the project, under the name that it came with."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A file whose very bytes are there already, first as ``first``."""

    name: str
    sha256: str
    first: str


@dataclass(slots=True)
class ImportReport:
    """What became of every file: each of ``total`` is in one of the three lists.

    ``ignored`` counts files of other kinds (.txt, .csv …) beside them, of which ``archives`` names the zips.
    """

    added: list[Added] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    total: int = 0
    bytes: int = 0
    ignored: int = 0
    archives: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> Iterator[Added | Duplicate]:
        """Every file that is an image of the project now, new or not."""
        yield from self.added
        yield from self.duplicates

    def summary(self) -> str:
        """One sentence: ``298 images added, 2 duplicates, 1 refused.``"""
        parts = [_count(len(self.added), "image", "images") + " added"]
        if self.duplicates:
            parts.append(_count(len(self.duplicates), "duplicate", "duplicates"))
        if self.refused:
            parts.append(f"{len(self.refused):,} refused")
        if self.ignored:
            parts.append(f"{_count(self.ignored, 'file', 'files')} of other kinds ignored")
        return ", ".join(parts) + "."


@dataclass(slots=True)
class _Read:
    """A file's bytes, or why there are none."""

    file: SourceFile
    data: bytes = b""
    sha256: str = ""
    reason: str = ""


def import_images(
    project: Project,
    store: Store,
    sources: Iterable[ImageSource],
    *,
    limits: ImageLimits | None = None,
    on_progress: Progress | None = None,
) -> ImportReport:
    """Store every image of ``sources`` once, and say what became of each file; the sources are closed.

    A file that cannot be used is refused by name and the rest goes on. What is stored by the time of a
    failure of the disk stays. Raises :class:`ImportFailed` (no file at all), :class:`ProjectError` (the disk is
    full).
    """
    limits = limits or ImageLimits()
    with ExitStack() as stack:
        opened = [stack.enter_context(source) for source in sources]
        report = ImportReport()
        for source in opened:
            report.refused += [Refused(storable(refused.name), refused.reason) for refused in source.refused]
            report.ignored += source.ignored
            report.archives += source.archives
        report.total = sum(len(source) for source in opened) + len(report.refused)
        if not report.total:
            raise ImportFailed("There was nothing to import. Name a folder, a zip or image files.")
        pool = stack.enter_context(ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1), "import"))
        run = _Run(project, store, limits, pool, report, on_progress)
        for source in opened:
            for batch in _batches(source):
                run.batch(batch, source.label)
    return report


@dataclass(slots=True)
class _Run:
    project: Project
    store: Store
    limits: ImageLimits
    pool: ThreadPoolExecutor
    report: ImportReport
    on_progress: Progress | None
    done: int = 0
    first_names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.done = len(self.report.refused)

    def batch(self, files: Sequence[SourceFile], label: str) -> None:
        """Read, look up, decode and write in threads; then the rows in one transaction."""
        read = list(self.pool.map(partial(_read, self.limits), files))
        known = self.store.has_images({item.sha256 for item in read if not item.reason})
        new: dict[str, _Read] = {}
        twins: list[_Read] = []
        for item in read:
            if item.reason:
                self._refuse(item.file, item.reason)
            elif item.sha256 in new or (item.sha256 in known and self.project.image_path(item.sha256).exists()):
                twins.append(item)
            else:
                new[item.sha256] = item
        records: list[ImageRecord] = []
        folders = {self.project.images_dir} if new else set()
        for item, result in zip(new.values(), self.pool.map(self._keep, new.values(), [label] * len(new)), strict=True):
            if isinstance(result, str):
                self._refuse(item.file, result)
                continue
            folders.add(self.project.image_path(item.sha256).parent)
            if item.sha256 in known:  # its file had been lost, and is there again
                twins.append(item)
                continue
            records.append(result)
            self.first_names[item.sha256] = result.name
            self.report.added.append(Added(result.name, result.sha256))
            self._step(len(item.data))
        list(self.pool.map(sync_folder, folders))
        if records:
            self.store.add_images(records)
        for item in twins:
            self._twin(item)

    def _keep(self, item: _Read, label: str) -> ImageRecord | str:
        """Decode, and write the original; the reason where it is refused."""
        try:
            decoded = decode(item.data, item.file.name, self.limits)
        except ImageError as error:
            return str(error)
        path = self.project.image_path(item.sha256)
        try:
            path.parent.mkdir(exist_ok=True)
            write_atomic(path, item.data, mode=0o444)
        except OSError as error:
            raise ProjectError(
                f"{shown(item.file.name)} cannot be stored in the project: {error.strerror or error}. What was stored "
                "before it is kept; make room, and import again: nothing is stored twice."
            ) from error
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        return ImageRecord(
            sha256=decoded.sha256,
            name=storable(item.file.name),
            source=storable(label),
            width=decoded.width,
            height=decoded.height,
            bytes=decoded.bytes,
            phash=decoded.phash,
            imported_at=now,
        )

    def _twin(self, item: _Read) -> None:
        if item.sha256 in self.first_names:
            first = self.first_names[item.sha256]
        elif self.store.has_images([item.sha256]):
            first = self.first_names[item.sha256] = self.store.image(item.sha256).name
        else:  # a twin of a file in the same batch that could not be decoded
            self._refuse(item.file, "its bytes are the same as those of another file that was refused.")
            return
        self.report.duplicates.append(Duplicate(storable(item.file.name), item.sha256, first))
        self._step(len(item.data))

    def _refuse(self, file: SourceFile, reason: str) -> None:
        self.report.refused.append(Refused(storable(file.name), reason))
        self._step(file.size)

    def _step(self, size: int) -> None:
        self.done += 1
        self.report.bytes += size
        if self.on_progress:
            self.on_progress(self.done, self.report.total, self.report.bytes)


def _read(limits: ImageLimits, file: SourceFile) -> _Read:
    if file.size > limits.max_bytes:
        return _Read(
            file, reason=f"it has {file.size:,} bytes; at most {limits.max_bytes:,} are accepted. Save it smaller."
        )
    try:
        data = file.read()
    except ImageError as error:
        return _Read(file, reason=str(error))
    except OSError as error:
        return _Read(file, reason=f"it cannot be read: {error.strerror or error}.")
    return _Read(file, data, hashlib.sha256(data).hexdigest())


def _batches(source: ImageSource) -> Iterator[list[SourceFile]]:
    """At most 64 files and about 64 MB at a time, so that memory does not grow with the import."""
    batch: list[SourceFile] = []
    size = 0
    for file in source:
        if batch and (len(batch) >= _BATCH_FILES or size + file.size > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
    if batch:
        yield batch


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"

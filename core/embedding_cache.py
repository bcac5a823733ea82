"""Embeddings of one encoder on disk: float16, append-only, safe against a kill at any moment.

A folder holds ``patches.f16`` and ``whole.f16`` (rows), ``index.bin`` (one record a row) and ``shape.json``.
A row is written and flushed to disk before its record is, so a record never names a row that is not there;
what an interrupted append left behind the last whole record is overwritten by the next one. The record
carries a checksum of its row, so that bytes damaged in any other way count as missing, never as embeddings.
The folder may be deleted at any time, also under a running server.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import NotFound
from core.files import remake_folder
from core.ports import Encoder
from core.scoring_basis import normalise
from core.types import Embeddings

_RECORD = struct.Struct("<32sII")  # sha256 of the image, crc32 of its row, crc32 of the two before
_HALF = np.dtype("<f2")


class EmbeddingCache:
    """Patches and whole embeddings by image, under ``folder/<encoder id>/``.

    Safe for several threads and processes: writers take turns by a file lock, readers never wait.
    Raises OSError where the folder cannot be written.
    """

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self._folder = folder / encoder.id
        self._lock = threading.RLock()
        self._forget()

    # ------------------------------------------------------------------ reading
    def missing(self, shas: Sequence[str]) -> list[str]:
        """Those of ``shas`` that :meth:`get` cannot give, in order."""
        with self._lock:
            self._refresh()
            return [sha for sha in shas if sha not in self._rows or not self._intact(sha)]

    def get(self, shas: Sequence[str]) -> Embeddings:
        """(n, …) float32 in the order asked for, normalised again after float16; NotFound for one that is missing."""
        with self._lock:
            absent = self.missing(shas)
            if absent or self._patches is None or self._whole is None:
                raise NotFound(f"{len(absent)} images have no stored embedding. Compute them first.")
            rows = [self._rows[sha][0] for sha in shas]
            return Embeddings(normalise(self._patches[rows]), normalise(self._whole[rows]))

    def __len__(self) -> int:
        with self._lock:
            self._refresh()
            return len(self._rows)

    # ------------------------------------------------------------------ writing
    def add(self, shas: Sequence[str], embeddings: Embeddings) -> None:
        """Appends the embeddings of images that are missing; on return they survive a crash."""
        if len(shas) != len(embeddings):
            raise ValueError(f"{len(shas)} images but {len(embeddings)} embeddings")
        with self._lock:
            try:
                self._append(shas, embeddings)
            except FileNotFoundError:  # the folder was deleted in between: begin a new one
                self._append(shas, embeddings)

    def _append(self, shas: Sequence[str], embeddings: Embeddings) -> None:
        with self._writing():
            self._refresh()
            first: dict[str, int] = {}
            for row, sha in enumerate(shas):
                if sha not in first and self.missing([sha]):
                    first[sha] = row
            if not first:
                return
            chosen = list(first.values())
            patches = np.ascontiguousarray(embeddings.patches[chosen], _HALF)
            whole = np.ascontiguousarray(embeddings.whole[chosen], _HALF)
            self._check_shape(patches.shape[1:], whole.shape[1:])
            start = self._count
            self._put("patches.f16", start * patches[0].nbytes, patches.tobytes())
            self._put("whole.f16", start * whole[0].nbytes, whole.tobytes())
            records = []
            for sha, p, w in zip(first, patches, whole, strict=True):
                body = bytes.fromhex(sha), zlib.crc32(w.tobytes(), zlib.crc32(p.tobytes()))
                records.append(_RECORD.pack(*body, zlib.crc32(body[0] + body[1].to_bytes(4, "little"))))
            self._put("index.bin", start * _RECORD.size, b"".join(records))
            self._refresh()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        remake_folder(self._folder, 3)  # cache/embeddings/ENCODER
        with (self._folder / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go by the system when the process dies
            yield

    def _put(self, name: str, offset: int, data: bytes) -> None:
        handle = os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.ftruncate(handle, offset)  # what an interrupted append may have left
            view, at = memoryview(data), offset
            while view:
                written = os.pwrite(handle, view, at)
                view, at = view[written:], at + written
            os.fsync(handle)
        finally:
            os.close(handle)

    def _check_shape(self, patches: tuple[int, ...], whole: tuple[int, ...]) -> None:
        if self._shape is None:
            part = self._folder / "shape.json.part"
            part.write_text(json.dumps({"patches": patches, "whole": whole}))
            part.replace(self._folder / "shape.json")
        elif self._shape != (patches, whole):
            raise ValueError(f"the cache holds {self._shape}, not {(patches, whole)}")

    # ------------------------------------------------------------------ the state in memory
    def _forget(self) -> None:
        self._rows: dict[str, tuple[int, int]] = {}  # sha → (row, checksum)
        self._checked: set[str] = set()
        self._count = 0  # records read, the damaged ones included
        self._identity = (-1, -1)  # of shape.json, which is written once in the life of a folder
        self._shape: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self._patches: NDArray[Any] | None = None
        self._whole: NDArray[Any] | None = None

    def _refresh(self) -> None:
        """Reads the records that came since the last time; starts anew when the folder was deleted."""
        path = self._folder / "index.bin"
        try:
            stat = (self._folder / "shape.json").stat()
            if (stat.st_ino, stat.st_mtime_ns) != self._identity:
                self._forget()
                shape = json.loads((self._folder / "shape.json").read_text())
                self._shape = tuple(shape["patches"]), tuple(shape["whole"])
                self._identity = stat.st_ino, stat.st_mtime_ns
            total = path.stat().st_size // _RECORD.size
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # none yet, deleted, or a damaged shape.json
            self._forget()
            return
        if total > self._count:
            self._read(path, total)

    def _read(self, path: Path, total: int) -> None:
        assert self._shape is not None
        with path.open("rb") as file:
            file.seek(self._count * _RECORD.size)
            data = file.read((total - self._count) * _RECORD.size)
        patches = self._map("patches.f16", self._shape[0])
        whole = self._map("whole.f16", self._shape[1])
        held = min(len(patches), len(whole))
        for row, (key, crc, check) in enumerate(_RECORD.iter_unpack(data), start=self._count):
            if row < held and check == zlib.crc32(key + crc.to_bytes(4, "little")):
                self._rows[key.hex()] = row, crc
                self._checked.discard(key.hex())
        self._count, self._patches, self._whole = total, patches, whole

    def _map(self, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
        path = self._folder / name
        count = path.stat().st_size // (int(np.prod(shape)) * _HALF.itemsize) if path.is_file() else 0
        if count == 0:
            return np.zeros((0, *shape), _HALF)
        return np.memmap(path, _HALF, "r", shape=(count, *shape))

    def _intact(self, sha: str) -> bool:
        """The row's checksum holds (looked at once a process); a damaged row is dropped."""
        if sha in self._checked:
            return True
        assert self._patches is not None and self._whole is not None
        row, crc = self._rows[sha]
        if zlib.crc32(self._whole[row].tobytes(), zlib.crc32(self._patches[row].tobytes())) != crc:
            del self._rows[sha]
            return False
        self._checked.add(sha)
        return True


def stored_images(folder: Path) -> dict[str, int]:
    """Encoder id → how many embeddings are kept under ``folder``; cheap: no embedding is read."""
    found = {}
    for index in sorted(folder.glob("*/index.bin")):
        try:
            found[index.parent.name] = index.stat().st_size // _RECORD.size
        except OSError:  # deleted in between
            continue
    return found

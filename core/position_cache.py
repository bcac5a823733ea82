"""The positions behind whole embeddings, kept for as many images as a budget allows.

They are what makes the whole half's contributions drawable, and large (125 kB an image for the default
encoder), so they are a cache beside the embedding cache: an image that is not in it is encoded again.
"""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.files import remake_folder, write_atomic
from core.types import Embeddings, Float32

log = logging.getLogger("ragvision.cache")

BUDGET_BYTES = 1_000_000_000  # about 8,000 images of the default encoder


class PositionCache:
    """One float16 file an image under ``folder``; safe to delete, also under a running server, safe to kill.

    What cannot be written is not kept; making the cache raises OSError where the folder cannot be made.
    """

    def __init__(self, folder: Path, *, budget_bytes: int = BUDGET_BYTES) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._budget = budget_bytes
        self._used = sum(entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith(".npy"))

    def get(self, key: str) -> Float32 | None:
        """(gh', gw', g) float32, or None where it is not kept."""
        path = self._folder / f"{key}.npy"
        try:
            positions: Float32 = np.load(path, allow_pickle=False).astype(np.float32)
            return positions
        except FileNotFoundError:
            return None
        except (ValueError, EOFError):  # damaged from outside: encode it again
            path.unlink(missing_ok=True)
            return None

    def put(self, key: str, positions: Float32) -> None:
        """Keeps (gh', gw', g) as float16 while the budget lasts; written whole or not at all."""
        path = self._folder / f"{key}.npy"
        if self._used + positions.size * 2 > self._budget or path.exists():
            return
        try:
            remake_folder(self._folder, 3)  # cache/positions/ENCODER may have been deleted since
            data = io.BytesIO()
            np.save(data, positions.astype(np.float16), allow_pickle=False)
            write_atomic(path, data.getvalue(), durable=False)
            self._used += path.stat().st_size
        except OSError as error:  # deleted this very moment, or the disk is full: it will be encoded again
            log.warning("positions of %s are not kept: %s", key[:12], error)


def with_map(embeddings: Embeddings, whole_map: Float32) -> Embeddings:
    """The embeddings with ``whole_map`` (n, gh', gw', g), and ``whole`` made from it so that both agree."""
    mean = whole_map.mean(axis=(1, 2))  # (n, g)
    whole = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    return Embeddings(embeddings.patches, whole.astype(np.float32), whole_map)


def concatenate(parts: Sequence[Embeddings]) -> Embeddings:
    """Joins embeddings of the same encoder along n."""
    if len(parts) == 1:
        return parts[0]
    maps = [p.whole_map for p in parts if p.whole_map is not None]
    return Embeddings(
        np.concatenate([p.patches for p in parts]),
        np.concatenate([p.whole for p in parts]),
        np.concatenate(maps) if len(maps) == len(parts) else None,
    )

"""Embeddings held in memory, or not at all: where no project folder is there to keep them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.types import Embeddings


class MemoryCache:
    """Like the embedding cache on disk; with ``keep`` False it forgets at once (a stream of queries)."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._rows: dict[str, Embeddings] = {}

    def missing(self, images: Sequence[str]) -> list[str]:
        """Those of ``images`` that are not held, in their order."""
        return [i for i in images if i not in self._rows]

    def add(self, images: Sequence[str], embeddings: Embeddings) -> None:
        """Holds ``embeddings[i]`` (patches and whole) for ``images[i]``."""
        if self._keep:
            for row, image in enumerate(images):
                self._rows[image] = Embeddings(embeddings.patches[row : row + 1], embeddings.whole[row : row + 1])

    def get(self, images: Sequence[str]) -> Embeddings:
        """Their embeddings in the order of ``images``; KeyError for one that is not held."""
        rows = [self._rows[i] for i in images]
        return Embeddings(np.concatenate([r.patches for r in rows]), np.concatenate([r.whole for r in rows]))

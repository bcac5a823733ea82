"""The patch half: image-to-class similarity of local patches (NBNN, DN4), and the vote built on the same matches.

For query patch i and class c, s_ic is the mean of the k highest cosines among the patches of class c,
and S_c the mean of s_ic over the query's patches: balanced between classes by construction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.ports import Index
from core.types import Float32, IntArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """What each query patch retrieved, class by class, best first.

    similarities (n, P, C, k) float32; rows (n, P, C, k) flat support patch = image · P_support + position.
    Where a class has fewer than k patches the tail holds similarity −inf and row −1.
    """

    similarities: Float32
    rows: IntArray

    def __len__(self) -> int:
        return len(self.similarities)

    @property
    def found(self) -> NDArray[np.bool_]:
        """(n, P, C, k): where there is a match at all."""
        return self.rows >= 0

    def per_class(self) -> Float64:
        """(n, P, C): s_ic; −inf where a class had nothing to match."""
        found = self.found
        count = found.sum(axis=-1)
        total = np.where(found, self.similarities, 0).sum(axis=-1, dtype=np.float64)
        result = np.full(total.shape, -np.inf)
        np.divide(total, count, out=result, where=count > 0)
        return result

    def scores(self) -> Float64:
        """(n, C): S_c."""
        result: Float64 = self.per_class().mean(axis=1)
        return result

    def votes(self) -> NDArray[np.bool_]:
        """(n, P, C, k): the k best over all classes together, which is what the vote counts.

        The k best of all are among the k best of each class, so nothing has to be retrieved again.
        """
        n, patches, classes, k = self.similarities.shape
        flat = self.similarities.reshape(n, patches, classes * k)
        # Ties go to the smaller support row, so that neither class order nor batch size can turn them.
        order = np.lexsort((self.rows.reshape(flat.shape), -flat), axis=-1)[..., :k]
        chosen = np.zeros(flat.shape, bool)
        np.put_along_axis(chosen, order, True, axis=-1)
        result: NDArray[np.bool_] = chosen.reshape(self.similarities.shape) & self.found
        return result

    def vote_scores(self) -> Float64:
        """(n, C): the share of votes for each class."""
        votes = self.votes().sum(axis=(1, 3)).astype(np.float64)
        total = votes.sum(axis=1, keepdims=True)
        result: Float64 = votes / np.maximum(total, 1.0)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class PatchHalf:
    """The support's whitened patches z (n, P, m) and the first image of each class.

    Images are sorted by class: those of class c are ``starts[c] : starts[c + 1]``.
    """

    z: Float32
    starts: tuple[int, ...]
    k: int
    index: Index

    @property
    def classes(self) -> int:
        return len(self.starts) - 1

    def match(self, queries: Float32) -> Matches:
        """Whitened query patches (n, P, m) → matches in every class."""
        n, patches, axes = queries.shape
        flat = queries.reshape(n * patches, axes)
        similarities, rows = self._empty(n, patches)
        for c in range(self.classes):
            low, high = self._rows(c)
            self._fill(similarities, rows, slice(None), c, flat, self.z.reshape(-1, axes)[low:high], low)
        return Matches(similarities, rows)

    def leave_one_out(self) -> Matches:
        """Each support image against all the others: its own patches are masked whole.

        Only its own class has to be retrieved anew for one image, so the other classes go in one piece.
        """
        n, patches, axes = self.z.shape
        similarities, rows = self._empty(n, patches)
        flat = self.z.reshape(-1, axes)
        for c in range(self.classes):
            low, high = self._rows(c)
            first, last = self.starts[c], self.starts[c + 1]
            others = np.r_[0:first, last:n]
            if len(others):
                queries = self.z[others].reshape(-1, axes)
                self._fill(similarities, rows, others, c, queries, flat[low:high], low)
            for image in range(first, last):
                own = image * patches
                rest = np.r_[low:own, own + patches : high]
                if len(rest):
                    sims, found = self.index.top_k(self.z[image], flat[rest], self.k)
                    similarities[image, :, c, : sims.shape[1]] = sims
                    rows[image, :, c, : sims.shape[1]] = rest[found]
        return Matches(similarities, rows)

    def _rows(self, c: int) -> tuple[int, int]:
        patches = self.z.shape[1]
        return self.starts[c] * patches, self.starts[c + 1] * patches

    def _empty(self, n: int, patches: int) -> tuple[Float32, IntArray]:
        shape = (n, patches, self.classes, self.k)
        return np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)

    def _fill(
        self,
        similarities: Float32,
        rows: IntArray,
        images: slice | IntArray,
        c: int,
        queries: Float32,
        support: Float32,
        low: int,
    ) -> None:
        sims, found = self.index.top_k(queries, support, self.k)
        width = sims.shape[1]
        target = similarities[images, :, c, :width]
        similarities[images, :, c, :width] = sims.reshape(target.shape)
        rows[images, :, c, :width] = (found + low).reshape(target.shape)

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


def companions(starts: tuple[int, ...]) -> IntArray:
    """(n, C): which image of each class is left out when image i is judged; its own class's is i itself.

    Leaving out one image alone makes its class, and only its class, smaller, so that at five shots the right
    answer scores below chance and temperatures run to where nothing is said. With one image less in every
    class all are equally short. A class with a single image keeps it (−1): without it it could not be scored.
    """
    counts = np.diff(starts)
    y = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(starts[-1]) - np.asarray(starts)[y]  # within its class
    left: IntArray = np.asarray(starts[:-1]) + place[:, None] % counts
    left[:, counts == 1] = -1
    left[np.arange(len(y)), y] = np.arange(len(y))
    return left


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
            sims, found = self.index.top_k(flat, self.z.reshape(-1, axes)[low:high], self.k)
            width = sims.shape[1]
            similarities[:, :, c, :width] = sims.reshape(n, patches, width)
            rows[:, :, c, :width] = (found + low).reshape(n, patches, width)
        return Matches(similarities, rows)

    def leave_one_out(self) -> Matches:
        """Each support image against the others, its own patches masked whole, its companions' as well.

        ``companions`` says which image of every other class is left out with it, and why.
        """
        n, patches, axes = self.z.shape
        similarities, rows = self._empty(n, patches)
        flat, left = self.z.reshape(-1, axes), companions(self.starts)
        for c in range(self.classes):
            low, high = self._rows(c)
            for image in np.unique(left[:, c]):  # all that do without the same image go in one piece
                together = np.flatnonzero(left[:, c] == image)
                own = image * patches
                rest = np.arange(low, high) if image < 0 else np.r_[low:own, own + patches : high]
                if len(rest):
                    sims, found = self.index.top_k(self.z[together].reshape(-1, axes), flat[rest], self.k)
                    width = sims.shape[1]
                    similarities[together, :, c, :width] = sims.reshape(len(together), patches, width)
                    rows[together, :, c, :width] = rest[found].reshape(len(together), patches, width)
        return Matches(similarities, rows)

    def _rows(self, c: int) -> tuple[int, int]:
        patches = self.z.shape[1]
        return self.starts[c] * patches, self.starts[c + 1] * patches

    def _empty(self, n: int, patches: int) -> tuple[Float32, IntArray]:
        shape = (n, patches, self.classes, self.k)
        return np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)

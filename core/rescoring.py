"""One support image changed: the whole queue scored again in about a second, exactly, without a rebuild.

For every query patch and class the best m > k similarities are kept with the support patch they belong to,
and a floor: every patch of the class that is more alike than the floor is in the list. Adding an image
merges what it offers above the floor; removing one deletes its entries, and only where fewer than k are
left is that query patch matched again. The whole half is closed form. The basis must be the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.pipeline import Pipeline, project
from core.scoring import FittedSupport, Scores, combine, joined, whole_of
from core.scoring_patch import Matches
from core.types import Embeddings, Float32

_SPARE = 3  # matches kept beyond k: removing an image then seldom leaves a patch short
_BLOCK = 256  # queries worked on at once
_KEY = 2**20  # more than the patches of any image: key = image token · _KEY + position


@dataclass(slots=True, eq=False)
class _List:
    """Of one class, for the rows (query patches) of a block: sims and keys (rows, m) best first, floor (rows,)."""

    sims: Float32
    keys: NDArray[np.int64]
    floor: Float32


@dataclass(slots=True, eq=False)
class _Block:
    z: Float32  # (rows, axes)
    queries: int
    centred: Float32  # (queries, g): the whole embeddings in the basis
    whole: Float32 | None  # (queries, g): as they are, where class texts are compared with them
    lists: dict[int, _List] = field(default_factory=dict)


class Rescorer:
    """Scores of a fixed set of queries under a support set that changes.

    Memory: about 25 kB a query for the default encoder, and 3.5 kB more for each class.
    """

    def __init__(self, pipeline: Pipeline, fitted: FittedSupport, embeddings: Iterable[Embeddings]) -> None:
        """``embeddings`` in the order in which scores are wanted, in parts of any size; read once."""
        self._pipeline, self._fitted = pipeline, fitted
        self._index = fitted.patch.index
        self._keep = fitted.patch.k + _SPARE
        self._tokens: dict[str, int] = {}
        self._blocks: list[_Block] = []
        for part in embeddings:
            for start in range(0, len(part), _BLOCK):
                self._blocks.append(self._block(part[start : start + _BLOCK]))
        for column in range(len(fitted.classes)):
            for block in self._blocks:
                self._build(block, fitted, column, np.arange(len(block.z)))

    def update(self, fitted: FittedSupport, *, recipe: str | None = None) -> Scores:
        """Scores (n, C) under ``fitted``, which must have the basis and k of the first, and a text prior if it had one.

        ValueError otherwise.

        Equal to ``Pipeline.score_only`` on everything anew; only what differs from the last update is matched.
        """
        same = fitted.basis.id == self._fitted.basis.id and fitted.patch.k == self._fitted.patch.k
        if not same or (fitted.text is None) != (self._fitted.text is None):
            raise ValueError("another basis, k_retrieval or kind of prior: make a new Rescorer")
        before, after = _members(self._fitted), _members(fitted)
        removed, added = before.keys() - after.keys(), after.keys() - before.keys()
        gone = {c.id for c in self._fitted.classes} - {c.id for c in fitted.classes}
        for block in self._blocks:
            for class_id in gone:
                block.lists.pop(class_id, None)
            for column, class_id in enumerate(_columns(fitted)):
                leaving = [image for image, of in removed if of == class_id]
                coming = [after[member] for member in added if member[1] == class_id]
                if class_id not in block.lists:
                    self._build(block, fitted, column, np.arange(len(block.z)))
                    continue
                if leaving:
                    self._remove(block.lists[class_id], [self._token(image) for image in leaving])
                if coming:
                    self._add(block, fitted, class_id, coming)
                if leaving:
                    self._refill(block, fitted, column)
        self._fitted = fitted
        return self.scores(recipe=recipe)

    def scores(self, *, recipe: str | None = None) -> Scores:
        """Scores (n, C) of every query as things stand, columns as the fitted support's ``class_ids``."""
        recipe = recipe or self._pipeline.settings.recipe
        return joined([self._scores(block, recipe) for block in self._blocks], len(self._fitted.class_ids))

    # ------------------------------------------------------------------ parts
    def _block(self, part: Embeddings) -> _Block:
        z = project(self._fitted.basis, part.patches)
        whole = whole_of(part)
        centred = self._fitted.basis.centre(whole)[0].astype(np.float32)
        kept = None if self._fitted.text is None else whole.astype(np.float32)
        return _Block(z.reshape(-1, z.shape[-1]), len(part), centred, kept)

    def _token(self, image: str) -> int:
        return self._tokens.setdefault(image, len(self._tokens))

    def _keys(self, fitted: FittedSupport, images: Iterable[int]) -> NDArray[np.int64]:
        """The keys of all patches of those images (indices into ``fitted.images``), flat."""
        tokens = np.array([self._token(fitted.images[i]) for i in images], np.int64)
        return (tokens[:, None] * _KEY + np.arange(fitted.patch.z.shape[1])).ravel()

    def _build(self, block: _Block, fitted: FittedSupport, column: int, rows: NDArray[np.int64]) -> None:
        """Matches those rows anew against the whole class."""
        low, high = fitted.patch.starts[column], fitted.patch.starts[column + 1]
        support = fitted.patch.z[low:high].reshape(-1, fitted.patch.z.shape[-1])
        keys = self._keys(fitted, range(low, high))
        class_id = fitted.classes[column].id
        if class_id not in block.lists:
            shape = (len(block.z), self._keep)
            block.lists[class_id] = _List(
                np.full(shape, -np.inf, np.float32),
                np.full(shape, -1, np.int64),
                np.full(shape[0], -np.inf, np.float32),
            )
        entry = block.lists[class_id]
        sims, found = self._index.top_k(block.z[rows], support, self._keep)
        width = sims.shape[1]
        entry.sims[rows], entry.keys[rows] = -np.inf, -1
        entry.sims[rows, :width], entry.keys[rows, :width] = sims, keys[found]
        entry.floor[rows] = sims[:, -1] if len(support) > self._keep else -np.inf

    def _remove(self, entry: _List, tokens: list[int]) -> None:
        leaving = np.isin(entry.keys // _KEY, tokens) & (entry.keys >= 0)
        rows = np.flatnonzero(leaving.any(axis=1))
        # −inf sorts to the end and the rest keeps its order.
        _keep_best(entry, rows, np.where(leaving[rows], -np.inf, entry.sims[rows]), entry.keys[rows], self._keep)

    def _add(self, block: _Block, fitted: FittedSupport, class_id: int, images: list[int]) -> None:
        entry = block.lists[class_id]
        support = fitted.patch.z[images].reshape(-1, fitted.patch.z.shape[-1])
        keys = self._keys(fitted, images)
        best = (block.z @ support.T).max(axis=1)
        rows = np.flatnonzero(best > entry.floor)
        sims, found = self._index.top_k(block.z[rows], support, self._keep)
        offered = np.where(sims > entry.floor[rows, None], sims, -np.inf)
        together = np.concatenate([entry.sims[rows], offered], axis=1)
        overflow = np.isfinite(together).sum(axis=1) > self._keep
        _keep_best(entry, rows, together, np.concatenate([entry.keys[rows], keys[found]], axis=1), self._keep)
        full = rows[overflow]
        entry.floor[full] = np.maximum(entry.floor[full], entry.sims[full, -1])
        if len(support) > self._keep:  # what the image offers beyond the list is not known either
            entry.floor[rows] = np.maximum(entry.floor[rows], np.minimum(sims[:, -1], entry.sims[rows, -1]))

    def _refill(self, block: _Block, fitted: FittedSupport, column: int) -> None:
        """Only the rows that fell short of k, or of all that the class has."""
        entry = block.lists[fitted.classes[column].id]
        images = fitted.patch.starts[column + 1] - fitted.patch.starts[column]
        needed = min(fitted.patch.k, images * fitted.patch.z.shape[1])
        short = np.flatnonzero(np.isfinite(entry.sims[:, :needed]).sum(axis=1) < needed)
        if len(short):
            self._build(block, fitted, column, short)

    def _scores(self, block: _Block, recipe: str) -> Scores:
        fitted = self._fitted
        patches = len(block.z) // block.queries
        shape = (block.queries, patches, len(fitted.classes), fitted.patch.k)
        where = np.full(len(self._tokens), -1, np.int64)  # token → place in fitted.images
        where[[self._token(image) for image in fitted.images]] = np.arange(len(fitted.images))
        sims, rows = np.empty(shape, np.float32), np.empty(shape, np.int64)
        for column, class_id in enumerate(_columns(fitted)):
            entry = block.lists[class_id]
            best, keys = entry.sims[:, : shape[3]], entry.keys[:, : shape[3]]
            row = where[keys // _KEY] * fitted.patch.z.shape[1] + keys % _KEY
            sims[:, :, column] = best.reshape(*shape[:2], -1)
            rows[:, :, column] = np.where(np.isfinite(best), row, -1).reshape(*shape[:2], -1)
        ridge = fitted.whole.scores(block.centred.astype(np.float64))
        text = None if fitted.text is None or block.whole is None else fitted.text.log_probabilities(block.whole)
        return combine(recipe, fitted.temperatures, Matches(sims, rows), ridge, text)


def _columns(fitted: FittedSupport) -> tuple[int, ...]:
    """The ids of the classes with images."""
    return tuple(c.id for c in fitted.classes)


def _members(fitted: FittedSupport) -> dict[tuple[str, int], int]:
    """(image, class id) → place in ``fitted.images``."""
    return {(image, fitted.classes[c].id): i for i, (image, c) in enumerate(zip(fitted.images, fitted.y, strict=True))}


def _keep_best(entry: _List, rows: NDArray[np.int64], sims: Float32, keys: NDArray[np.int64], keep: int) -> None:
    """Writes the ``keep`` best of (rows, more) back, best first; keys of what is gone become −1."""
    order = np.argsort(-sims, axis=1, kind="stable")[:, :keep]
    best = np.take_along_axis(sims, order, axis=1)
    entry.sims[rows] = best
    entry.keys[rows] = np.where(np.isfinite(best), np.take_along_axis(keys, order, axis=1), -1)

"""Retrieve and score one query: the product's index against a loop over the query's patches with a full sort."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.indexes import create_index
from core.scoring_patch import PatchHalf
from core.settings import PipelineSettings
from core.types import Float32
from ragvision_app.bench._clock import in_turn
from ragvision_app.bench._row import Figure, Row, RowFailed, Scale, at_least
from ragvision_app.bench._vectors import unit_vectors

WHAT = "retrieve and score one query"
PATCHES = 49  # 7 × 7, as the default encoder gives
CLASSES = 2


def loop_and_sort(query: Float32, support: Float32, starts: tuple[int, ...], k: int) -> NDArray[np.float64]:
    """S_c by the plain way: for each patch of the query, every class's similarities, fully sorted."""
    per_patch = []
    for patch in query:
        per_class = []
        for low, high in pairwise(starts):
            similarities = support[low * PATCHES : high * PATCHES] @ patch
            best = np.argsort(-similarities)[:k]
            per_class.append(similarities[best].mean(dtype=np.float64))
        per_patch.append(per_class)
    result: NDArray[np.float64] = np.mean(per_patch, axis=0)
    return result


def measure(scale: Scale) -> Row:
    """Random unit vectors of the real shape: whitened patches of 128 axes."""
    settings = PipelineSettings()
    images = scale.pick(20, 2048)
    support = unit_vectors(1, images, PATCHES, settings.pca_axes)
    query = unit_vectors(2, 1, PATCHES, settings.pca_axes)
    starts = tuple(images * c // CLASSES for c in range(CLASSES + 1))
    flat = support.reshape(-1, settings.pca_axes)
    half = PatchHalf(support, starts, settings.k_retrieval, create_index("numpy-exact"))

    def ours() -> NDArray[np.float64]:
        scores: NDArray[np.float64] = half.match(query).scores()[0]
        return scores

    def theirs() -> NDArray[np.float64]:
        return loop_and_sort(query[0], flat, starts, settings.k_retrieval)

    if not np.allclose(ours(), theirs(), atol=1e-5):
        raise RowFailed("The two ways gave different scores, so their times cannot be compared.")
    n = scale.pick(1, 7)
    fast, slow = in_turn(ours, theirs, n)
    return Row(
        what=f"{WHAT}, {images * PATCHES:,} support patches in {CLASSES} classes",
        ours=Figure("one matrix product and the best of each class", fast),
        against=Figure("a loop over 49 patches, every similarity sorted", slow),
        ratio=slow / fast,
        n=n,
        checks=(at_least("faster", slow / fast, 20, "×"),),
        note="Both give the same class scores. The sort is numpy's, the fastest at hand.",
    )

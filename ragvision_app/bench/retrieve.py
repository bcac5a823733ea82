"""Retrieve and score one query: the product's index against a loop over the query's patches with a full sort."""

from __future__ import annotations

import statistics
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.indexes import create_index
from core.scoring_patch import PatchHalf
from core.settings import PipelineSettings
from core.types import Float32
from ragvision_app.bench._clock import in_turn, seconds
from ragvision_app.bench._row import Figure, Row, RowFailed, Scale, at_least
from ragvision_app.bench._vectors import unit_vectors

WHAT = "retrieve and score one query"
PATCHES = 49  # 7 × 7, as the default encoder gives
CLASSES = 2
Scores = NDArray[np.float64]


def loop_with_torch(query: Float32, support: Float32, starts: tuple[int, ...], k: int) -> Scores:
    """S_c by the plain way: for each patch of the query, every class's similarities, fully sorted by torch."""
    import torch

    patches = torch.from_numpy(support)
    per_patch = []
    with torch.inference_mode():
        for patch in torch.from_numpy(query):
            similarities = patches @ patch
            classes = (similarities[low * PATCHES : high * PATCHES] for low, high in pairwise(starts))
            per_patch.append([float(torch.sort(of, descending=True).values[:k].mean()) for of in classes])
    scores: Scores = np.mean(per_patch, axis=0)
    return scores


def loop_with_numpy(query: Float32, support: Float32, starts: tuple[int, ...], k: int) -> Scores:
    """The same with numpy, whose sort uses vector instructions on processors of recent years."""
    per_patch = []
    for patch in query:
        similarities = support @ patch
        classes = (similarities[low * PATCHES : high * PATCHES] for low, high in pairwise(starts))
        per_patch.append([of[np.argsort(-of)[:k]].mean(dtype=np.float64) for of in classes])
    scores: Scores = np.mean(per_patch, axis=0)
    return scores


def measure(scale: Scale) -> Row:
    """Random unit vectors of the real shape: whitened patches of 128 axes."""
    settings = PipelineSettings()
    images = scale.pick(20, 2048)
    support = unit_vectors(1, images, PATCHES, settings.pca_axes)
    query = unit_vectors(2, 1, PATCHES, settings.pca_axes)
    starts = tuple(images * c // CLASSES for c in range(CLASSES + 1))
    plain = query[0], support.reshape(-1, settings.pca_axes), starts, settings.k_retrieval
    half = PatchHalf(support, starts, settings.k_retrieval, create_index("numpy-exact"))

    def ours() -> Scores:
        scores: Scores = half.match(query).scores()[0]
        return scores

    if not all(np.allclose(ours(), loop(*plain), atol=1e-5) for loop in (loop_with_torch, loop_with_numpy)):
        raise RowFailed("The ways gave different scores, so their times cannot be compared.")
    n = scale.pick(1, 7)
    fast, slow = in_turn(ours, lambda: loop_with_torch(*plain), n)
    numpy_ms = statistics.median(seconds(lambda: loop_with_numpy(*plain)) for _ in range(n)) * 1000
    return Row(
        what=f"{WHAT}, {images * PATCHES:,} support patches in {CLASSES} classes",
        ours=Figure("one matrix product and the best of each class", fast),
        against=Figure("a loop over 49 patches, every similarity sorted, in torch", slow),
        ratio=slow / fast,
        n=n,
        checks=(at_least("faster", slow / fast, 20, "×"),),
        facts={"the same loop in numpy, ms": numpy_ms, "times faster than that": numpy_ms / fast},
        note="All give the same class scores.",
    )

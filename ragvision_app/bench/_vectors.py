"""Made-up embeddings of the real shapes."""

from __future__ import annotations

import numpy as np

from core.types import Float32


def unit_vectors(seed: int, *shape: int) -> Float32:
    """Random float32 vectors of length 1 along the last axis."""
    vectors = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors

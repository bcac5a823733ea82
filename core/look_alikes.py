"""Which images look most like one: by the cosine of their whole embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.engine import Engine

CANDIDATES = 4000  # bounds the time of one request; taken in the order given


def most_alike(engine: Engine, image: str, among: Sequence[str]) -> list[str]:
    """``among`` sorted by likeness to ``image``, without those that have no embedding yet."""
    if not engine.cached([image]):
        return []
    candidates = engine.cached(among[:CANDIDATES])
    if not candidates:
        return []
    whole = engine.whole([image, *candidates])  # (1 + n, g)
    return [candidates[i] for i in np.argsort(-(whole[1:] @ whole[0]), kind="stable")]

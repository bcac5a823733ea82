"""The heatmap: signed, zero is neutral, one scale for the queue."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures_pipeline import embeddings, fit, pipeline, queries, support_set

from core.heatmap import Heatmap, heatmap
from core.settings import RECIPES


def test_strengths_are_signed_and_clipped_at_the_scale():
    drawn = Heatmap((1, 4), (0.0, 0.05, -0.2, 0.1), 0.1).strengths()
    np.testing.assert_allclose(drawn, [[0, 0.5, -1, 1]])


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("shots", [1, 5])
def test_the_scale_of_a_support_set_suits_its_queries(recipe, shots):
    labels = [c for c in range(3) for _ in range(shots)]
    p = pipeline(recipe)
    fitted = fit(p, support_set(labels), embeddings(1, labels))
    scale = fitted.heat_scale[recipe]
    maps = [heatmap(q.contributions, scale) for q in p.predict(fitted, queries(12), embeddings(2, [0, 1, 2] * 4))]
    assert scale > 0 and len({m.scale for m in maps}) == 1
    peaks = np.median([np.abs(np.array(m.values)).max() for m in maps])
    assert 0.05 < peaks / scale < 20  # neither invisible nor all saturated

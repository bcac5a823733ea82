"""Every row runs, at a tiny size. What it takes is never asserted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from core.indexes import create_index
from core.scoring_patch import PatchHalf
from ragvision_app.bench import document, measure, row_names
from ragvision_app.bench._row import Scale
from ragvision_app.bench._vectors import unit_vectors
from ragvision_app.bench.retrieve import PATCHES, loop_with_numpy, loop_with_torch

IN_A_BROWSER = ("api-load", "first-page", "key-to-image", "memory-server")


def run(name: str):
    row = measure(name, Scale.TINY)
    assert row.error == ""
    assert row.n >= 1 and row.checks and row.ours is not None and row.ours.value > 0
    assert (row.against is None) == (row.ratio is None)
    json.dumps(document([row], Scale.TINY))
    return row


@pytest.mark.parametrize("name", [name for name in row_names() if name not in IN_A_BROWSER])
def test_a_row_runs_at_a_tiny_size(name):
    row = run(name)
    assert all(check.ok for check in row.checks if check.kind == "exactly")


@pytest.mark.browser
@pytest.mark.parametrize("name", IN_A_BROWSER)
def test_a_row_that_opens_pages_runs_at_a_tiny_size(name):
    row = run(name)
    assert all(check.ok for check in row.checks if check.kind == "exactly")


@pytest.mark.parametrize("loop", [loop_with_numpy, loop_with_torch])
def test_every_way_of_retrieving_gives_the_same_scores(loop):
    support, query = unit_vectors(5, 7, PATCHES, 16), unit_vectors(6, 1, PATCHES, 16)
    starts = (0, 3, 7)
    half = PatchHalf(support, starts, 3, create_index("numpy-exact"))
    plain = loop(query[0], support.reshape(-1, 16), starts, 3)
    np.testing.assert_allclose(half.match(query).scores()[0], plain, atol=1e-6)

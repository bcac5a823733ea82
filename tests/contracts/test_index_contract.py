"""Every index in the folder equals brute force; a new file is picked up by itself."""

from __future__ import annotations

import numpy as np
import pytest

import core.indexes
from core.errors import UnknownAdapter
from core.indexes import create_index
from core.ports import Index, adapter_names
from core.scoring_basis import normalise

NAMES = adapter_names(core.indexes)


def brute_force(queries, support, k):
    similarities = queries.astype(np.float64) @ support.astype(np.float64).T
    return np.sort(similarities, axis=1)[:, ::-1][:, :k], similarities


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("q", "n", "d", "k"),
    [(1, 1, 1, 1), (7, 50, 16, 3), (5, 2, 8, 3), (49, 500, 128, 64), (3, 200, 4, 17), (0, 9, 4, 2), (49, 9001, 8, 3)],
)
def test_an_index_equals_brute_force(name, q, n, d, k):
    r = np.random.default_rng(q + n)
    queries, support = normalise(r.standard_normal((q, d))), normalise(r.standard_normal((n, d)))
    got, rows = create_index(name).top_k(queries, support, k)
    expected, similarities = brute_force(queries, support, k)
    assert got.shape == rows.shape == (q, min(k, n))
    assert got.dtype == np.float32 and rows.dtype == np.int64
    np.testing.assert_allclose(got, expected, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(similarities, rows, axis=1), got, atol=1e-6)
    assert all(len(set(row)) == len(row) for row in rows.tolist())


@pytest.mark.parametrize("name", NAMES)
def test_an_index_searches_in_chunks_without_a_seam(name, monkeypatch):
    index = create_index(name)
    r = np.random.default_rng(0)
    queries, support = normalise(r.standard_normal((30, 8))), normalise(r.standard_normal((40, 8)))
    whole = index.top_k(queries, support, 3)
    module = __import__(type(index).__module__, fromlist=["_"])
    if hasattr(module, "_CHUNK_CELLS"):
        monkeypatch.setattr(module, "_CHUNK_CELLS", 100)
    for a, b in zip(whole, index.top_k(queries, support, 3), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(("n", "k"), [(60, 3), (8192, 1), (9001, 16), (12_345, 3)])
def test_of_equal_similarities_the_first_support_row_wins(n, k):
    r = np.random.default_rng(n)
    queries, support = (r.integers(-1, 2, (m, 4)).astype(np.float32) for m in (20, n))  # whole numbers: many are equal
    support[-min(n, 70)] *= 3  # a late row beats them all, and its neighbours must not overtake earlier equals
    similarities = queries @ support.T
    expected = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    got, rows = create_index("numpy-exact").top_k(queries, support, k)
    np.testing.assert_array_equal(rows, expected)
    np.testing.assert_array_equal(got, np.take_along_axis(similarities, expected, axis=1))


@pytest.mark.parametrize("name", NAMES)
def test_an_index_leaves_its_arguments_alone_and_is_one(name):
    queries, support = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    index = create_index(name)
    index.top_k(queries, support, 2)
    np.testing.assert_array_equal(support, np.eye(3))
    assert isinstance(index, Index)


def test_an_unknown_index_is_answered_with_those_there_are():
    with pytest.raises(UnknownAdapter, match="numpy-exact"):
        create_index("hnsw")

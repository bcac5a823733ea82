"""A queue scored again after a change of support equals one scored from nothing with the same basis."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures_pipeline import embeddings, fit, pipeline, support_set
from hypothesis import given, settings
from hypothesis import strategies as st

from core.rescoring import Rescorer
from core.settings import RECIPES

POOL = 14  # images that may be in the support set, the first four always
POOL_LABELS = np.array([0, 0, 1, 1, 0, 1, 2, 0, 1, 2, 0, 2, 1, 0])


def fitted_with(p, pool, members: dict[int, int], basis=None):
    rows = sorted(members)
    support = support_set([members[i] for i in rows], count=3, names=[f"support {i}" for i in rows])
    return fit(p, support, pool[np.array(rows)], basis=basis)


moves = st.lists(st.tuples(st.integers(4, POOL - 1), st.sampled_from([0, 1, 2, None])), min_size=1, max_size=8)


@settings(max_examples=20, deadline=None)
@given(
    moves=moves, recipe=st.sampled_from(RECIPES), k=st.integers(1, 4), grid=st.sampled_from([(1, 1), (2, 3), (4, 4)])
)
def test_rescoring_after_any_changes_equals_scoring_from_nothing(moves, recipe, k, grid):
    p = pipeline(recipe, k_retrieval=k)
    pool, queue = embeddings(1, POOL_LABELS, grid=grid), embeddings(2, [0, 1, 2, 0, 1], grid=(2, 3))
    members = {i: int(POOL_LABELS[i]) for i in range(6)}
    first = fitted_with(p, pool, members)
    rescorer = Rescorer(p, first, [queue[:2], queue[2:]])
    np.testing.assert_allclose(rescorer.scores().logits, p.score_only(first, queue).logits, atol=1e-5)
    for image, label in moves:  # add, move to another class, or remove
        if label is None:
            members.pop(image, None)
        else:
            members[image] = label
        now = fitted_with(p, pool, members, basis=first.basis)
        got, anew = rescorer.update(now), p.score_only(now, queue)
        np.testing.assert_allclose(got.logits, anew.logits, atol=1e-5)
        np.testing.assert_allclose(got.probabilities, anew.probabilities, atol=1e-5)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_long_history_of_coming_and_going_leaves_no_error_behind(seed):
    """What fell out of a full list must not be forgotten when the list later runs short."""
    p = pipeline("patch", k_retrieval=1)
    labels = [0] * 12 + [1, 1]
    pool, queue = embeddings(seed, labels, grid=(1, 1)), embeddings(2, [0, 1] * 20, grid=(1, 1))
    members = {i: labels[i] for i in (0, 1, 2, 3, 12, 13)}
    first = fitted_with(p, pool, members)
    rescorer = Rescorer(p, first, [queue])
    random = np.random.default_rng(seed)
    for wave in range(5):
        target = random.permutation(12)[: 10 if wave % 2 == 0 else 2]  # fills the lists, then empties them
        for image in random.permutation(12):
            if image in target and image not in members:
                members[int(image)] = 0
            elif image not in target and image in members and len(members) > 3:
                del members[int(image)]
            else:
                continue
            now = fitted_with(p, pool, members, basis=first.basis)
            np.testing.assert_allclose(rescorer.update(now).logits, p.score_only(now, queue).logits, atol=1e-5)


def test_only_patches_that_fell_short_are_matched_again():
    p = pipeline(k_retrieval=2)
    labels = [c for c in (0, 1) for _ in range(8)]
    pool, queue = embeddings(1, labels, grid=(3, 3)), embeddings(2, [0, 1] * 10, grid=(3, 3))
    members = dict(enumerate(labels))
    first = fitted_with(p, pool, members)
    rescorer = Rescorer(p, first, [queue])
    matched = []
    build = rescorer._build
    rescorer._build = lambda block, fitted, column, rows: (
        matched.append(len(rows)),
        build(block, fitted, column, rows),
    )
    members.pop(15)
    rescorer.update(fitted_with(p, pool, members, basis=first.basis))
    assert sum(matched) < len(queue) * 9 * 0.3
    matched.clear()
    members[15] = 1
    rescorer.update(fitted_with(p, pool, members, basis=first.basis))
    assert matched == []


def test_another_basis_is_refused():
    p = pipeline()
    pool = embeddings(1, POOL_LABELS)
    rescorer = Rescorer(p, fitted_with(p, pool, {0: 0, 1: 0, 2: 1}), [embeddings(2, [0])])
    with pytest.raises(ValueError, match="new Rescorer"):
        rescorer.update(fitted_with(p, pool, {0: 0, 2: 1, 3: 1}))


def test_an_empty_queue_has_no_scores():
    p = pipeline()
    pool = embeddings(1, POOL_LABELS)
    assert Rescorer(p, fitted_with(p, pool, {0: 0, 2: 1}), []).scores().logits.shape == (0, 2)

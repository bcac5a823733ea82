"""Contributions add up, exactly, whatever the recipe, grids and embeddings."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures_pipeline import embeddings, fit, pipeline, queries, support_set, without_map
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.encoders import create_encoder
from core.settings import RECIPES, PipelineSettings
from core.types import Prediction


def assert_adds_up(p: Prediction) -> None:
    logits = {s.class_id: s.logit for s in p.scores}
    c = p.contributions
    assert c is not None and c.against is not None
    difference = logits[c.flag] - logits[c.against]
    assert sum(c.values) + c.whole + c.constant == pytest.approx(difference, abs=1e-4)
    assert sum(c.by_support.values()) + c.constant == pytest.approx(difference, abs=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    recipe=st.sampled_from(RECIPES),
    count=st.integers(2, 11),
    shots=st.integers(1, 4),
    grid=st.sampled_from([(1, 1), (2, 3), (3, 3)]),
    query_grid=st.sampled_from([(2, 3), (4, 2)]),
    map_grid=st.sampled_from([None, (3, 5), (1, 2)]),
    k=st.integers(1, 7),
    with_map=st.booleans(),
    seed=st.integers(0, 10_000),
)
def test_contributions_sum_to_the_difference_of_logits_by_position_and_by_support_image(
    recipe, count, shots, grid, query_grid, map_grid, k, with_map, seed
):
    labels = [c for c in range(count) for _ in range(shots)]
    p = pipeline(recipe, k_retrieval=k)
    fitted = fit(p, support_set(labels), embeddings(seed, labels, grid=grid))
    e = embeddings(seed + 1, [0, 1], grid=query_grid, map_grid=map_grid)
    for prediction in p.predict(fitted, queries(2), e if with_map else without_map(e)):
        assert_adds_up(prediction)
        assert prediction.contributions.grid == query_grid


@pytest.mark.parametrize("recipe", ["ensemble", "whole"])
def test_a_whole_embedding_without_positions_is_one_entry_and_never_drawn(recipe):
    p = pipeline(recipe)
    labels = [0, 0, 0, 1, 1, 1]
    fitted = fit(p, support_set(labels), embeddings(1, labels))
    e = embeddings(2, [0])
    (with_map,) = p.predict(fitted, queries(1), e)
    (without,) = p.predict(fitted, queries(1), without_map(e))
    assert with_map.contributions.whole == 0
    assert without.contributions.whole != 0
    if recipe == "whole":
        assert not any(without.contributions.values)
    # By support image both tell the same: only where in the query it lies is unknown.
    for image, value in with_map.contributions.by_support.items():
        assert without.contributions.by_support[image] == pytest.approx(value, abs=1e-5)


def test_the_patch_half_has_no_constant_and_no_whole_part():
    p = pipeline("patch")
    labels = [0, 0, 1, 1]
    fitted = fit(p, support_set(labels), embeddings(1, labels))
    (prediction,) = p.predict(fitted, queries(1), embeddings(2, [0]))
    assert prediction.contributions.constant == 0 and prediction.contributions.whole == 0


@pytest.mark.parametrize("recipe", ["ensemble", "patch", "vote"])
def test_every_retrieved_pair_is_part_of_its_position_and_its_image(recipe):
    """Evidence contributions are shares of the map: with one class a side and k = 1 they are the whole of it."""
    p = pipeline(recipe, k_retrieval=1, max_patches_per_class=16)
    labels = [0, 0, 1, 1]
    fitted = fit(p, support_set(labels), embeddings(1, labels))
    (prediction,) = p.predict(fitted, queries(1), embeddings(2, [0]))
    for e in prediction.evidence:
        sign = 1 if e.class_id == prediction.flag else -1
        assert sign * e.contribution * np.sign(e.similarity) >= 0


def test_an_image_of_zeros_adds_up_too():
    p = pipeline()
    labels = [0, 0, 1, 1]
    fitted = fit(p, support_set(labels), embeddings(1, labels))
    e = embeddings(2, [0])
    zero = type(e)(np.zeros_like(e.patches), np.zeros_like(e.whole), np.zeros_like(e.whole_map))
    (prediction,) = p.predict(fitted, queries(1), zero)
    assert_adds_up(prediction)
    assert all(np.isfinite(s.probability) for s in prediction.scores)


@pytest.mark.parametrize("recipe", RECIPES)
def test_real_images_through_the_real_encoder_add_up(recipe, tmp_path_factory):
    def picture(seed: int, tint: int) -> Image.Image:
        small = np.random.default_rng(seed).integers(0, 128, (6, 8, 3), dtype=np.uint8)
        small[..., tint] += 100
        return Image.fromarray(small).resize((130, 90), Image.Resampling.BICUBIC)

    folder = tmp_path_factory.getbasetemp() / "weights-for-contributions"
    encoder = create_encoder("efficientnet-lite0", PipelineSettings(), 96, cache_dir=folder, threads=1)
    labels = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    p = pipeline(recipe)
    fitted = fit(p, support_set(labels), encoder.embed_batch([picture(i, c) for i, c in enumerate(labels)]))
    e = encoder.embed_batch([picture(50 + c, c) for c in range(3)], whole_map=True)
    for prediction in p.predict(fitted, queries(3), e):
        assert_adds_up(prediction)
        assert prediction.contributions.whole == 0

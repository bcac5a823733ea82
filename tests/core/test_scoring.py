"""Scores: known answers, leave-one-out against explicit refits, and the bounds of few images."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures_pipeline import embeddings, fit, pipeline, queries, sha, support_set
from hypothesis import given, settings
from hypothesis import strategies as st

from core.calibration import fit_temperature, log_softmax, smoothed_nll
from core.errors import InvalidInput, NotReady
from core.indexes import create_index
from core.scoring_basis import Basis, normalise
from core.scoring_patch import Matches, PatchHalf, companions
from core.scoring_whole import fit_whole, solve
from core.settings import RECIPES
from core.types import Calibrated, Embeddings


# --------------------------------------------------------------------------- basis
def test_the_basis_whitens_known_variances():
    """Variance 4 along x and 1 along y: both come out alike once the shrinkage is zero."""
    x = np.array([[2, 0], [-2, 0], [0, 1], [0, -1]], np.float32) + np.float32(5)
    basis = Basis.fit(x, np.ones((4, 3), np.float32), pca_axes=2, shrinkage=0.0)
    np.testing.assert_allclose(basis.mean, [5, 5])
    np.testing.assert_allclose(basis.eigenvalues, [2.0, 0.5])
    np.testing.assert_allclose(
        np.abs(basis.project(np.array([[6, 5.5]], np.float32))), [[0.5**0.5, 0.5**0.5]], atol=1e-6
    )


def test_the_basis_survives_bytes_and_its_id_is_its_content():
    def basis_of(e: Embeddings) -> Basis:
        return Basis.fit(e.patches, e.whole, pca_axes=4, shrinkage=0.1)

    basis = basis_of(embeddings(1, [0, 1]))
    back = Basis.from_bytes(basis.to_bytes())
    assert back.id == basis.id
    np.testing.assert_array_equal(back.axes, basis.axes)
    assert basis_of(embeddings(2, [0, 1])).id != basis.id


@pytest.mark.parametrize("blob", [b"", b"nonsense", b"PK\x03\x04 cut"])
def test_a_damaged_basis_is_refused_with_a_sentence(blob):
    with pytest.raises(InvalidInput, match="damaged"):
        Basis.from_bytes(blob)


def test_a_basis_with_a_pickle_inside_is_refused():
    import io

    buffer = io.BytesIO()
    np.savez(buffer, mean=np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidInput):
        Basis.from_bytes(buffer.getvalue())


def test_fewer_patches_than_axes_and_identical_patches_give_a_basis_without_nan():
    same = np.ones((3, 2, 5), np.float32)
    basis = Basis.fit(same, np.ones((3, 4), np.float32), pca_axes=128, shrinkage=0.1)
    assert np.isfinite(basis.project(same)).all()


# --------------------------------------------------------------------------- patch half
def test_a_class_is_scored_by_the_mean_of_its_three_best_matches():
    """One query patch; class 0 offers cosines .8 .6 0 −1, class 1 offers .96 .28: worked out by hand."""
    angle = np.array([[0.8, 0.6], [0.6, 0.8], [0, 1], [-1, 0], [0.96, 0.28], [0.28, 0.96]], np.float32)
    half = PatchHalf(angle[:, None, :], (0, 4, 6), 3, create_index("numpy-exact"))
    matches = half.match(np.array([[[1, 0]]], np.float32))
    np.testing.assert_allclose(matches.scores(), [[(0.8 + 0.6 + 0) / 3, (0.96 + 0.28) / 2]], atol=1e-6)
    # The three nearest of all are .96 (class 1), .8 and .6 (class 0).
    np.testing.assert_allclose(matches.vote_scores(), [[2 / 3, 1 / 3]])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999), shots=st.lists(st.integers(1, 4), min_size=2, max_size=4), k=st.integers(1, 5))
def test_leave_one_out_of_the_patch_half_equals_taking_the_image_and_its_companions_away(seed, shots, k):
    r = np.random.default_rng(seed)
    n, starts = sum(shots), tuple(int(s) for s in np.r_[0, np.cumsum(shots)])
    z = normalise(r.standard_normal((n, 4, 6)))
    index = create_index("numpy-exact")
    left_out, left = PatchHalf(z, starts, k, index).leave_one_out(), companions(starts)
    for image in range(n):
        own = int(np.searchsorted(starts, image, side="right")) - 1
        if shots[own] == 1:
            assert np.isneginf(left_out.per_class()[image, :, own]).all()
            continue
        gone = left[image][left[image] >= 0]
        rest = np.setdiff1d(np.arange(n), gone)
        fewer = tuple(int(s - (gone < s).sum()) for s in starts)
        explicit = PatchHalf(z[rest], fewer, k, index).match(z[image : image + 1])
        np.testing.assert_allclose(left_out.similarities[image], explicit.similarities[0], atol=1e-6)
        one = Matches(left_out.similarities[image : image + 1], left_out.rows[image : image + 1])
        np.testing.assert_allclose(one.vote_scores(), explicit.vote_scores(), atol=1e-6)
        images = left_out.rows[image] // 4
        assert not (images[left_out.rows[image] >= 0] == image).any()


def test_one_image_of_every_class_is_left_out_together_except_where_it_is_the_only_one():
    np.testing.assert_array_equal(
        companions((0, 2, 5, 6)), [[0, 2, -1], [1, 3, -1], [0, 2, -1], [1, 3, -1], [0, 4, -1], [0, 2, 5]]
    )


@pytest.mark.parametrize("recipe", RECIPES)
def test_images_that_tell_nothing_are_not_judged_worse_than_chance(recipe):
    """Pure noise at three shots: leaving out one image alone would put the right class last nearly always."""
    shares = []
    for seed in range(12):
        labels = [0, 0, 0, 1, 1, 1]
        fitted = fit(pipeline(recipe), support_set(labels), embeddings(seed, labels, signal=0.0, grid=(3, 3)))
        shares.append(fitted.leave_one_out[recipe].accuracy)
    assert 0.35 < np.mean(shares) < 0.65


# --------------------------------------------------------------------------- whole half
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999),
    shots=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    penalty=st.sampled_from([0.03, 1.0]),
)
def test_leave_one_out_of_the_ridge_equals_an_explicit_refit(seed, shots, penalty):
    r = np.random.default_rng(seed)
    n, classes, y = sum(shots), len(shots), np.repeat(np.arange(len(shots)), shots)
    g = normalise(r.standard_normal((n, 5))).astype(np.float64)
    left = companions(tuple(int(s) for s in np.r_[0, np.cumsum(shots)]))
    kernel, nobody = g @ g.T + 1, np.full((0, classes), -1)
    _, left_out = solve(kernel, y, classes, penalty, left)
    for image in range(n):
        rest = np.setdiff1d(np.arange(n), left[image])
        if len(rest):
            alpha, _ = solve(kernel[np.ix_(rest, rest)], y[rest], classes, penalty, nobody)
            np.testing.assert_allclose(left_out[image], kernel[image, rest] @ alpha, atol=1e-8)


def test_the_ridge_gives_the_worked_out_answer_for_two_opposite_images():
    """K = [[2, 0], [0, 2]], ℓ = 1 where nothing can be left out: α = ±1/3, outputs ±2/3."""
    g = np.array([[1.0, 0.0], [-1.0, 0.0]])
    half = fit_whole(g, np.array([0, 1]), 2, np.array([False, False]), companions((0, 1, 2)))
    assert half.penalty == 1.0
    np.testing.assert_allclose(half.alpha, [[1 / 3, -1 / 3], [-1 / 3, 1 / 3]])
    np.testing.assert_allclose(half.scores(g), [[2 / 3, -2 / 3], [-2 / 3, 2 / 3]])


# --------------------------------------------------------------------------- calibration
def test_the_temperature_gives_back_the_smoothed_share_of_right_answers():
    """Scores (1, 0) right 3 times of 4: the best p is .75 smoothed by C/(n+C) = 1/3 to .75·2/3 + ½·1/3."""
    scores, y = np.tile([1.0, 0.0], (4, 1)), np.array([0, 0, 0, 1])
    t = fit_temperature(scores, y, 1.0)
    p = np.exp(log_softmax(scores / t))[0, 0]
    assert p == pytest.approx(0.75 * 2 / 3 + 0.5 / 3, abs=0.01)


def test_perfect_separation_on_few_images_stays_careful():
    scores, y = np.array([[9.0, 0.0], [0.0, 9.0]]), np.array([0, 1])
    t = fit_temperature(scores, y, 1.0)
    assert np.exp(log_softmax(scores / t)).max() == pytest.approx(0.75, abs=0.01)  # 1 − ½·C/(n+C)


def test_scores_that_tell_nothing_apart_keep_the_default_temperature():
    assert fit_temperature(np.zeros((3, 2)), np.array([0, 1, 0]), 0.5) == 0.5
    assert fit_temperature(np.zeros((0, 2)), np.zeros(0, np.int64), 0.7) == 0.7


def test_smoothed_nll_of_equal_scores_is_log_c():
    assert smoothed_nll(np.zeros((5, 3)), np.array([0, 1, 2, 0, 1]), 1.0) == pytest.approx(np.log(3))


# --------------------------------------------------------------------------- the whole of it
@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(7)), recipe=st.sampled_from(RECIPES))
def test_nothing_depends_on_the_order_of_the_support_images(order, recipe):
    labels = np.array([0, 0, 1, 1, 1, 2, 2])
    names = np.array([f"support {i}" for i in range(7)])
    e, p = embeddings(3, labels), pipeline(recipe)
    query = embeddings(4, [0, 1, 2])
    straight = fit(p, support_set(labels, names=list(names)), e)
    shuffled = fit(p, support_set(labels[order], names=list(names[order]), count=3), e[np.array(order)])
    assert straight.basis.id == shuffled.basis.id
    assert straight.images == shuffled.images
    np.testing.assert_array_equal(p.score_only(straight, query).logits, p.score_only(shuffled, query).logits)


@pytest.mark.parametrize("recipe", RECIPES)
def test_probabilities_sum_to_one_and_score_only_equals_predict(recipe):
    labels = [0, 0, 1, 1, 2, 2]
    p = pipeline(recipe)
    fitted = fit(p, support_set(labels), embeddings(1, labels))
    e = embeddings(2, [0, 1, 2, 0, 1])
    scores = p.score_only(fitted, e)
    np.testing.assert_allclose(scores.probabilities.sum(axis=1), 1)
    for row, prediction in enumerate(p.predict(fitted, queries(5), e)):
        np.testing.assert_allclose([s.logit for s in prediction.scores], scores.logits[row], atol=1e-6)
        assert prediction.margin == pytest.approx(np.ptp(np.sort(scores.probabilities[row])[-2:]), abs=1e-6)
        assert prediction.flag == prediction.best.class_id


@pytest.mark.parametrize("recipe", RECIPES)
def test_clear_classes_are_recognised_by_every_recipe_and_leave_one_out_says_so(recipe):
    labels = [c for c in range(12) for _ in range(3)]  # more classes than keys on the keyboard
    p = pipeline(recipe)
    fitted = fit(p, support_set(labels), embeddings(1, labels, signal=4.0))
    got = p.score_only(fitted, embeddings(2, range(12), signal=4.0)).logits.argmax(axis=1)
    assert list(got) == list(range(12))
    assert fitted.leave_one_out[recipe].balanced_accuracy == 1.0
    assert fitted.calibrated is Calibrated.LEAVE_ONE_OUT


def test_leave_one_out_names_every_image_that_can_be_left_out_and_no_other():
    labels = [0, 0, 1, 1, 2]  # class 2 has a single image
    fitted = fit(pipeline(), support_set(labels), embeddings(1, labels))
    for recipe in RECIPES:
        rows = fitted.leave_one_out[recipe].probabilities
        assert set(rows) == {sha(f"support {i}") for i in range(4)}
        assert all(sum(p) == pytest.approx(1) for p in rows.values())


@pytest.mark.parametrize(("labels", "words"), [([], "No class"), ([0, 0], "Only the class 'class 0'")])
def test_fewer_than_two_classes_with_images_say_what_is_missing(labels, words):
    e = embeddings(1, labels or [0])[np.arange(len(labels))]
    with pytest.raises(NotReady, match=words):
        fit(pipeline(), support_set(labels, count=3), e)


@pytest.mark.parametrize("recipe", RECIPES)
def test_one_image_a_class_works_with_default_temperatures_and_says_not_calibrated(recipe):
    p = pipeline(recipe)
    fitted = fit(p, support_set([0, 1, 2]), embeddings(1, [0, 1, 2]))
    assert fitted.calibrated is Calibrated.NOT
    assert fitted.leave_one_out[recipe].rows == 0
    (prediction,) = p.predict(fitted, queries(1), embeddings(2, [1]))
    assert prediction.calibrated is Calibrated.NOT
    assert "not calibrated" in prediction.explanation


def test_classes_without_images_are_left_out_of_the_scores_and_named():
    p = pipeline()
    fitted = fit(p, support_set([0, 0, 2, 2], count=4), embeddings(1, [0, 0, 2, 2]))
    assert [c.name for c in fitted.without_images] == ["class 1", "class 3"]
    (prediction,) = p.predict(fitted, queries(1), embeddings(2, [0]))
    assert {s.class_id for s in prediction.scores} == {10, 12}
    assert "class 1 and class 3" in prediction.explanation


@pytest.mark.parametrize("recipe", RECIPES)
def test_identical_images_in_two_classes_are_a_draw_without_nan(recipe):
    one = embeddings(1, [0])
    e = one[np.zeros(4, np.int64)]
    p = pipeline(recipe)
    fitted = fit(p, support_set([0, 0, 1, 1]), e)
    (prediction,) = p.predict(fitted, queries(1), one)
    assert all(np.isfinite(s.logit) for s in prediction.scores)
    if recipe != "vote":  # a vote among equals goes to the first rows
        assert prediction.margin == pytest.approx(0, abs=1e-6)


def test_the_same_image_twice_is_refused():
    with pytest.raises(InvalidInput, match="twice"):
        fit(pipeline(), support_set([0, 1, 1], names=["a", "b", "a"]), embeddings(1, [0, 1, 1]))


def test_a_kept_basis_is_used_and_one_of_another_encoder_refused():
    labels = [0, 0, 1, 1]
    first = fit(pipeline(), support_set(labels), embeddings(1, labels))
    kept = fit(pipeline(), support_set(labels), embeddings(5, labels), basis=first.basis)
    assert kept.basis is first.basis
    with pytest.raises(InvalidInput, match="another encoder"):
        fit(pipeline(), support_set(labels), embeddings(1, labels, d=7), basis=first.basis)


def test_human_labels_refit_the_last_temperature_and_keep_the_ranking():
    labels = [0, 0, 0, 1, 1, 1]
    p = pipeline()
    fitted = fit(p, support_set(labels), embeddings(1, labels))
    e = embeddings(2, [0, 1] * 30)
    before = p.score_only(fitted, e)
    wrong = [10 if c else 11 for c in before.logits.argmax(axis=1)]  # labels that contradict every score
    after = fitted.recalibrated("ensemble", before.logits, wrong)
    assert after.calibrated is Calibrated.LABELS
    scores = p.score_only(after, e)
    assert (scores.logits.argmax(axis=1) == before.logits.argmax(axis=1)).all()
    assert scores.probabilities.max() < 0.55 < before.probabilities.max()


def test_labels_of_classes_without_support_do_not_disturb_the_refit():
    labels = [0, 0, 1, 1]
    p = pipeline()
    fitted = fit(p, support_set(labels, count=3), embeddings(1, labels))
    logits = p.score_only(fitted, embeddings(2, [0, 1])).logits
    assert fitted.recalibrated("ensemble", logits, [12, 12]).temperatures.of("ensemble") == pytest.approx(
        fitted.temperatures.of("ensemble")
    )


def test_no_queries_give_no_predictions():
    labels = [0, 0, 1, 1]
    p = pipeline()
    fitted = fit(p, support_set(labels), embeddings(1, labels))
    nothing = Embeddings(np.zeros((0, 2, 3, 12), np.float32), np.zeros((0, 9), np.float32))
    assert p.predict(fitted, [], nothing) == []
    assert p.score_only(fitted, nothing).logits.shape == (0, 2)

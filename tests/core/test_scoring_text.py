"""Class names as a prior: alone, beside images, and for the classes that have none. It still adds up."""

from __future__ import annotations

import numpy as np
import pytest
from fixtures_pipeline import classes, embeddings, fit, pipeline, queries, support_set, without_map
from hypothesis import given, settings
from hypothesis import strategies as st

from core.calibration import log_softmax
from core.errors import NotReady
from core.rescoring import Rescorer
from core.scoring_basis import normalise
from core.scoring_text import TEMPLATES, ClassTexts, TextReader, prompts_of
from core.settings import RECIPES
from core.types import Calibrated, ClassRecord, Prediction

SCALE = 20.0


def texts(count: int, *, seed: int | None = None, g: int = 9) -> ClassTexts:
    """Planted: the direction that each class's images lean to, or, with a seed, directions that know nothing."""
    of = np.random.default_rng(99 if seed is None else seed)
    if seed is None:
        of.standard_normal((20, 12))  # what the fixture draws for patches
    directions = normalise(np.abs(of.standard_normal((20, g))))
    return ClassTexts({c.id: directions[i] for i, c in enumerate(classes(count))}, SCALE)


def fit_with(p, labels, count, said, *, seed=1, **more):
    e = embeddings(seed, labels, **more) if labels else None
    return fit(p, support_set(labels, count=count), e, texts=said)


def assert_adds_up(p: Prediction) -> None:
    logits = {s.class_id: s.logit for s in p.scores}
    c = p.contributions
    assert c is not None and c.against is not None
    difference = logits[c.flag] - logits[c.against]
    assert sum(c.values) + c.whole + c.text + c.constant == pytest.approx(difference, abs=1e-4)
    assert sum(c.by_support.values()) + c.text + c.constant == pytest.approx(difference, abs=1e-4)


# --------------------------------------------------------------------------- it adds up
@settings(max_examples=60)
@given(
    recipe=st.sampled_from(RECIPES),
    shots=st.lists(st.integers(0, 3), min_size=2, max_size=6),
    seed=st.integers(0, 10_000),
    informative=st.booleans(),
    with_map=st.booleans(),
    scale=st.sampled_from([1.0, 20.0, 100.0]),
)
def test_contributions_add_up_with_names_whatever_has_images(recipe, shots, seed, informative, with_map, scale):
    labels = [c for c, n in enumerate(shots) for _ in range(n)]
    said = texts(len(shots), seed=None if informative else seed)
    p = pipeline(recipe)
    fitted = fit_with(p, labels, len(shots), ClassTexts(said.of, scale), seed=seed)
    e = embeddings(seed + 1, [c % len(shots) for c in range(6)])
    for prediction in p.predict(fitted, queries(6), e if with_map else without_map(e)):
        assert_adds_up(prediction)
        assert {s.class_id for s in prediction.scores} == {c.id for c in classes(len(shots))}
        assert sum(s.probability for s in prediction.scores) == pytest.approx(1)
        assert all(v.class_id in {10 + c for c in labels} for v in prediction.evidence)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("flag", "against"), [(0, 1), (0, 3), (3, 0), (3, 4)])
def test_any_two_classes_add_up_also_where_one_or_both_have_no_images(recipe, flag, against):
    """The flag may be a reasoner's, so it need not be the best."""
    from core import contributions

    labels = [0, 0, 0, 1, 1, 2]
    p = pipeline(recipe)
    fitted = fit_with(p, labels, 5, texts(5))
    e = embeddings(7, [1])
    scores = p.score_only(fitted, e)
    matches, _, _ = p._halves(fitted, e)
    part = contributions.cells(fitted, recipe, matches, e, scores, flag, against)
    difference = scores.logits[0, flag] - scores.logits[0, against]
    assert part.cells.sum() + part.whole.sum() + part.text + part.constant == pytest.approx(difference, abs=1e-6)
    assert bool(np.abs(part.cells).sum()) == (flag < 3 or against < 3)


# --------------------------------------------------------------------------- names alone
@pytest.mark.parametrize("labels", [[], [2, 2, 2]])
def test_without_two_classes_with_images_the_names_alone_suggest_and_that_is_said(labels):
    p = pipeline()
    fitted = fit_with(p, labels, 4, texts(4))
    e = embeddings(5, [0, 1, 2, 3], signal=4.0)
    found = p.predict(fitted, queries(4), e)
    assert [prediction.flag for prediction in found] == [10, 11, 12, 13]
    for prediction in found:
        assert prediction.calibrated is Calibrated.NAMES and not prediction.evidence
        assert not any(prediction.contributions.values) and not prediction.contributions.by_support
        assert "from the names of the classes alone" in prediction.explanation
        assert prediction.contributions.text > 0 and prediction.contributions.constant == 0
        assert all(s.patch is None and s.whole is None and s.text is not None for s in prediction.scores)
        assert_adds_up(prediction)
    logits = SCALE * np.stack([e.whole @ texts(4).of[10 + c] for c in range(4)], axis=1)
    np.testing.assert_allclose(p.score_only(fitted, e).logits, log_softmax(logits), atol=1e-5)


@pytest.mark.parametrize(("count", "words"), [(1, "Only the class|No class"), (2, "No class")])
def test_one_class_or_no_text_is_still_too_little(count, words):
    with pytest.raises(NotReady, match=words):
        fit_with(pipeline(), [], count, texts(1) if count == 1 else None)


def test_labels_refit_the_temperature_of_names_alone():
    p = pipeline()
    fitted = fit_with(p, [], 2, texts(2))
    e = embeddings(2, [0, 1] * 30)
    before = p.score_only(fitted, e)
    wrong = [10 if c else 11 for c in before.logits.argmax(axis=1)]
    after = fitted.recalibrated("ensemble", before.logits, wrong)
    assert after.calibrated is Calibrated.LABELS
    assert p.score_only(after, e).probabilities.max() < 0.55 < before.probabilities.max()


# --------------------------------------------------------------------------- names beside images
@pytest.mark.parametrize("recipe", RECIPES)
def test_classes_without_images_keep_the_mass_that_their_names_give_them(recipe):
    p = pipeline(recipe)
    fitted = fit_with(p, [0, 0, 0, 1, 1, 1], 5, texts(5))
    e = embeddings(5, [0, 1, 2, 3, 4], signal=4.0)
    scores = p.score_only(fitted, e)
    assert [fitted.class_ids[c] for c in scores.logits.argmax(axis=1)] == [10, 11, 12, 13, 14]
    prior = np.exp(fitted.text.log_probabilities(e.whole))
    np.testing.assert_allclose(scores.probabilities[:, 2:], prior[:, 2:], atol=1e-6)
    np.testing.assert_allclose(scores.probabilities[:, :2].sum(axis=1), prior[:, :2].sum(axis=1), atol=1e-6)
    (prediction,) = p.predict(fitted, queries(1), e[[2]])
    assert "Judged by their names alone, for want of support images: class 2, class 3 and class 4." in (
        prediction.explanation
    )


def test_two_classes_that_names_tell_apart_do_not_sharpen_the_prior_for_the_others():
    """At a low scale the images of two classes would have the prior sharper than the model was trained."""
    said = ClassTexts(texts(4).of, 2.0)
    fitted = fit_with(pipeline(), [0] * 6 + [1] * 6, 4, said, signal=4.0)
    assert fitted.text.temperature == 1.0
    raw = pipeline().score_only(fit_with(pipeline(), [], 4, said), e := embeddings(5, [2], signal=4.0))
    np.testing.assert_allclose(
        pipeline().score_only(fitted, e).probabilities[0, 2:], raw.probabilities[0, 2:], atol=1e-6
    )


def test_confident_names_that_are_wrong_make_the_prior_careful():
    planted = texts(3).of
    wrong = ClassTexts({10: planted[11], 11: planted[12], 12: planted[10]}, 100.0)
    fitted = fit_with(pipeline(), [c for c in range(3) for _ in range(4)], 3, wrong, signal=3.0)
    assert fitted.text.temperature > 10


@pytest.mark.parametrize("recipe", RECIPES)
def test_names_that_know_nothing_get_no_weight_and_change_nothing(recipe):
    """All names embed alike: the prior is flat, and everything is as it is without it."""
    labels = [c for c in range(3) for _ in range(4)]
    p = pipeline(recipe)
    flat = ClassTexts({c.id: normalise(np.ones(9)) for c in classes(3)}, SCALE)
    fitted, plain = fit_with(p, labels, 3, flat), fit_with(p, labels, 3, None)
    assert fitted.temperatures.text_weight(recipe) == 0 == fitted.leave_one_out[recipe].text_weight
    assert plain.leave_one_out[recipe].text_weight is None
    e = embeddings(2, [0, 1, 2])
    np.testing.assert_allclose(p.score_only(fitted, e).logits, p.score_only(plain, e).logits, atol=1e-9)


def test_names_that_know_more_than_the_images_get_weight_by_leave_one_out():
    """Patches are noise here, so that the patch recipe is at a loss; the names are not."""
    labels = [c for c in range(3) for _ in range(5)]
    noise = embeddings(3, [0] * len(labels), signal=0.0)
    good = embeddings(4, labels, signal=4.0)
    e = type(noise)(noise.patches, good.whole, good.whole_map)
    p = pipeline("patch")
    fitted = fit(p, support_set(labels), e, texts=texts(3))
    plain = fit(p, support_set(labels), e)
    assert fitted.temperatures.text_weight("patch") > 0
    loo, before = fitted.leave_one_out["patch"], plain.leave_one_out["patch"]
    assert loo.text_weight == fitted.temperatures.text_weight("patch")
    assert loo.balanced_accuracy == 1.0 > before.balanced_accuracy and loo.log_loss < before.log_loss


def test_misleading_names_are_held_down():
    """Each name points to the next class's images."""
    labels = [c for c in range(3) for _ in range(5)]
    p = pipeline("whole")
    planted = texts(3).of
    wrong = ClassTexts({10: planted[11], 11: planted[12], 12: planted[10]}, 100.0)
    fitted = fit_with(p, labels, 3, wrong, signal=3.0)
    assert fitted.temperatures.text_weight("whole") == 0
    e = embeddings(6, [0, 1, 2], signal=3.0)
    assert list(p.score_only(fitted, e).logits.argmax(axis=1)) == [0, 1, 2]


def test_the_order_of_the_classes_does_not_matter():
    labels, p = [2, 2, 0, 0], pipeline()
    fitted = fit_with(p, labels, 4, texts(4))
    assert fitted.class_ids == (10, 12, 11, 13)
    scores = {s.class_id: s.text for s in p.predict(fitted, queries(1), embeddings(5, [3], signal=4.0))[0].scores}
    assert max(scores, key=scores.__getitem__) == 13


@pytest.mark.parametrize("recipe", RECIPES)
def test_rescoring_with_names_equals_scoring_from_nothing(recipe):
    pool = embeddings(1, [0, 0, 1, 1, 2, 2, 3])
    queue = embeddings(2, [0, 1, 2, 3, 4])
    p = pipeline(recipe)

    def with_images(rows, basis=None):
        label = [0, 0, 1, 1, 2, 2, 3]
        support = support_set([label[i] for i in rows], count=5, names=[f"support {i}" for i in rows])
        return fit(p, support, pool[np.array(rows)], basis=basis, texts=texts(5))

    first = with_images([0, 1, 2, 3])
    rescorer = Rescorer(p, first, [queue[:2], queue[2:]])
    for rows in ([0, 1, 2, 3], [0, 1, 2, 3, 4, 6], [0, 2, 4], [0, 4]):
        now = with_images(rows, first.basis)
        got, anew = rescorer.update(now), p.score_only(now, queue)
        np.testing.assert_allclose(got.logits, anew.logits, atol=1e-5)
        assert got.logits.shape == (5, 5)


# --------------------------------------------------------------------------- prompts
class Counting:
    text_scale = 7.0

    def __init__(self):
        self.asked: list[str] = []

    def embed_texts(self, given):
        self.asked += given
        return normalise(np.array([[len(text), text.count("a"), 1.0] for text in given]))


def kind(number: int, name: str, description: str = "") -> ClassRecord:
    return ClassRecord(number, name, None, "#000000", description)


def test_a_class_is_the_mean_of_its_prompts_and_each_is_embedded_once():
    encoder = Counting()
    first = TextReader(encoder).read([kind(1, "crack"), kind(2, "thin_scratch", "bright, straight.")])
    assert first.scale == 7.0 and set(first.of) == {1, 2}
    assert {t.format("crack") for t in TEMPLATES} < set(encoder.asked)
    assert "a photo of a thin scratch, bright, straight." in encoder.asked
    mean = np.mean([Counting().embed_texts([t])[0] for t in prompts_of(kind(1, "crack"))], axis=0)
    np.testing.assert_allclose(first.of[1], normalise(mean), atol=1e-6)
    before = len(encoder.asked)
    again = TextReader(encoder).read([kind(1, "crack"), kind(3, "crack")])  # another engine, the same encoder
    assert len(encoder.asked) == before and len(set(encoder.asked)) == before
    np.testing.assert_array_equal(again.of[3], first.of[1])


@pytest.mark.parametrize("name", ["{0}", "{}", "a{b", "%s", "  ", "ß" * 500])
def test_names_with_braces_or_nothing_in_them_are_names(name):
    prompts = prompts_of(kind(1, name, "{x} and {}"))
    assert len(prompts) == len(set(prompts)) == len(TEMPLATES) + 3 and " ".join(name.split()) in prompts[0]

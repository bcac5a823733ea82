"""Evidence: which matches are shown, in what order, and what is said about them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from fixtures_pipeline import classes, embeddings, fit, pipeline, queries, sha, support_set
from hypothesis import given, settings
from hypothesis import strategies as st

from core.pipeline import Pipeline
from core.ports import ReasonRequest
from core.reasoners import create_reasoner
from core.reasoners.evidence import create
from core.scoring_basis import normalise
from core.settings import RECIPES, PipelineSettings
from core.types import Answer, Box, Calibrated, ClassScore, Embeddings, Evidence, Status


@settings(max_examples=25, deadline=None)
@given(
    recipe=st.sampled_from(RECIPES),
    count=st.integers(2, 5),
    per_class=st.integers(1, 6),
    seed=st.integers(0, 999),
)
def test_evidence_is_numbered_from_one_flag_first_and_within_its_bounds(recipe, count, per_class, seed):
    labels = [c for c in range(count) for _ in range(3)]
    p = pipeline(recipe, max_patches_per_class=per_class)
    fitted = fit(p, support_set(labels), embeddings(seed, labels))
    (prediction,) = p.predict(fitted, queries(1), embeddings(seed + 1, [0]))
    evidence = prediction.evidence
    assert [e.number for e in evidence] == list(range(1, len(evidence) + 1))
    ranked = [s.class_id for s in sorted(prediction.scores, key=lambda s: -s.logit)]
    assert list(dict.fromkeys(e.class_id for e in evidence)) == ranked  # every class, in order of its score
    member = dict(zip(fitted.images, fitted.y, strict=True))
    for class_id in ranked:
        own = [e for e in evidence if e.class_id == class_id]
        assert 1 <= len(own) <= per_class
        assert len({tuple(e.query_box.as_list()) for e in own}) == len(own)  # no corner twice
        towards = [e.contribution if class_id == prediction.flag else -e.contribution for e in own]
        assert towards == sorted(towards, reverse=True)
        for e in own:
            assert fitted.class_ids[member[e.support_image]] == class_id
            assert -1.001 <= e.similarity <= 1.001
            assert e.support_box.right <= 300 and e.support_box.bottom <= 200
            assert e.query_box.right <= 640 and e.query_box.bottom <= 480


def test_the_place_that_decides_is_shown_and_the_common_background_is_not():
    """Every image shares all patches but one. The one that differs sits at row 1, column 2 of the query, where
    the match is less alike than the background, which both classes match perfectly, and still decides."""
    r = np.random.default_rng(0)
    background = r.standard_normal((2, 3, 12))
    marks = r.standard_normal((2, 12)) * 3
    patches = np.stack([background + 0.001 * r.standard_normal((2, 3, 12)) for _ in range(7)])
    places = [(0, (0, 0)), (0, (0, 1)), (0, (1, 1)), (1, (0, 0)), (1, (1, 0)), (1, (0, 2))]
    for image, (c, place) in enumerate(places):
        patches[(image, *place)] = marks[c]
    patches[6, 1, 2] = marks[1] + 2 * r.standard_normal(12)
    e = Embeddings(normalise(patches), normalise(np.ones((7, 4)) + 0.01 * r.standard_normal((7, 4))))
    p = pipeline("patch", max_patches_per_class=1)
    fitted = fit(p, support_set([0, 0, 0, 1, 1, 1]), e[:6])
    (prediction,) = p.predict(fitted, queries(1), e[6:])
    assert prediction.flag == 11
    first = prediction.evidence[0]
    assert first.query_box == Box(426, 240, 640, 480)
    assert 0.3 < first.similarity < 0.97
    assert int(np.argmax(prediction.contributions.values)) == 5
    marked = {
        sha("support 3"): Box(0, 0, 100, 100),
        sha("support 4"): Box(0, 100, 100, 200),
        sha("support 5"): Box(200, 0, 300, 100),
    }
    assert first.support_box == marked[first.support_image]


def test_evidence_is_spread_over_support_images():
    labels = [0, 0, 0, 0, 1, 1, 1, 1]
    p = pipeline(max_patches_per_class=4)
    fitted = fit(p, support_set(labels), embeddings(1, labels, grid=(5, 5), signal=2.0))
    (prediction,) = p.predict(fitted, queries(1), embeddings(2, [0], grid=(5, 5), signal=2.0))
    own = [e.support_image for e in prediction.evidence if e.class_id == prediction.flag]
    assert len(own) == 4 and len(set(own)) >= 3


# --------------------------------------------------------------------------- reasoners that differ from the scores
class Stubborn:
    id = "stubborn"

    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def reason(self, request: ReasonRequest) -> Answer:
        return self.answer


def predicted_by(answer: Answer):
    labels = [0, 0, 1, 1, 2, 2]
    p = Pipeline(Stubborn(answer), PipelineSettings())
    fitted = fit(p, support_set(labels), embeddings(1, labels, signal=3.0))
    (prediction,) = p.predict(fitted, queries(1), embeddings(2, [0], signal=3.0))
    return prediction


def test_a_reasoner_that_disagrees_with_the_scores_is_told_for_its_own_flag():
    prediction = predicted_by(Answer(12, "because of E1", (1,)))
    logits = {s.class_id: s.logit for s in prediction.scores}
    assert (prediction.flag, prediction.runner_up, prediction.best.class_id) == (12, 10, 10)
    c = prediction.contributions
    assert (c.flag, c.against) == (12, 10)
    assert sum(c.values) + c.whole + c.constant == pytest.approx(logits[12] - logits[10], abs=1e-4)
    assert prediction.evidence[0].class_id == 10  # E1 is still what the reasoner cited
    assert prediction.evidence[0].contribution < 0


def test_an_abstaining_reasoner_leaves_no_flag_but_all_scores():
    prediction = predicted_by(Answer(None, "cannot tell"))
    assert prediction.flag is None and prediction.status is Status.OK
    assert len(prediction.scores) == 3 and prediction.contributions is not None


def test_a_failed_reasoner_is_never_turned_into_a_flag():
    prediction = predicted_by(Answer(None, "", status=Status.FAILED, reason="The server is away."))
    assert prediction.flag is None and prediction.status is Status.FAILED
    assert prediction.reason == "The server is away." and len(prediction.scores) == 3


# --------------------------------------------------------------------------- the sentences
def request(scores, evidence=(), *, calibrated=Calibrated.LEAVE_ONE_OUT, count=2) -> ReasonRequest:
    return ReasonRequest(queries(1)[0], classes(count), tuple(scores), tuple(evidence), {sha("s"): "s.png"}, calibrated)


def score(class_id, p, **more) -> ClassScore:
    return ClassScore(class_id, p, float(np.log(p)), **more)


def match(number, class_id, contribution, box=(0, 0, 90, 60), similarity=0.74) -> Evidence:
    return Evidence(number, class_id, similarity, contribution, Box(*box), sha("s"), Box(0, 0, 10, 10), 1)


reasoner = create(PipelineSettings())


def test_the_explanation_of_a_clear_case():
    evidence = [match(1, 10, 0.03), match(2, 10, 0.02, (280, 200, 360, 280)), match(3, 11, -0.02, (550, 400, 640, 480))]
    answer = reasoner.reason(request([score(10, 0.81), score(11, 0.19)], evidence))
    assert answer.flag == 10
    assert answer.cited_evidence == (1, 2, 3)
    assert answer.explanation == (
        "class 0, 0.81 against 0.19 for class 1 (calibrated by leaving out each support image in turn). "
        "The strongest matches are E1 (upper left, 0.74 alike to s.png) and E2 (centre, 0.74 alike to s.png). "
        "For class 1 speaks most E3 (lower right, 0.74 alike to s.png). No vision-language model was used."
    )


def test_a_tiny_margin_is_called_too_close_and_flags_all_the_same():
    answer = reasoner.reason(request([score(10, 0.49), score(11, 0.51)]))
    assert answer.flag == 11 and answer.explanation.startswith("Too close to call: class 1, 0.51")


def test_it_says_when_the_two_halves_point_to_different_classes():
    scores = [score(10, 0.6, patch=-0.9, whole=-0.1), score(11, 0.4, patch=-0.2, whole=-2.0)]
    assert "the image as a whole point to different classes" in reasoner.reason(request(scores)).explanation
    agree = [score(10, 0.6, patch=-0.1, whole=-0.1), score(11, 0.4, patch=-0.2, whole=-2.0)]
    assert "different classes" not in reasoner.reason(request(agree)).explanation


@pytest.mark.parametrize(
    ("calibrated", "words"),
    [
        (Calibrated.NOT, "not calibrated"),
        (Calibrated.LABELS, "human labels"),
        (Calibrated.LEAVE_ONE_OUT, "leaving out"),
    ],
)
def test_it_says_what_the_probability_rests_on(calibrated, words):
    assert words in reasoner.reason(request([score(10, 0.9), score(11, 0.1)], calibrated=calibrated)).explanation


def test_weak_matches_are_called_weak():
    answer = reasoner.reason(request([score(10, 0.9), score(11, 0.1)], [match(1, 10, 0.01, similarity=0.12)]))
    assert "not much alike" in answer.explanation


def test_without_scores_there_is_no_suggestion_and_a_reason():
    answer = reasoner.reason(request([]))
    assert answer.flag is None and answer.status is Status.NO_SUGGESTION and answer.reason


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_cited_number_is_evidence_and_every_number_in_the_text_is_cited(recipe):
    labels = [c for c in range(4) for _ in range(3)]
    p = pipeline(recipe)
    fitted = fit(p, support_set(labels), embeddings(1, labels))
    for prediction in p.predict(fitted, queries(8), embeddings(2, [0, 1, 2, 3] * 2)):
        named = {int(n) for n in re.findall(r"\bE(\d+)\b", prediction.explanation)}
        assert named == set(prediction.cited_evidence)
        assert named <= {e.number for e in prediction.evidence}
        assert prediction.reasoner == "evidence (no vision-language model)"
        assert create_reasoner("evidence", PipelineSettings()).id == prediction.reasoner

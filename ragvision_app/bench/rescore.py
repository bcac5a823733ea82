"""A queue of 10,000 scored again after one support image came, against scored from nothing."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Iterator

import numpy as np

from core.pipeline import Pipeline
from core.reasoners import create_reasoner
from core.rescoring import Rescorer
from core.scoring import FittedSupport, Scores
from core.scoring_basis import Basis
from core.settings import PipelineSettings
from core.types import ClassRecord, Embeddings, SupportSet
from ragvision_app.bench._clock import seconds
from ragvision_app.bench._row import Figure, Row, RowFailed, Scale, at_least
from ragvision_app.bench._vectors import unit_vectors

WHAT = "re-score a queue"
SHAPE = (7, 7, 320)  # patches of one image by the default encoder
WHOLE = 1280
PART = 250  # images made up at once: the raw patches of 10,000 would fill 630 MB
CLASSES = (ClassRecord(1, "functional", "1", "#0072B2"), ClassRecord(2, "defective", "2", "#D55E00"))


class _Support:
    """Support sets drawn from one pool of made-up images, in one basis."""

    def __init__(self, pipeline: Pipeline, images: int) -> None:
        self._pipeline = pipeline
        self._pool = Embeddings(unit_vectors(1, images, *SHAPE), unit_vectors(2, images, WHOLE))
        self._keys = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(images)]
        self._basis: Basis | None = None

    def fit(self, members: list[int]) -> FittedSupport:
        """The set of those members; the first one's basis stays."""
        keys = tuple(self._keys[i] for i in members)
        version = hashlib.sha256("".join(keys).encode()).hexdigest()[:16]
        support = SupportSet(keys, tuple(CLASSES[i % 2].id for i in members), CLASSES, version)
        fitted = self._pipeline.fit(
            support,
            self._pool[np.array(members)],
            support_sizes=dict.fromkeys(keys, (300, 300)),
            support_names=dict.fromkeys(keys, "example"),
            encoder_id="made-up",
            basis=self._basis,
        )
        self._basis = fitted.basis
        return fitted


def measure(scale: Scale) -> Row:
    """Removing and adding in turn; both ways give the same probabilities."""
    queries, per_class, n = scale.pick(20, 10_000), scale.pick(3, 50), scale.pick(1, 3)
    settings = PipelineSettings()
    pipeline = Pipeline(create_reasoner(settings.reasoner, settings), settings)
    support = _Support(pipeline, 2 * per_class + 1)
    everything = list(range(2 * per_class + 1))

    def queue() -> Iterator[Embeddings]:
        for start in range(0, queries, PART):
            size = min(PART, queries - start)
            yield Embeddings(unit_vectors(start + 3, size, *SHAPE), unit_vectors(start + 4, size, WHOLE))

    rescorer = Rescorer(pipeline, support.fit(everything[:-1]), queue())
    fast: dict[str, list[float]] = {"one added": [], "one removed": []}
    slow = []
    for turn in range(n + 1):
        for change, members in (("one added", everything), ("one removed", everything[:-1])):
            fitted = support.fit(members)
            got: list[Scores] = []
            spent = seconds(lambda fitted=fitted, got=got: got.append(rescorer.update(fitted)))  # type: ignore[misc]
            if turn or scale is Scale.TINY:
                fast[change].append(spent)
        if turn or scale is Scale.TINY:
            spent, anew = from_nothing(pipeline, fitted, queue())
            slow.append(spent)
            if not np.allclose(got[0].probabilities, anew, atol=1e-5):
                raise RowFailed("Re-scoring and scoring from nothing gave different probabilities.")
    ours = max(statistics.median(times) for times in fast.values())
    theirs = statistics.median(slow)
    return Row(
        what=f"{WHAT} of {queries:,} after one of {2 * per_class} support images changed",
        ours=Figure("from the matches kept: the slower of one added and one removed", ours * 1000),
        against=Figure("every query matched with every support patch", theirs * 1000),
        ratio=theirs / ours,
        n=n,
        checks=(at_least("faster", theirs / ours, 20, "×"),),
        facts={f"{change}, ms": statistics.median(times) * 1000 for change, times in fast.items()},
        note="Random unit vectors of the default encoder's shapes: 49 patches of 320 and 1,280 for the whole image.",
    )


def from_nothing(
    pipeline: Pipeline, fitted: FittedSupport, queue: Iterator[Embeddings]
) -> tuple[float, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    """Seconds of scoring alone (making the queries up is not counted), and the probabilities."""
    spent, found = 0.0, []
    for part in queue:
        spent += seconds(lambda part=part: found.append(pipeline.score_only(fitted, part).probabilities))  # type: ignore[misc]
    return spent, np.concatenate(found)

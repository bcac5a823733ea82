"""The scores of a queue kept standing, so that a changed support image re-scores all of it at once.

A :class:`core.rescoring.Rescorer` is built while nobody waits, and updated when the support set changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from core.engine import Engine
from core.rescoring import Rescorer
from core.scoring import FittedSupport, Scores
from core.types import Embeddings

FEWEST = 200  # smaller queues are scored anew as fast
BUDGET_BYTES = 400_000_000
_PART = 256


class StandingScores:
    """Of the images whose embeddings were cached when it was built, under one engine and one basis."""

    def __init__(self, engine: Engine, fitted: FittedSupport, images: Sequence[str]) -> None:
        self._engine = engine
        self._basis, self._no_text = fitted.basis.id, fitted.text is None
        self._rows = {image: row for row, image in enumerate(images)}
        self._rescorer = Rescorer(engine.pipeline, fitted, self._parts(images))

    def _parts(self, images: Sequence[str]) -> Iterator[Embeddings]:
        for start in range(0, len(images), _PART):
            yield self._engine.cached_embeddings(images[start : start + _PART])

    @staticmethod
    def worth_it(images: int, classes: int) -> bool:
        """Whether a queue of that size gains by it and fits the budget (see Rescorer on its memory).

        ``classes`` are those with images: without any there is nothing to match.
        """
        return classes > 0 and images >= FEWEST and images * (25_000 + 3_500 * classes) <= BUDGET_BYTES

    def serves(self, engine: Engine, fitted: FittedSupport) -> bool:
        """Whether :meth:`update` can be asked for these."""
        return engine is self._engine and fitted.basis.id == self._basis and (fitted.text is None) == self._no_text

    def covers(self, images: Sequence[str]) -> bool:
        """Whether nine in ten of ``images`` are in it."""
        return sum(image in self._rows for image in images) >= 0.9 * len(images)

    def update(self, fitted: FittedSupport) -> tuple[dict[str, int], Scores]:
        """(image → row, scores) under the changed support set, exactly as a scoring from nothing gives them."""
        return self._rows, self._rescorer.update(fitted)

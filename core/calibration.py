"""Temperatures by leave-one-out, and what leave-one-out says about each recipe.

Plain temperature scaling is overconfident on a handful of images, so the targets are smoothed by
C / (n + C): with few images even a perfect separation gives careful probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

_COARSE = np.logspace(-4, 2, 121)
_FINE = np.logspace(-0.05, 0.05, 11)  # around the best coarse value


@dataclass(frozen=True, slots=True)
class Temperatures:
    """T₁ (whole half), T₂ (patch half), the vote's, and of each recipe the last one and the weight of the text prior.

    The defaults serve where leave-one-out is impossible; they are typical of fitted ones.
    """

    whole: float = 0.5
    patch: float = 0.05
    vote: float = 0.2
    last: Mapping[str, float] | None = None
    text: Mapping[str, float] | None = None

    def of(self, recipe: str) -> float:
        """The last temperature of a recipe; 1 where none was fitted."""
        return 1.0 if self.last is None else self.last.get(recipe, 1.0)

    def text_weight(self, recipe: str) -> float:
        """w of a recipe; 0 where there is no text prior."""
        return 0.0 if self.text is None else self.text.get(recipe, 0.0)


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """One recipe on the support set itself, each image scored as if it were not there.

    One image of every other class is left out with it, so that no class is shorter than the rest.

    ``probabilities`` maps the sha256 of each support image that could be left out to its class
    probabilities (order of ``class_ids``). Images that are their class's only example are missing.
    The basis is kept fixed, and temperatures are fitted on these same rows: slightly optimistic.
    ``text_weight`` is how much the class names count beside the images, None where the encoder reads no text.
    """

    recipe: str
    rows: int
    accuracy: float
    balanced_accuracy: float
    log_loss: float
    class_ids: tuple[int, ...]
    probabilities: Mapping[str, tuple[float, ...]]
    text_weight: float | None = None


def log_softmax(x: NDArray[Any]) -> Float64:
    """Along the last axis, float64."""
    shifted = x.astype(np.float64) - x.max(axis=-1, keepdims=True)
    result: Float64 = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def smoothed_nll(scores: Float64, y: NDArray[np.int64], temperature: float) -> float:
    """Mean cross-entropy of softmax(scores / T) (n, C) against y (n,) smoothed by C / (n + C)."""
    n, classes = scores.shape
    share = classes / (n + classes)
    logp = log_softmax(scores / temperature)
    return float(-((1 - share) * logp[np.arange(n), y] + share * logp.mean(axis=1)).mean())


def fit_temperature(scores: Float64, y: NDArray[np.int64], default: float) -> float:
    """The temperature with the lowest smoothed NLL; ``default`` where no row tells one from another."""
    if len(scores) == 0 or np.ptp(scores, axis=1).max(initial=0.0) < 1e-12:
        return default
    coarse = _COARSE[int(np.argmin([smoothed_nll(scores, y, t) for t in _COARSE]))]
    fine = coarse * _FINE
    return float(fine[int(np.argmin([smoothed_nll(scores, y, t) for t in fine]))])


def balanced_accuracy(predicted: NDArray[np.int64], y: NDArray[np.int64]) -> float:
    """Mean over the classes that occur in ``y`` of the share recognised; nan for no rows."""
    shares = [float((predicted[y == c] == c).mean()) for c in np.unique(y)]
    return float(np.mean(shares)) if shares else float("nan")


def summarise(
    recipe: str, logits: Float64, y: NDArray[np.int64], images: list[str], class_ids: tuple[int, ...]
) -> LeaveOneOut:
    """Leave-one-out logits (n, C) with the classes y (n,) and images (n,) of their rows → the numbers."""
    if not len(y):
        nan = float("nan")
        return LeaveOneOut(recipe, 0, nan, nan, nan, class_ids, {})
    logp = log_softmax(logits)
    predicted = logits.argmax(axis=1)
    rows = {image: tuple(map(float, p)) for image, p in zip(images, np.exp(logp), strict=True)}
    return LeaveOneOut(
        recipe=recipe,
        rows=len(y),
        accuracy=float((predicted == y).mean()),
        balanced_accuracy=balanced_accuracy(predicted, y),
        log_loss=float(-logp[np.arange(len(y)), y].mean()),
        class_ids=class_ids,
        probabilities=rows,
    )

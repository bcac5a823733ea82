"""The heatmap: contributions by query position, signed, on one scale for the whole queue.

Positive speaks for the flag, negative for the runner-up, zero is neutral. The scale comes from the support
set (each image left out), not from the image on screen: a faint map means that little speaks either way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.calibration import Temperatures
from core.patches import Grid
from core.scoring import combine, weights
from core.scoring_patch import Matches
from core.settings import RECIPES
from core.types import Contributions

Float64 = NDArray[np.float64]

_DEFAULT_TOTAL = 6.0  # a typical difference of logits, spread over the positions, where nothing was fitted
_QUANTILE = 0.9  # of the images' strongest positions: one image in ten is drawn saturated somewhere
_PEAK = 3.0  # the strongest position of a head map, in multiples of the mean share (measured on real images)


@dataclass(frozen=True, slots=True)
class Heatmap:
    """Row-major signed values of a (rows, columns) grid; ±scale is drawn at full strength."""

    grid: Grid
    values: tuple[float, ...]
    scale: float

    def strengths(self) -> Float64:
        """(rows, columns) in −1 … 1, clipped at the scale."""
        clipped: Float64 = np.clip(np.array(self.values).reshape(self.grid) / self.scale, -1.0, 1.0)
        return clipped


def heatmap(contributions: Contributions, scale: float) -> Heatmap:
    """Contributions and the fitted ``heat_scale`` of their recipe → the map."""
    return Heatmap(contributions.grid, contributions.values, scale)


def default_scales(patches: int) -> dict[str, float]:
    """Recipe → scale, where no image can be left out."""
    return dict.fromkeys(RECIPES, _DEFAULT_TOTAL / patches)


def fit_scales(
    t: Temperatures, matches: Matches, ridge: Float64, usable: NDArray[np.bool_], text: Float64 | None = None
) -> dict[str, float]:
    """Recipe → scale, from the support images left out one by one (only the ``usable`` rows)."""
    patches = matches.rows.shape[1]
    if not usable.any():
        return default_scales(patches)
    said = None if text is None else text[usable]
    picked, ridge = Matches(matches.similarities[usable], matches.rows[usable]), ridge[usable]
    nearest, votes = picked.per_class(), picked.votes().sum(axis=-1).astype(np.float64)  # (n, P, C)
    rows = np.arange(len(ridge))
    scales = {}
    for recipe in RECIPES:
        w = weights(recipe, t)
        order = np.argsort(-combine(recipe, t, picked, ridge, said).logits, axis=1, kind="stable")
        flag, against = order[:, 0], order[:, 1]
        local = w.patch / patches * (nearest[rows, :, flag] - nearest[rows, :, against])
        ballots = np.maximum(1.0, votes.sum(axis=(1, 2)))[:, None]
        local = local + w.vote / ballots * (votes[rows, :, flag] - votes[rows, :, against])
        share = w.whole / patches * np.abs(ridge[rows, flag] - ridge[rows, against])
        peaks = np.abs(local).max(axis=1) + _PEAK * share
        scales[recipe] = max(float(np.quantile(peaks, _QUANTILE)), 1e-6)
    return scales

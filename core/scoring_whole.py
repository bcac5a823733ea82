"""The whole half: kernel ridge regression on centred whole-image embeddings, in closed form.

K = G̃G̃ᵀ + 1, A = (K + ℓI)⁻¹, α = AY with Y = ±1 one class against the rest. Leaving the images D out gives
Y_D − A_DD⁻¹ α_D for them, exactly what a refit without them would give. All in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.calibration import fit_temperature, smoothed_nll
from core.types import IntArray

Float64 = NDArray[np.float64]

PENALTIES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
DEFAULT_PENALTY = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class WholeHalf:
    """g̃ (n, g) of the support images, α (n, C), the leave-one-out scores (n, C) and the chosen ℓ."""

    centred: Float64
    alpha: Float64
    loo: Float64
    penalty: float

    def scores(self, centred: Float64) -> Float64:
        """Centred queries (m, g) → ridge outputs (m, C)."""
        result: Float64 = centred @ (self.centred.T @ self.alpha) + self.alpha.sum(axis=0)
        return result


def targets(y: IntArray, classes: int) -> Float64:
    """(n, C): +1 for the own class, −1 for the rest."""
    result = np.full((len(y), classes), -1.0)
    result[np.arange(len(y)), y] = 1.0
    return result


def solve(kernel: Float64, y: IntArray, classes: int, penalty: float, left: IntArray) -> tuple[Float64, Float64]:
    """K (n, n) → α (n, C), and for each image the outputs (n, C) of a refit without it and its companions.

    ``left`` (n, C) as :func:`core.scoring_patch.companions` gives it: −1 where a class leaves none out.
    """
    inverse = np.linalg.inv(kernel + penalty * np.eye(len(y)))
    expected = targets(y, classes)
    alpha = inverse @ expected
    loo = np.empty_like(alpha)
    for pattern in np.unique(left >= 0, axis=0):  # one pattern but for classes with a single image
        rows = np.flatnonzero(((left >= 0) == pattern).all(axis=1))
        d = left[rows][:, pattern]  # (rows, |D|)
        refit = expected[d] - np.linalg.solve(inverse[d[:, :, None], d[:, None, :]], alpha[d])
        loo[rows] = refit[d == rows[:, None]]
    return alpha, loo


def fit_whole(centred: Float64, y: IntArray, classes: int, usable: NDArray[np.bool_], left: IntArray) -> WholeHalf:
    """ℓ is the one with the lowest leave-one-out NLL on the ``usable`` rows (n,), the default if there are none."""
    kernel = centred @ centred.T + 1.0
    best: tuple[float, WholeHalf] | None = None
    for penalty in PENALTIES if usable.any() else (DEFAULT_PENALTY,):
        alpha, loo = solve(kernel, y, classes, penalty, left)
        nll = 0.0
        if usable.any():
            nll = smoothed_nll(loo[usable], y[usable], fit_temperature(loo[usable], y[usable], 1.0))
        if best is None or nll < best[0]:
            best = (nll, WholeHalf(centred, alpha, loo, penalty))
    assert best is not None  # PENALTIES is not empty
    return best[1]

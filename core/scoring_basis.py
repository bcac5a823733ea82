"""The basis in which patches and whole images are compared, fitted on a support set and then kept.

It stays while support images come and go, so that a change costs one image and not the whole queue.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.types import Float32

Float64 = NDArray[np.float64]
_FIELDS = ("mean", "axes", "eigenvalues", "whole_mean", "shrinkage")


def normalise(x: NDArray[Any]) -> Float32:
    """n̂: L2 along the last axis, float32; a zero vector stays zero (never NaN)."""
    norm = np.sqrt(np.einsum("...d,...d->...", x, x, dtype=np.float64))[..., None]
    result = np.zeros(x.shape, np.float64)
    np.divide(x, norm, out=result, where=norm > 1e-12)
    return result.astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Basis:
    """μ (d,), V (d, m), λ (m,), ḡ (g,), float32, and the share of λ̄ added when whitening."""

    mean: Float32
    axes: Float32
    eigenvalues: Float32
    whole_mean: Float32
    shrinkage: float

    @classmethod
    def fit(cls, patches: Float32, whole: Float32, *, pca_axes: int, shrinkage: float) -> Basis:
        """patches (n, …, d) and whole (n, g) of the support images → the basis.

        Keeps at most ``pca_axes`` axes, and none beyond the rank of the data.
        """
        d = patches.shape[-1]
        x = patches.reshape(-1, d).astype(np.float64)
        mean = x.mean(axis=0)
        centred = x - mean
        values, vectors = np.linalg.eigh(centred.T @ centred / len(x))  # ascending
        values, vectors = values[::-1], vectors[:, ::-1]
        rank = int(np.count_nonzero(values > 1e-9 * max(float(values[0]), 1e-12)))
        kept = max(1, min(pca_axes, rank))
        axes = vectors[:, :kept]
        # The sign of an eigenvector is arbitrary: the largest entry is made positive, so that ids repeat.
        axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(kept)])
        return cls(
            mean.astype(np.float32),
            axes.astype(np.float32),
            np.clip(values[:kept], 0, None).astype(np.float32),
            whole.astype(np.float64).mean(axis=0).astype(np.float32),
            float(shrinkage),
        )

    @classmethod
    def none(cls) -> Basis:
        """Of no images: where class names are all that there is."""
        nothing = np.zeros(0, np.float32)
        return cls(nothing, np.zeros((0, 0), np.float32), nothing, nothing, 0.0)

    def project(self, patches: Float32) -> Float32:
        """(…, d) → (…, m): z = n̂((x − μ)V / √(λ + s·λ̄)), L2-normalised."""
        scale = np.sqrt(self.eigenvalues + self.shrinkage * self.eigenvalues.mean())
        whitening = np.divide(self.axes, scale, out=np.zeros_like(self.axes), where=scale > 1e-12)
        offset = self.mean @ whitening
        z = patches.reshape(-1, patches.shape[-1]) @ whitening - offset  # (rows, m)
        return normalise(z).reshape(*patches.shape[:-1], -1)

    def centre(self, whole: NDArray[Any]) -> tuple[Float64, Float64]:
        """(n, g) → g̃ = n̂(g − ḡ) in float64, and b = ‖g − ḡ‖ (n,), where b = 0 gives g̃ = 0."""
        difference = whole.astype(np.float64) - self.whole_mean
        b = np.sqrt((difference**2).sum(axis=-1))
        return np.divide(difference, b[:, None], out=np.zeros_like(difference), where=b[:, None] > 1e-9), b

    @property
    def id(self) -> str:
        """16 hex digits of the content: equal bases have equal ids."""
        digest = hashlib.sha256(repr(self.shrinkage).encode())
        for array in (self.mean, self.axes, self.eigenvalues, self.whole_mean):
            digest.update(str(array.shape).encode() + np.ascontiguousarray(array, "<f4").tobytes())
        return digest.hexdigest()[:16]

    def to_bytes(self) -> bytes:
        """An .npz archive without pickles."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            mean=self.mean,
            axes=self.axes,
            eigenvalues=self.eigenvalues,
            whole_mean=self.whole_mean,
            shrinkage=np.float64(self.shrinkage),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, blob: bytes) -> Basis:
        """The inverse of :meth:`to_bytes`; InvalidInput for anything else."""
        try:
            with np.load(io.BytesIO(blob), allow_pickle=False) as archive:
                values = {name: archive[name] for name in _FIELDS}
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise InvalidInput("The stored basis is damaged. Fit a new one from the support images.") from error
        shrinkage = float(values.pop("shrinkage"))
        return cls(**{name: np.asarray(value, np.float32) for name, value in values.items()}, shrinkage=shrinkage)

"""From a support set's embeddings to class scores: the four recipes and their leave-one-out.

ensemble  z_c = (½ log softmax(ridge / T₁)_c + ½ log softmax(S / T₂)_c) / T₃
patch     z_c = log softmax(S / T₂)_c / T₃          whole   z_c = log softmax(ridge / T₁)_c / T₃
vote      z_c = log softmax(votes / T_v)_c / T₃     the baseline: k nearest patches over all classes

Where the encoder reads text, w · log p_text(c) is added before T₃, and classes without images are scored by it
alone: with K the classes that have images, z_c = log p_text(K) + log softmax_K(z)_c in K, and log p_text(c) beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.calibration import LeaveOneOut, Temperatures, fit_temperature, log_softmax, summarise
from core.patches import Grid
from core.ports import Index
from core.scoring_basis import Basis
from core.scoring_patch import Matches, PatchHalf, companions
from core.scoring_text import TextPrior, choose_weight, within
from core.scoring_whole import WholeHalf, fit_whole
from core.settings import RECIPES
from core.types import Calibrated, ClassRecord, Embeddings, IntArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FittedSupport:
    """A support set ready to score queries. Images are sorted by class, then sha256.

    ``classes`` are those that have images (the columns of both halves), ``without_images`` the rest, which only
    ``text`` can score. Where fewer than two classes have images there is only text: no images, all classes without.
    ``heat_scale`` is, by recipe, the contribution at which a heatmap is drawn at full strength.
    """

    version: str
    encoder_id: str
    classes: tuple[ClassRecord, ...]
    without_images: tuple[ClassRecord, ...]
    images: tuple[str, ...]
    names: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    y: IntArray
    grid: Grid
    basis: Basis
    patch: PatchHalf
    whole: WholeHalf
    temperatures: Temperatures
    calibrated: Calibrated
    leave_one_out: Mapping[str, LeaveOneOut]
    heat_scale: Mapping[str, float]
    text: TextPrior | None = None

    @property
    def class_ids(self) -> tuple[int, ...]:
        """The ids behind the columns of every score; those of ``classes`` come first."""
        return tuple(c.id for c in (self.classes if self.text is None else self.classes + self.without_images))

    @property
    def told_by_images(self) -> tuple[int, ...]:
        """The ids of the classes that a human label can calibrate: those with images, all where there is only text."""
        return self.class_ids[: len(self.classes)] or self.class_ids

    def recalibrated(self, recipe: str, logits: Float64, class_ids: list[int]) -> FittedSupport:
        """The last temperature of ``recipe`` refitted on human labels outside the support set.

        ``logits`` (n, C) as :meth:`Pipeline.score_only` gave them with this object, ``class_ids`` (n,) the
        labels of their images. Labels of classes without support images are left out. Where there is only text its
        own temperature is refitted.
        """
        column = {class_id: c for c, class_id in enumerate(self.told_by_images)}
        keep = [row for row, class_id in enumerate(class_ids) if class_id in column]
        y = np.array([column[class_ids[row]] for row in keep], np.int64)
        logits = logits[:, : len(column)]  # among these their differences are those of z / T₃
        if not self.classes and self.text is not None:
            before = self.text.temperature
            text = replace(self.text, temperature=fit_temperature(logits[keep] * before, y, before))
            return replace(self, text=text, calibrated=Calibrated.LABELS)
        last = self.temperatures.of(recipe)
        fitted = fit_temperature(logits[keep] * last, y, last)
        temperatures = replace(self.temperatures, last={**(self.temperatures.last or {}), recipe: fitted})
        return replace(self, temperatures=temperatures, calibrated=Calibrated.LABELS)


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """(n, C) float64 each, calibrated log-probabilities of the halves and of the text, or None.

    ``patch`` and ``whole`` have columns for the classes with images alone, which come first.
    """

    logits: Float64
    probabilities: Float64
    patch: Float64 | None
    whole: Float64 | None
    text: Float64 | None = None


def combine(
    recipe: str, t: Temperatures, matches: Matches | None, ridge: Float64 | None, text: Float64 | None = None
) -> Scores:
    """The recipe's logits from what its halves gave; a half that the recipe lacks may be None.

    ``text`` (n, C) is log p_text, of the classes of the halves first; any more have no images.
    """
    if text is not None and matches is not None and matches.rows.shape[2] == 0:
        return Scores(text, np.exp(log_softmax(text)), None, None, text)
    patch = whole = None
    if recipe in ("ensemble", "patch") and matches is not None:
        patch = log_softmax(matches.scores() / t.patch)
    if recipe in ("ensemble", "whole") and ridge is not None:
        whole = log_softmax(ridge / t.whole)
    if recipe == "vote" and matches is not None:
        z = log_softmax(matches.vote_scores() / t.vote)
    elif patch is not None and whole is not None:
        z = 0.5 * whole + 0.5 * patch
    elif patch is not None:
        z = patch
    elif whole is not None:
        z = whole
    else:
        raise ValueError(f"recipe {recipe!r} lacks the half that it is made of")
    if text is None:
        logits = z / t.of(recipe)
        return Scores(logits, np.exp(log_softmax(logits)), patch, whole)
    count = z.shape[1]
    logits = (z + t.text_weight(recipe) * text[:, :count]) / t.of(recipe)
    if text.shape[1] > count:
        logits = np.concatenate([within(text, count) + log_softmax(logits), text[:, count:]], axis=1)
    return Scores(logits, np.exp(log_softmax(logits)), patch, whole, text)


def joined(parts: Sequence[Scores], classes: int) -> Scores:
    """The scores of parts of a queue as those of the whole; no parts give (0, classes)."""
    if not parts:
        empty = np.zeros((0, classes))
        return Scores(empty, empty, None, None)
    patch = [part.patch for part in parts if part.patch is not None]
    whole = [part.whole for part in parts if part.whole is not None]
    text = [part.text for part in parts if part.text is not None]
    return Scores(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate(patch) if patch else None,
        np.concatenate(whole) if whole else None,
        np.concatenate(text) if text else None,
    )


@dataclass(frozen=True, slots=True)
class Weights:
    """What one unit of S, of the ridge output and of the vote share adds to a recipe's logit."""

    patch: float
    whole: float
    vote: float


def weights(recipe: str, t: Temperatures) -> Weights:
    """The recipe as a linear form, up to a constant that is the same for every class."""
    last = t.of(recipe)
    half = 0.5 if recipe == "ensemble" else 1.0
    return Weights(
        patch=half / (t.patch * last) if recipe in ("ensemble", "patch") else 0.0,
        whole=half / (t.whole * last) if recipe in ("ensemble", "whole") else 0.0,
        vote=1.0 / (t.vote * last) if recipe == "vote" else 0.0,
    )


def whole_of(embeddings: Embeddings) -> NDArray[Any]:
    """g (n, g) before normalisation: the mean of the head map where there is one, else ``whole``.

    The map is preferred because contributions are made from it, and must add up to the score exactly.
    """
    if embeddings.whole_map is None:
        return embeddings.whole
    n, gh, gw, g = embeddings.whole_map.shape
    mean = embeddings.whole_map.reshape(n, gh * gw, g).mean(axis=1, dtype=np.float64)
    norm = np.sqrt((mean**2).sum(axis=1, keepdims=True))
    result: Float64 = np.divide(mean, norm, out=np.zeros_like(mean), where=norm > 1e-12)
    return result


def fit_scores(
    embeddings: Embeddings, y: IntArray, classes: int, *, basis: Basis, k: int, index: Index
) -> tuple[PatchHalf, WholeHalf, Temperatures, Calibrated, Matches, NDArray[np.bool_]]:
    """Support embeddings sorted by class y (n,) → halves, temperatures, leave-one-out matches and usable rows.

    A row is usable when its class has another image: only then can leaving it out be judged.
    """
    counts = np.bincount(y, minlength=classes)
    starts = tuple(int(s) for s in np.r_[0, np.cumsum(counts)])
    usable = counts[y] > 1
    z = basis.project(embeddings.patches.reshape(len(embeddings), -1, embeddings.patches.shape[-1]))
    patch = PatchHalf(z, starts, k, index)
    whole = fit_whole(basis.centre(whole_of(embeddings))[0], y, classes, usable, companions(starts))
    matches = patch.leave_one_out()
    if not usable.any():
        return patch, whole, Temperatures(), Calibrated.NOT, matches, usable
    rows, picked = y[usable], Matches(matches.similarities[usable], matches.rows[usable])
    default = Temperatures()
    t = Temperatures(
        whole=fit_temperature(whole.loo[usable], rows, default.whole),
        patch=fit_temperature(picked.scores(), rows, default.patch),
        vote=fit_temperature(picked.vote_scores(), rows, default.vote),
    )
    together = combine("ensemble", t, picked, whole.loo[usable])
    t = replace(t, last={"ensemble": fit_temperature(together.logits, rows, 1.0)})
    return patch, whole, t, Calibrated.LEAVE_ONE_OUT, matches, usable


def with_text(
    t: Temperatures, matches: Matches, ridge: Float64, text: Float64, y: IntArray, usable: NDArray[np.bool_]
) -> Temperatures:
    """Every recipe's weight of log p_text (n, C) and the last temperature that goes with it, by leave-one-out."""
    chosen: dict[str, tuple[float, float]] = {}
    picked = Matches(matches.similarities[usable], matches.rows[usable])
    for recipe in RECIPES:
        last = t.of(recipe)
        z = combine(recipe, t, picked, ridge[usable]).logits * last if usable.any() else np.zeros((0, ridge.shape[1]))
        chosen[recipe] = choose_weight(z, last, text[usable], y[usable])
    return replace(t, last={r: last for r, (_, last) in chosen.items()}, text={r: w for r, (w, _) in chosen.items()})


def leave_one_out(
    t: Temperatures,
    matches: Matches,
    ridge: Float64,
    y: IntArray,
    usable: NDArray[np.bool_],
    images: tuple[str, ...],
    class_ids: tuple[int, ...],
    text: Float64 | None = None,
) -> dict[str, LeaveOneOut]:
    """Every recipe's leave-one-out numbers, from the masked matches, the ridge's closed form and log p_text (n, C)."""
    kept = [image for image, ok in zip(images, usable, strict=True) if ok]
    picked = Matches(matches.similarities[usable], matches.rows[usable])
    result = {}
    for recipe in RECIPES:
        said = None if text is None else text[usable]
        logits = combine(recipe, t, picked, ridge[usable], said).logits if kept else np.zeros((0, len(class_ids)))
        weight = None if text is None else t.text_weight(recipe)
        result[recipe] = replace(summarise(recipe, logits, y[usable], kept, class_ids), text_weight=weight)
    return result

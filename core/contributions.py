"""What adds up, exactly, to the difference of two logits: by query position and by support image.

Both halves are linear in the query's positions once the query's own norms are fixed, and linear in the
support images. With ridge weights α, and scalars a = ‖mean_i h_i‖ and b = ‖g − ḡ‖ of this query:

    patch half   S_c      = mean_i mean_r cos(z_i, match r of class c)         each match is of one support image
    whole half   ridge_c  = Σ_i Σ_j α_jc ((h_i/a − ḡ)/(b·N)) · g̃_j + Σ_j α_jc

so z_c − z_c' = Σ_i Σ_j contribution(i, j) + constant, where the constant is the ridge's bias. ḡ is taken
off position by position, so that an average position weighs nothing and zero is neutral.

The text prior is an entry of its own, what it adds to the flag less what it adds to the other. A class without
images has no z to compare with: where one of the two has none, the other's is compared with the p-weighted mean of
all classes K that have some, for with u = (z + w log p_text) / T₃ and p = softmax_K(u), exactly

    log p_c = Σ_k p_k (u_c − u_k) − H(p)        H(p) = −Σ_k p_k log p_k, which joins the constant
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.calibration import log_softmax
from core.patches import Grid, regrid
from core.scoring import FittedSupport, Scores, weights, whole_of
from core.scoring_patch import Matches
from core.scoring_text import within
from core.types import Contributions, Embeddings

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """logit(flag) − logit(against) = cells.sum() + whole.sum() + text + constant.

    cells (P, n) by query position and support image; whole (n,) the part of a whole embedding that has no
    positions; pairs (P, C, k) what each retrieved pair of patches adds (its share of ``cells``).
    ``flag`` and ``against`` are columns, not ids.
    """

    flag: int
    against: int
    cells: Float64
    whole: Float64
    constant: float
    pairs: Float64
    text: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Sides:
    """The difference of two logits as a linear form: Σ_c coefficients_c · z_c / T₃ + text + constant.

    The coefficients (K,) of the classes with images sum to 0, so that what all classes have in common falls out.
    """

    coefficients: Float64
    text: float
    constant: float


def _sides(fitted: FittedSupport, recipe: str, scores: Scores, flag: int, against: int) -> _Sides:
    """For ONE query's scores (1, C)."""
    count, t = len(fitted.classes), fitted.temperatures
    coefficients, text, constant = np.zeros(count), 0.0, 0.0
    if flag < count and against < count:
        coefficients[flag] += 1.0
        coefficients[against] -= 1.0
    else:
        assert scores.text is not None  # what scores a class without images
        logp = log_softmax(scores.logits[0, :count]) if count else np.zeros(0)
        p = np.exp(logp)
        entropy = -float((p * logp)[p > 0].sum())
        inside = float(within(scores.text, count)[0, 0])
        for column, sign in ((flag, 1.0), (against, -1.0)):
            if column < count:
                coefficients -= sign * p
                coefficients[column] += sign
                text += sign * inside
                constant -= sign * entropy
            else:
                text += sign * float(scores.text[0, column])
    if scores.text is not None and count:
        text += t.text_weight(recipe) / t.of(recipe) * float(coefficients @ scores.text[0, :count])
    return _Sides(coefficients, text, constant)


def cells(
    fitted: FittedSupport,
    recipe: str,
    matches: Matches,
    embeddings: Embeddings,
    scores: Scores,
    flag: int,
    against: int,
) -> Cells:
    """For ONE query: its matches (1, P, C, k), its embeddings and scores of length 1, and two columns of the scores."""
    w, sides = weights(recipe, fitted.temperatures), _sides(fitted, recipe, scores, flag, against)
    patches, images = matches.rows.shape[1], len(fitted.images)
    pairs = np.zeros(matches.rows.shape[1:])
    total, whole, constant = np.zeros((patches, images)), np.zeros(images), sides.constant
    if not images:  # class names are all that there is
        return Cells(flag, against, total, whole, constant, pairs, sides.text)
    if w.patch or w.vote:
        pairs = _pairs(matches, w.patch, w.vote, sides.coefficients)
        columns = np.maximum(matches.rows[0], 0) // fitted.patch.z.shape[1]
        np.add.at(total, (np.arange(patches)[:, None, None], columns), pairs)
    if w.whole:
        change = w.whole * (fitted.whole.alpha @ sides.coefficients)  # (n,)
        constant += float(change.sum())
        if embeddings.whole_map is None:
            centred, _ = fitted.basis.centre(whole_of(embeddings))
            whole = (fitted.whole.centred @ centred[0]) * change
        else:
            total += _positions(fitted, embeddings, embeddings.grid) * change
    if not w.patch and not w.vote:
        pairs = _located(matches, total, fitted.patch.z.shape[1])
    return Cells(flag, against, total, whole, constant, pairs, sides.text)


def _pairs(matches: Matches, patch: float, vote: float, coefficients: Float64) -> Float64:
    """(P, C, k): + for the flag's matches, − for the other's, 0 for classes that are not compared."""
    found = matches.found[0]
    if vote:
        each = matches.votes()[0].astype(np.float64)
        each *= vote / max(1.0, each.sum())
    else:
        similarities = np.where(found, matches.similarities[0], 0).astype(np.float64)
        each = similarities * (patch / (len(found) * np.maximum(1, found.sum(axis=-1, keepdims=True))))
    signed: Float64 = each * coefficients[None, :, None]
    return signed


def _positions(fitted: FittedSupport, embeddings: Embeddings, grid: Grid) -> Float64:
    """(P, n): ((h_i/a − ḡ)/(b·N)) · g̃_j, carried from the head map's grid to the patches' grid."""
    assert embeddings.whole_map is not None
    rows, columns, g = embeddings.whole_map.shape[1:]
    h = embeddings.whole_map.reshape(rows * columns, g).astype(np.float64)
    a = float(np.sqrt((h.mean(axis=0) ** 2).sum()))
    b = float(fitted.basis.centre(whole_of(embeddings))[1][0])
    if b <= 1e-9:
        return np.zeros((grid[0] * grid[1], len(fitted.images)))
    scaled = h / a if a > 1e-12 else np.zeros_like(h)
    parts = (scaled - fitted.basis.whole_mean) @ fitted.whole.centred.T / (b * len(h))
    return regrid(parts, (rows, columns), grid)


def _located(matches: Matches, total: Float64, support_patches: int) -> Float64:
    """(P, C, k) for the whole half alone: (position, image) cells, given to the best match in that image."""
    rows = matches.rows[0]
    patches, classes, k = rows.shape
    images = np.where(rows >= 0, rows // support_patches, -1)
    result = np.zeros(rows.shape)
    for r in range(k):
        first = (images[..., :r] != images[..., r : r + 1]).all(axis=-1) & (images[..., r] >= 0)
        values = total[np.arange(patches)[:, None], np.maximum(images[..., r], 0)]
        result[..., r] = np.where(first, values, 0.0)
    return result.reshape(patches, classes, k)


def summarise(fitted: FittedSupport, part: Cells, grid: Grid) -> Contributions:
    """The two marginals of the cells, as the value that is stored and drawn."""
    by_support = part.cells.sum(axis=0) + part.whole
    return Contributions(
        flag=fitted.class_ids[part.flag],
        against=fitted.class_ids[part.against],
        grid=grid,
        values=tuple(float(v) for v in part.cells.sum(axis=1)),
        whole=float(part.whole.sum()),
        constant=part.constant,
        by_support={image: float(v) for image, v in zip(fitted.images, by_support, strict=True)},
        text=part.text,
    )

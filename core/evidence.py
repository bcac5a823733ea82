"""Which matches are shown: for each class the few pairs of patches that speak for it, numbered E1, E2 …

A match counts where it is more alike than anything the rival class offers at the same place; a patch of
background that every class matches equally decides nothing and is not shown. Those chosen are spread over
the query and over the support images, then ordered by their contribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.contributions import Cells
from core.patches import Grid, cell_box
from core.scoring import FittedSupport
from core.scoring_patch import Matches
from core.types import Evidence

_NEIGHBOUR, _SAME_IMAGE = 0.6, 0.6  # what a match keeps of its lead beside one already chosen


@dataclass(frozen=True, slots=True)
class Pick:
    """One chosen match: query position, column of the class, rank among that position's matches."""

    position: int
    column: int
    rank: int


def choose(
    matches: Matches,
    part: Cells,
    order: list[int],
    *,
    grid: Grid,
    support_patches: int,
    per_class: int,
) -> list[Pick]:
    """Matches of ONE query (1, P, C, k) → the picks, class after class as in ``order`` (columns with images).

    ``order`` begins with the best. A class gets at least one pick, and at most
    ``per_class``; none of two picks of a class shares its query position.
    """
    nearest = matches.per_class()[0]  # (P, C)
    picks: list[Pick] = []
    for column in order:
        rival = part.against if column == part.flag else part.flag
        if rival not in order:  # it has no images: the best of the others that have some
            rival = next(c for c in order if c != column)
        similarities = matches.similarities[0, :, column].astype(np.float64)
        lead = np.where(matches.found[0, :, column], similarities - nearest[:, rival : rival + 1], -np.inf)
        images = matches.rows[0, :, column] // support_patches
        chosen = [Pick(i, column, r) for i, r in _spread(lead, images, grid, per_class)]

        def weight(pick: Pick) -> tuple[float, float]:
            contribution = part.pairs[pick.position, pick.column, pick.rank]
            towards = -contribution if pick.column != part.flag else contribution
            return -towards, -float(matches.similarities[0, pick.position, pick.column, pick.rank])

        picks += sorted(chosen, key=weight)
    return picks


def _spread(lead: NDArray[np.float64], images: NDArray[np.int64], grid: Grid, most: int) -> list[tuple[int, int]]:
    """Greedy choice by ``lead`` (P, k), which shrinks beside what is chosen already."""
    columns = grid[1]
    lead = lead.copy()
    chosen: list[tuple[int, int]] = []
    while len(chosen) < most:
        position, rank = divmod(int(lead.argmax()), lead.shape[1])
        best = lead[position, rank]
        if not np.isfinite(best) or (chosen and best <= 0):
            break
        chosen.append((position, rank))
        others = np.arange(len(lead))
        near = (abs(others // columns - position // columns) <= 1) & (abs(others % columns - position % columns) <= 1)
        keep = np.where(near[:, None], _NEIGHBOUR, 1.0) * np.where(images == images[position, rank], _SAME_IMAGE, 1.0)
        lead = np.where(lead > 0, lead * keep, lead)
        lead[position] = -np.inf
    return chosen


def build(
    fitted: FittedSupport,
    matches: Matches,
    part: Cells,
    picks: list[Pick],
    *,
    grid: Grid,
    width: int,
    height: int,
) -> tuple[Evidence, ...]:
    """The picks of ONE query as numbered evidence with boxes in both original images."""
    support_patches = fitted.patch.z.shape[1]
    result = []
    for number, pick in enumerate(picks, start=1):
        image, patch = divmod(int(matches.rows[0, pick.position, pick.column, pick.rank]), support_patches)
        result.append(
            Evidence(
                number=number,
                class_id=fitted.class_ids[pick.column],
                similarity=float(matches.similarities[0, pick.position, pick.column, pick.rank]),
                contribution=float(part.pairs[pick.position, pick.column, pick.rank]),
                query_box=cell_box(pick.position, grid, width, height),
                support_image=fitted.images[image],
                support_box=cell_box(patch, fitted.grid, *fitted.sizes[image]),
                rank=pick.rank + 1,
            )
        )
    return tuple(result)

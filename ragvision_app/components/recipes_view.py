"""The four recipes as the Support page shows them: how each does on the user's own support set."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.settings import RECIPES

if TYPE_CHECKING:
    from core.calibration import LeaveOneOut

TITLES = {
    "ensemble": ("Ensemble", "patches and whole image together"),
    "patch": ("Patch", "local likeness alone; good on fine texture"),
    "whole": ("Whole", "the image as a whole alone"),
    "vote": ("Vote", "the nearest patches vote; the baseline"),
}


@dataclass(frozen=True, slots=True)
class RecipeCard:
    """One recipe. ``balanced`` None means: not computed (yet) for the support set in force."""

    name: str
    title: str
    about: str
    chosen: bool
    best: bool
    balanced: float | None
    right: int | None
    rows: int | None
    log_loss: float | None

    @property
    def figure(self) -> str:
        """``85 %``, or a dash."""
        return "–" if self.balanced is None else f"{self.balanced:.0%}".replace("%", " %")

    @property
    def detail(self) -> str:
        """``17 of 20 right``, or an empty string."""
        return "" if self.right is None else f"{self.right} of {self.rows} right"


def recipe_cards(results: Mapping[str, LeaveOneOut], chosen: str) -> list[RecipeCard]:
    """A card for every recipe, in their fixed order; ``best`` only where one is ahead of all others."""
    top = max((r.balanced_accuracy for r in results.values()), default=None)
    leaders = [name for name, r in results.items() if r.balanced_accuracy == top]
    cards = []
    for name in RECIPES:
        title, about = TITLES.get(name, (name, ""))
        result = results.get(name)
        cards.append(
            RecipeCard(
                name=name,
                title=title,
                about=about,
                chosen=name == chosen,
                best=leaders == [name],
                balanced=None if result is None else result.balanced_accuracy,
                right=None if result is None else round(result.accuracy * result.rows),
                rows=None if result is None else result.rows,
                log_loss=None if result is None else result.log_loss,
            )
        )
    return cards


def advice(cards: list[RecipeCard]) -> str:
    """One sentence on what the figures allow to be said; few images allow little."""
    counted = [c for c in cards if c.right is not None and c.rows]
    if not counted:
        return ""
    chosen = next((c for c in counted if c.chosen), None)
    best = max(counted, key=lambda c: c.right or 0)
    rows = counted[0].rows or 0
    more = (best.right or 0) - (chosen.right or 0 if chosen else 0)
    if chosen is None or more <= 0:
        return f"No recipe does better than the chosen one on these {rows} images."
    ahead = f"{best.title} is right on {more} more of the {rows} images than {chosen.title}"
    # Two recipes differ on about a quarter of the images, so two standard deviations are √rows.
    return f"{ahead}, which may well be chance." if more < math.sqrt(rows) else f"{ahead}: worth a try."


def names_sentence(results: Mapping[str, LeaveOneOut], chosen: str) -> str:
    """How much the class names count beside the images; empty where the encoder reads no text."""
    weight = results[chosen].text_weight if chosen in results else None
    if weight is None:
        return ""
    if weight == 0:
        return "Class names and descriptions get no weight: they do not help on these images."
    measured = "chosen by leave-one-out" if results[chosen].rows else "until images can be left out"
    return f"Class names and descriptions count with a weight of {weight:g} beside the images, {measured}."


def waiting_sentence(state: str, class_sizes: list[int]) -> str:
    """Why there are no figures: something is missing, or they are being computed."""
    filled = sum(1 for size in class_sizes if size)
    if filled < 2:
        return "The comparison starts once two classes have images."
    if max(class_sizes) < 2:
        return "The comparison needs a second image in at least one class: each image is judged from the others."
    if state == "failed":
        return "The last computation failed; the Runs page says why."
    return "Computing: every image is being judged from the others."

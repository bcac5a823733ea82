"""Colours of classes that stay apart for colour-blind eyes, on light and on dark."""

from __future__ import annotations

from typing import Final

PALETTE: Final = (
    # Okabe and Ito's, but for black and yellow, which vanish on dark and on light
    *("#e69f00", "#0072b2", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"),
    # Each the colour farthest (CIELAB) from all before it in the worst of four views: normal sight and
    # Machado's protanopia, deuteranopia and tritanopia; contrast at least 2:1 with white and with #0e1117.
    *("#8700f0", "#693c1e", "#4b4b5a", "#c3b469", "#9678ff", "#4b3cb4", "#960f87", "#e11e4b", "#963c00"),
    *("#87c3a5", "#ff4b78", "#b42d78", "#a5b4d2", "#7896f0", "#874bf0", "#5a784b", "#c3963c", "#5a0fc3"),
)
"""24 colours, given out in this order."""

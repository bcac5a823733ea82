"""Colours and the one Plotly template, equal for light and dark.

The class colours are the user's data and come from the store; these are the colours of everything else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

# What supports the flag and the runner-up, where the colours of the two classes are too alike: blue and
# orange stay apart with every common kind of colour blindness.
FOR = "#268bff"
AGAINST = "#ff8a14"
TOO_ALIKE = 110  # of 441, the distance of black and white
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a chart is drawn with on one of the two backgrounds."""

    text: str
    quiet: str
    line: str
    accent: str
    paper: str


LIGHT = Tokens(text="#1b1f27", quiet="#5c6370", line="#d9dce3", accent="#2456c8", paper="#ffffff")
DARK = Tokens(text="#e6e9ee", quiet="#a3abb8", line="#353b46", accent="#7aa5ff", paper="#14171c")


def tokens(dark: bool | None = None) -> Tokens:
    """The tokens of the theme that the browser shows (light where that is not known)."""
    if dark is None:
        dark = st.context.theme.type == "dark"
    return DARK if dark else LIGHT


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def support_colours(flag: str | None, against: str | None) -> tuple[str, str]:
    """The colours of what supports each of two classes: the classes' own, where they can be told apart.

    The hot loop's heatmap.js holds the same rule.
    """
    if not flag or not against or len(flag) != 7 or len(against) != 7:
        return FOR, AGAINST
    return (FOR, AGAINST) if math.dist(_channels(flag), _channels(against)) < TOO_ALIKE else (flag, against)


def diverging(colours: tuple[str, str], opacity: float = 1.0) -> list[list[float | str]]:
    """Runner-up ← clear → flag, for signed values around zero."""
    high, low = (f"rgba({','.join(map(str, _channels(c)))}," for c in colours)
    return [[0.0, f"{low}{opacity})"], [0.5, f"{low}0)"], [0.5, f"{high}0)"], [1.0, f"{high}{opacity})"]]


def template(colours: Tokens) -> go.layout.Template:
    """Transparent background, tabular figures, thin lines; nothing that competes with the data."""
    axis = {
        "gridcolor": colours.line,
        "zerolinecolor": colours.quiet,
        "zerolinewidth": 1,
        "linecolor": colours.line,
        "automargin": True,
        "title": {"font": {"size": 12, "color": colours.quiet}},
        "tickfont": {"size": 12, "color": colours.text},
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13, "color": colours.text},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "colorway": ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442"],
            "margin": {"l": 8, "r": 8, "t": 36, "b": 36},
            "title": {"font": {"size": 14, "color": colours.text}, "x": 0.0, "xref": "container", "y": 0.98},
            "hoverlabel": {"font": {"family": FONT, "size": 12}},
            "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 1.0, "xanchor": "right"},
            "xaxis": axis,
            "yaxis": axis,
            "bargap": 0.35,
        }
    )

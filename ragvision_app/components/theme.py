"""Colours and the one Plotly template, equal for light and dark.

The class colours are the user's data and come from the store; these are the colours of everything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go
import streamlit as st

# Contribution for the flag and for the runner-up: blue and orange stay apart with every common kind of
# colour blindness. The hot loop's heatmap.js draws with the same two.
FOR = "#268bff"
AGAINST = "#ff8a14"
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


def diverging(opacity: float = 1.0) -> list[list[float | str]]:
    """Runner-up ← clear → flag, for signed values around zero."""
    red, green, blue = (int(AGAINST[i : i + 2], 16) for i in (1, 3, 5))
    low = f"rgba({red},{green},{blue},"
    red, green, blue = (int(FOR[i : i + 2], 16) for i in (1, 3, 5))
    high = f"rgba({red},{green},{blue},"
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

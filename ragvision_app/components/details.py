"""The details panel of one image: scores with their halves, the share of each support image, the heatmap.

Figures are plain functions of a :class:`~core.labelling.Detail`; the panel only puts them on the page.
"""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import streamlit as st

from core.errors import RagVisionError
from core.ports import short_name
from ragvision_app.components.page import literal
from ragvision_app.components.theme import Tokens, diverging, support_colours, template, tokens

if TYPE_CHECKING:
    from core.labelling import Detail
    from core.types import ClassRecord, Contributions, Prediction
    from core.workbench import Workbench

MOST_SUPPORT = 14  # bars of their own; the rest is one bar
_COLUMN = 50  # pixels, of the numbers beside the bars
_CONFIG = {"displaylogo": False, "displayModeBar": False}


def short(name: str, length: int = 28) -> str:
    """``name`` cut to ``length`` columns for an axis, and without markup: Plotly reads tags in labels."""
    kept, room = [], length
    for letter in name:
        room -= 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        kept.append(letter)
        if room < 0:
            return html.escape("".join(kept[:-2]).rstrip() + "…")
    return html.escape(name)


def _distinct(names: Sequence[str], length: int = 28) -> list[str]:
    """Short names that stay apart, since Plotly merges bars of the same label."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        label = short(name, length)
        seen[label] = seen.get(label, 0) + 1
        out.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return out


def _column(figure: go.Figure, labels: Sequence[str], texts: Sequence[str], colours: Tokens) -> None:
    """Numbers in a column of their own at the right, where no bar and no mark can cover them."""
    for label, text in zip(labels, texts, strict=True):
        figure.add_annotation(
            x=1.0,
            xref="paper",
            xanchor="right",
            xshift=_COLUMN,
            y=label,
            text=text,
            showarrow=False,
            font={"size": 13, "color": colours.text},
        )
    figure.update_layout(margin_r=_COLUMN + 4)
    figure.update_yaxes(ticks="outside", ticklen=6, tickcolor="rgba(0,0,0,0)")


def scores_figure(prediction: Prediction, classes: Sequence[ClassRecord], colours: Tokens) -> go.Figure:
    """Calibrated probability a class as bars in the class colours, halves and class names as marks on them."""
    kinds = {c.id: c for c in classes}
    scores = sorted(prediction.scores, key=lambda s: s.probability)
    labels = _distinct([kinds[s.class_id].name if s.class_id in kinds else "archived class" for s in scores])
    own = prediction.class_probabilities or {}
    reasoner = [math.log(p) if (p := own.get(s.class_id)) else None for s in scores]
    figure = go.Figure(
        go.Bar(
            x=[s.probability for s in scores],
            y=labels,
            orientation="h",
            name="together, calibrated",
            marker_color=[kinds[s.class_id].colour if s.class_id in kinds else colours.quiet for s in scores],
            hovertemplate="%{y}: %{x:.4f}<extra></extra>",
            showlegend=False,
        )
    )
    for name, values, symbol, size, inside, edge in (  # seen on every class colour, and on each other
        ("whole image alone", [s.whole for s in scores], "circle", 15, colours.paper, colours.text),
        ("patches alone", [s.patch for s in scores], "diamond", 10, colours.text, colours.paper),
        ("class names alone", [s.text for s in scores], "triangle-up", 11, colours.paper, colours.text),
        (f"{short_name(prediction.reasoner)} alone", reasoner, "square", 11, colours.quiet, colours.paper),
    ):
        pairs = [(math.exp(v), label) for v, label in zip(values, labels, strict=True) if v is not None]
        if pairs:
            figure.add_scatter(
                x=[x for x, _ in pairs],
                y=[y for _, y in pairs],
                mode="markers",
                name=name,
                marker={"symbol": symbol, "size": size, "color": inside, "line": {"width": 2, "color": edge}},
                hovertemplate=f"{name}: %{{x:.4f}}<extra></extra>",
            )
    figure.update_layout(
        template=template(colours), title_text="Class scores", height=max(200, 100 + 34 * len(scores)), bargap=0.3
    )
    _column(figure, labels, [f"{s.probability:.3f}" for s in scores], colours)
    figure.update_xaxes(range=[0, 1.02], title_text=f"probability · calibration: {prediction.calibrated.value}")
    return figure


def shares(detail: Detail) -> list[tuple[str, float, float]]:
    """(support image, contribution, share of all contributions by magnitude), the rest as one entry."""
    total = sum(abs(part) for _, part in detail.by_support) or 1.0
    rows = [(record.name, part, abs(part) / total) for record, part in detail.by_support]
    if len(rows) <= MOST_SUPPORT:
        return rows
    rest = rows[MOST_SUPPORT - 1 :]
    return [
        *rows[: MOST_SUPPORT - 1],
        (f"{len(rest)} others", sum(part for _, part, _ in rest), sum(share for *_, share in rest)),
    ]


def support_figure(detail: Detail, flag: str, against: str, colours: Tokens, pair: tuple[str, str]) -> go.Figure:
    """What each support image adds to the flag's lead, signed, the largest on top."""
    rows = list(reversed(shares(detail)))
    labels = _distinct([name for name, *_ in rows])
    figure = go.Figure(
        go.Bar(
            x=[part for _, part, _ in rows],
            y=labels,
            orientation="h",
            marker_color=[pair[0] if part >= 0 else pair[1] for _, part, _ in rows],
            customdata=[share for *_, share in rows],
            hovertemplate="%{y}: %{x:+.4f} (%{customdata:.0%} of all)<extra></extra>",
        )
    )
    figure.update_layout(
        template=template(colours), title_text="Share of each support image", height=max(220, 90 + 22 * len(rows))
    )
    _column(figure, labels, [f"{share:.0%}" for *_, share in rows], colours)
    figure.update_xaxes(title_text=f"supports {short(against, 20)} ← contribution → supports {short(flag, 20)}")
    return figure


def heatmap_figure(
    detail: Detail, parts: Contributions, scale: float, colours: Tokens, pair: tuple[str, str]
) -> go.Figure:
    """The contributions over the whole image; values on hover."""
    rows, columns = parts.grid
    width, height = detail.image.width, detail.image.height
    values = [list(parts.values[r * columns : (r + 1) * columns]) for r in range(rows)]
    bar_title = {"text": "contribution", "side": "top", "font": {"size": 12, "color": colours.quiet}}
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=[(c + 0.5) * width / columns for c in range(columns)],
            y=[(r + 0.5) * height / rows for r in range(rows)],
            zmin=-scale,
            zmax=scale,
            zsmooth="best",
            colorscale=diverging(pair, 0.75),
            colorbar={"thickness": 10, "outlinewidth": 0, "title": bar_title, "y": 1.0, "yanchor": "top", "len": 0.8},
            hovertemplate="contribution %{z:+.4f}<extra></extra>",
        )
    )
    figure.add_layout_image(
        source=f"/api/images/{detail.image.sha256}/preview",
        xref="x",
        yref="y",
        x=0,
        y=0,
        sizex=width,
        sizey=height,
        sizing="stretch",
        layer="below",
    )
    figure.update_layout(template=template(colours), title_text="Where it comes from", height=540)
    figure.update_xaxes(visible=False, range=[0, width], constrain="domain")
    figure.update_yaxes(visible=False, range=[height, 0], scaleanchor="x", constrain="domain", constraintoward="top")
    return figure


def sum_sentence(prediction: Prediction, parts: Contributions) -> str:
    """The addition that the heatmap and the shares stand for, in numbers."""
    logits = {s.class_id: s.logit for s in prediction.scores}
    lead = logits[parts.flag] - (logits[parts.against] if parts.against is not None else 0.0)
    whole = f" {parts.whole:+.3f} whole image" if parts.whole else ""
    text = f" {parts.text:+.3f} class names" if parts.text else ""
    sentence = (
        f"It adds up: {sum(parts.values):+.3f} places in the image{whole}{text} {parts.constant:+.3f} constant "
        f"= {lead:+.3f}, the flag's lead in logits."
    )
    return sentence.replace("-", "−")


def draw_details(workbench: Workbench, image: str, annotator: str) -> None:
    """The panel for one image, as far as this annotator may see it."""
    try:
        detail = workbench.detail(image, annotator)
    except RagVisionError as error:
        st.warning(str(error))
        return
    st.text(detail.image.name)
    prediction = detail.suggestion.prediction
    if prediction is None:
        st.info(detail.suggestion.reason or "There is no suggestion for this image, so there is nothing behind it.")
        return
    classes = workbench.store.classes(include_archived=True)
    names = {c.id: c.name for c in classes}
    colours = tokens()
    parts = prediction.contributions
    shades = {c.id: c.colour for c in classes}
    pair = support_colours(shades.get(prediction.flag or 0), shades.get(prediction.runner_up or 0))
    left, right = st.columns(2, gap="medium")
    with left:
        st.plotly_chart(scores_figure(prediction, classes, colours), theme=None, config=_CONFIG, key="details_scores")
        if parts is not None and detail.by_support:
            flag = names.get(parts.flag, "the flag")
            against = names.get(parts.against, "the others") if parts.against is not None else "the others"
            figure = support_figure(detail, flag, against, colours, pair)
            st.plotly_chart(figure, theme=None, config=_CONFIG, key="details_support")
    with right:
        if parts is not None:
            scale = detail.suggestion.scale or max((abs(v) for v in parts.values), default=1.0)
            figure = heatmap_figure(detail, parts, scale, colours, pair)
            st.plotly_chart(figure, theme=None, config=_CONFIG, key="details_heatmap")
            st.caption(sum_sentence(prediction, parts))
    title = detail.suggestion.prompt_title or prediction.prompt
    asked = f"prompt {literal(title)} · " if title else ""
    st.caption(
        f"{short_name(prediction.encoder)} · {prediction.reasoner} · {asked}recipe {prediction.recipe} · "
        f"support set {prediction.support_version[:12]} · run {detail.suggestion.run_id}",
        help=f"Encoder: {prediction.encoder}" + (f"; prompt version {prediction.prompt}" if prediction.prompt else ""),
    )
    if prediction.transcript:
        with st.expander("What the reasoner was shown and what it answered", icon=":material/forum:"):
            if prediction.dropped_citations:
                st.caption(f"Left out: {prediction.dropped_citations} numbers that it cites and that it was not shown.")
            st.code(prediction.transcript, language=None, wrap_lines=True)

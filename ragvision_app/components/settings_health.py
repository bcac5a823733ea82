"""The health panel of the Settings page: what is loaded, from where, how large, how fast lately."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from core.errors import RagVisionError
from core.reasoners import has_server, reachable
from ragvision_app.components.page import literal
from ragvision_app.components.runs_view import progress_line, share

if TYPE_CHECKING:
    from core.choices import Wanting
    from core.loaded import Loaded, LoadedModel
    from core.workbench import Workbench

_STATES = {  # (words, colour of the badge)
    "in use": ("in use", "green"),
    "standing in": ("stood in for", "orange"),
    "loading": ("loading", "blue"),
    "not loaded": ("not loaded", "gray"),
}
_HOME_LENGTH = 58


def size(count: int | None) -> str:
    """``18 MB``, ``4.4 GB``; a dash where it is not known."""
    if count is None:
        return "–"
    if count < 1_000_000:
        return f"{count / 1000:,.0f} kB"
    return f"{count / 1e6:,.0f} MB" if count < 1_000_000_000 else f"{count / 1e9:,.1f} GB"


def parameters(count: int) -> str:
    """``151 M``, ``2.2 B``"""
    return (
        f"{count / 1e9:.1f} B" if count >= 999_500_000 else f"{count / 1e6:.1f} M" if count >= 100_000 else f"{count:,}"
    )


def short_path(text: str) -> str:
    """The end of a long path, which tells it from others; whole folder names where they fit."""
    if len(text) <= _HOME_LENGTH:
        return text
    end = text[-_HOME_LENGTH + 1 :]
    return f"…{end[end.index('/') :] if '/' in end else end}"


def shortened(name: str) -> str:
    """The beginning of a long name, with a sign where it was cut."""
    return name if len(name) <= 44 else f"{name[:43]}…"


def facts(model: LoadedModel) -> list[tuple[str, str]]:
    """What there is to say of a model, in the order of the panel; what is not known is left out."""
    weights = size(model.stored_bytes) if model.stored_bytes is not None else ""
    if model.parameters is not None:
        weights = f"{parameters(model.parameters)} parameters, {weights}"
    return [
        (name, value)
        for name, value in (
            ("From", short_path(model.source)),
            ("Size", weights),
            ("Device", model.device),
            ("Memory", model.memory),
            ("Lately", model.speed),
        )
        if value
    ]


def headline(model: LoadedModel) -> str:
    """``Encoder · clip``, with what stands in for it."""
    title = f"**{model.role.capitalize()}** · {literal(model.chosen)}"
    words, colour = _STATES[model.state]
    if model.state == "standing in":
        words = f"{words} by {model.running}"
    return f"{title} :{colour}-badge[{words}]"


def draw_wanting(lacks: Wanting) -> None:
    """The sentence about a missing model, and the command to copy."""
    later = "; once it is there, it is taken up by itself" if lacks.command else ""
    st.caption(
        f":orange[:material/cloud_off:] {literal(lacks.why)} Labelling goes on with the default {lacks.role}{later}."
    )
    if lacks.command:
        st.code(lacks.command, language="bash", wrap_lines=True)


def draw_model(model: LoadedModel) -> None:
    """One card."""
    with st.container(border=True, gap="xsmall"):
        st.markdown(headline(model), help=f"In full: {literal(model.id)}" if model.id else None)
        told = facts(model)
        if told:
            st.caption("  \n".join(f"{name}: {literal(value)}" for name, value in told))
        elif model.state == "not loaded":
            st.caption("It is loaded once there are images and the worker runs.")
        if model.note:
            st.caption(literal(model.note))
        if model.wanting is not None:
            draw_wanting(model.wanting)


def draw_health(workbench: Workbench) -> None:
    """The whole panel, as things stand now."""
    found = workbench.loaded()
    draw_model(found.encoder)
    draw_model(found.reasoner)
    _worker(found)
    _machine(found)


def _worker(found: Loaded) -> None:
    status = found.status
    with st.container(border=True, gap="xsmall"):
        colour = {"failed": "red", "done": "green", "computing": "blue", "loading": "blue"}.get(status.state, "gray")
        st.markdown(f"**Worker** :{colour}-badge[{status.state.replace('_', ' ')}]")
        st.caption(literal(status.sentence))
        if status.total:
            st.progress(share(status), text=progress_line(status))


def _machine(found: Loaded) -> None:
    with st.container(border=True, gap="xsmall"):
        st.markdown("**Machine and cache**")
        kept = sum(use.bytes for use in found.caches) + found.other_bytes
        lines = [
            f"Device: {found.device}",
            f"Memory: this process has {size(found.process_bytes)}, {size(found.free_bytes)} are free",
            f"Cache on disk: {size(kept)}, can be deleted at any time",
        ]
        lines += [
            f"– {shortened(use.encoder)}: {use.images:,} images, {size(use.bytes)}{' (in use)' if use.in_use else ''}"
            for use in found.caches[:4]
        ]
        keys = ", ".join(f"{name} {'is set' if there else 'is not set'}" for name, there in found.secrets)
        lines.append(f"Keys, never shown: {keys}")
        st.caption("  \n".join(literal(line) for line in lines))


@st.fragment
def draw_server(workbench: Workbench) -> None:
    """Whether the model server answers, asked by a click: an answer takes seconds when it is away."""
    pipeline = workbench.settings.pipeline
    if not has_server(pipeline.reasoner):
        return
    if not st.button("Ask the model server", icon=":material/lan:", help="One short request for its list of models"):
        return
    try:
        with st.spinner("Asking …"):
            answers = reachable(pipeline)
    except RagVisionError as error:
        answers = (False, str(error))
    if answers is not None:
        (st.success if answers[0] else st.error)(literal(answers[1]))

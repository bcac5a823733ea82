"""Widgets made from the fields of the settings: bounds, defaults, choices and help come from their one source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import streamlit as st

from ragvision_app.components.label_view import QUEUES

_LABELS = {  # where the words of the name would read oddly
    "k_retrieval": "Support patches a class",
    "max_patches_per_class": "Evidence a class, at most",
    "input_resolution": "Query side, pixels",
    "support_res": "Support side, pixels",
    "support_patch_size": "Patch side, pixels",
    "pca_axes": "Principal axes",
    "top_p": "Top p",
    "max_new_tokens": "Longest explanation, tokens",
    "max_visual_tokens": "Visual tokens, at most",
    "swap_options": "Both orders of the classes",
    "text_prior": "Class names as a prior",
    "encoder_model": "Model of the encoder",
    "reasoner_model": "Model of the reasoner",
    "dense": "Patch features",
    "patch_mode": "Patches of another size",
    "order": "Order of the queue",
    "withhold_share": "Share without a suggestion",
    "lease_seconds": "Reserved for, seconds",
    "overlap": "Annotators an image",
    "prefetch": "Images held ready",
    "max_pixels": "Pixels, at most",
    "max_bytes": "Bytes a file, at most",
}


@dataclass(frozen=True, slots=True)
class Spec:
    """One setting as a page shows it."""

    name: str
    label: str
    help: str
    default: Any
    low: float | None
    high: float | None
    choices: tuple[str, ...]


@cache
def specs(group: type) -> Mapping[str, Spec]:
    """Name → spec, in the order of the fields."""
    return {f.name: _spec(f.name, f.default, f.metadata) for f in fields(group)}


def _spec(name: str, default: Any, metadata: Mapping[str, Any]) -> Spec:
    low, high = metadata.get("low"), metadata.get("high")
    about = str(metadata.get("help", ""))
    sentence = f"{about[:1].upper()}{about[1:]}."
    if low is not None and high is not None:
        sentence += f" From {low:,g} to {high:,g}." if high < 10_000 else f" From {low:,.0f} to {high:,.0f}."
    shown = "empty" if default == "" else "on" if default is True else "off" if default is False else f"{default}"
    label = _LABELS.get(name, name.replace("_", " ").capitalize())
    choices = tuple(metadata.get("choices", ()))
    return Spec(name, label, f"`{name}`: {sentence} Unless set: {shown}.", default, low, high, choices)


def draw_field(spec: Spec, value: Any, *, key: str, placeholder: str = "") -> Any:
    """The widget of one setting; gives the value that it shows."""
    if spec.choices:
        options = list(spec.choices)
        index = options.index(value) if value in options else 0
        shown = QUEUES if spec.name == "order" else {}  # as the Label page calls them
        return st.selectbox(
            spec.label,
            options,
            index=index,
            help=spec.help,
            key=key,
            format_func=lambda choice: shown.get(choice, choice),
        )
    if isinstance(spec.default, bool):
        return st.toggle(spec.label, value=bool(value), help=spec.help, key=key)
    if isinstance(spec.default, int):
        low, high = int(spec.low or 0), int(spec.high) if spec.high is not None else None
        return int(st.number_input(spec.label, low, high, int(value), help=spec.help, key=key))
    if isinstance(spec.default, float):
        number = st.number_input(
            spec.label,
            float(spec.low or 0.0),
            spec.high,
            float(value),
            step=0.05,
            format="%.2f",
            help=spec.help,
            key=key,
        )
        return round(float(number), 6)
    return st.text_input(
        spec.label, str(value), help=spec.help, key=key, placeholder=placeholder, max_chars=500
    ).strip()

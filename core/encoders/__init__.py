"""Encoders: images → patch and whole embeddings. One adapter a file, found by its file name."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import cast
from weakref import WeakValueDictionary

from core.errors import ModelUnavailable
from core.ports import Encoder, adapter_names, load_adapter
from core.settings import PipelineSettings
from core.stand_ins import Missing, why_missing

log = logging.getLogger("ragvision.encoders")

DEFAULT = "efficientnet-lite0"
_DEFAULT_PATCH = 32  # what it sees, and what every side must be a multiple of
_LARGEST_SIDE = 1024


def create_encoder(
    name: str,
    settings: PipelineSettings,
    resolution: int,
    *,
    cache_dir: Path | None = None,
    threads: int | None = None,
) -> Encoder:
    """The encoder called ``name`` for images resized to ``resolution`` × ``resolution``, one object for all who ask.

    It lives as long as somebody holds it. ``cache_dir`` is where converted weights are kept (default: the user's
    cache folder); ``threads`` bounds the processor threads of one encoder (default: all). Raises UnknownAdapter,
    InvalidSettings (a resolution or patch size that the encoder cannot have), ModelUnavailable.
    """
    module = load_adapter(_HERE, name, "encoder")
    made = cast(Encoder, module.create(settings, resolution=resolution, cache_dir=cache_dir, threads=threads))
    with _lock:  # by the id, which has the weights' hash in it: files that were exchanged make another encoder
        return _alive.setdefault((made.id, cache_dir, threads), made)


def create_encoders(settings: PipelineSettings, *, threads: int | None = None) -> tuple[Encoder, Encoder]:
    """The encoders of queries and of support images: the same object where both have one resolution."""
    query = create_encoder(settings.encoder, settings, settings.input_resolution, threads=threads)
    if settings.support_res == settings.input_resolution:
        return query, query
    return query, create_encoder(settings.encoder, settings, settings.support_res, threads=threads)


def create_encoders_or_stand_in(
    settings: PipelineSettings, *, threads: int | None = None
) -> tuple[Encoder, Encoder, Missing | None]:
    """As :func:`create_encoders`, but where the model is not to be had the default encoder works, and says so.

    The network is loaded at once, so that damaged weights are found out here and not in the middle of a run.
    """
    try:
        query, support = create_encoders(settings, threads=threads)
        if hasattr(query, "load"):
            query.load()
        return query, support, None
    except ModelUnavailable as error:
        if settings.encoder == DEFAULT:
            raise
        log.warning("the encoder %s is not available: %s", settings.encoder, error)
        missing = Missing.because(error, load_adapter(_HERE, settings.encoder, "encoder"), settings)
    query, support = create_encoders(for_default(settings), threads=threads)
    note = f"{missing.note} Meanwhile the encoder {DEFAULT} computes."
    return query, support, replace(missing, note=note)


def for_default(settings: PipelineSettings) -> PipelineSettings:
    """The settings as the default encoder can have them: its own weights, and sides that it can see."""
    sides = [
        min(_LARGEST_SIDE, max(1, round(side / _DEFAULT_PATCH)) * _DEFAULT_PATCH)
        for side in (settings.input_resolution, settings.support_res)
    ]
    patch = settings.support_patch_size
    if patch % _DEFAULT_PATCH or any(side % patch for side in sides):
        patch = _DEFAULT_PATCH
    return replace(
        settings,
        encoder=DEFAULT,
        encoder_model="",
        dense="tokens",
        patch_mode="pooled",
        input_resolution=sides[0],
        support_res=sides[1],
        support_patch_size=patch,
    )


# --------------------------------------------------------------------------- told before anything is loaded
def names() -> list[str]:
    """Every encoder that there is, the default first."""
    return sorted(adapter_names(_HERE), key=lambda name: (name != DEFAULT, name))


def settings_of(name: str, optional: Collection[str]) -> frozenset[str]:
    """Those of the ``optional`` settings that the encoder looks at; all, where it does not say."""
    return frozenset(getattr(load_adapter(_HERE, name, "encoder"), "SETTINGS", optional)) & frozenset(optional)


def own_patch(name: str, settings: PipelineSettings) -> int:
    """Side of the encoder's own patch under these settings, in pixels; 32 where that cannot be told yet."""
    tell = getattr(load_adapter(_HERE, name, "encoder"), "own_patch", None)
    return _DEFAULT_PATCH if tell is None else int(tell(settings))


def check(settings: PipelineSettings) -> None:
    """Raises InvalidSettings where the encoder cannot have these sizes, as far as that is known without its model."""
    tell = getattr(load_adapter(_HERE, settings.encoder, "encoder"), "check", None)
    if tell is not None:
        for side in (settings.input_resolution, settings.support_res):
            tell(settings, side)


def missing(name: str, settings: PipelineSettings) -> str:
    """The sentence that says which file of the encoder's model is not there; empty where all are."""
    return why_missing(load_adapter(_HERE, name, "encoder"), settings)


_HERE = sys.modules[__name__]
_lock = threading.Lock()
_alive: WeakValueDictionary[tuple[str, Path | None, int | None], Encoder] = WeakValueDictionary()

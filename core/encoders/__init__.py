"""Encoders: images → patch and whole embeddings. One adapter a file, found by its file name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import cast

from core.ports import Encoder, load_adapter
from core.settings import PipelineSettings


def create_encoder(
    name: str,
    settings: PipelineSettings,
    resolution: int,
    *,
    cache_dir: Path | None = None,
    threads: int | None = None,
) -> Encoder:
    """The encoder called ``name`` for images resized to ``resolution`` × ``resolution``.

    ``cache_dir`` is where converted weights are kept (default: the user's cache folder); ``threads``
    bounds the processor threads of one encoder (default: all). Raises UnknownAdapter,
    InvalidSettings (a resolution or patch size that the encoder cannot have), ModelUnavailable.
    """
    module = load_adapter(sys.modules[__name__], name, "encoder")
    return cast(Encoder, module.create(settings, resolution=resolution, cache_dir=cache_dir, threads=threads))

"""Small real pictures of two kinds that an encoder tells apart: stripes and rings, each one its own."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

KINDS = ("stripes", "rings")


def picture(kind: str, seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """An RGB picture; equal arguments give equal pixels."""
    random = np.random.default_rng([KINDS.index(kind), seed])
    width, height = size
    y, x = np.mgrid[:height, :width].astype(float)
    period = random.uniform(7, 12)
    wave = np.sin(2 * np.pi * x / period) if kind == "stripes" else None
    if wave is None:
        cx, cy = random.uniform(0.3, 0.7, 2) * (width, height)
        wave = np.sin(2 * np.pi * np.hypot(x - cx, y - cy) / period)
    grey = 128 + 90 * wave + random.normal(0, 12, (height, width))
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")


def png(kind: str, seed: int, size: tuple[int, int] = (96, 80)) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    picture(kind, seed, size).save(buffer, "PNG")
    return buffer.getvalue()


def write_folder(root: Path, count: int, *, first: int = 0, by_class: bool = False) -> Path:
    """``count`` pictures of each kind under ``root``, in one sub-folder a kind if ``by_class``."""
    for kind in KINDS:
        folder = root / kind if by_class else root
        folder.mkdir(parents=True, exist_ok=True)
        for seed in range(first, first + count):
            (folder / f"{kind}{seed:03d}.png").write_bytes(png(kind, seed))
    return root

"""A small real project for the tests of the pages: real store, real images, and no worker, so no model."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from streamlit.testing.v1 import AppTest

from core.workbench import Workbench

APP = Path(__file__).resolve().parents[2] / "ragvision_app" / "app.py"


def png(seed: int, side: int = 40) -> bytes:
    """A small image that no other seed gives."""
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def files(first: int, count: int) -> list[tuple[str, bytes]]:
    """(name, bytes) of ``count`` different images."""
    return [(f"image{seed}.png", png(seed)) for seed in range(first, first + count)]


def fill(workbench: Workbench, *, classes: tuple[str, ...] = ("functional", "defective"), per_class: int = 3) -> None:
    """Two classes with a few examples each."""
    for number, name in enumerate(classes):
        record = workbench.store.add_class(name)
        if per_class:
            workbench.add_support_files(files(100 * (number + 1), per_class), record.id, by="ada")


def page(name: str, **query: str) -> AppTest:
    """The app, on the page of that file, opened by a link with ``query``."""
    at = AppTest.from_file(str(APP), default_timeout=20)
    at.run()
    at.switch_page(f"../pages/{name}.py")
    for key, value in query.items():
        at.query_params[key] = value
    return at.run()


def shown(at: AppTest) -> str:
    """Every text on the page, for asking what a person can read there."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "success", "text")
    return "\n".join(str(element.value) for kind in kinds for element in getattr(at.main, kind))

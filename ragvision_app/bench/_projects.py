"""Projects to measure on: the demo's photographs where they are installed, else made-up textures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from core.errors import NotReady
from core.imports.folder import folder_source
from core.workbench import Workbench
from ragvision_app.bench._row import Scale

KINDS = ("coarse", "fine")


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with TemporaryDirectory(prefix="ragvision-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@contextmanager
def quiet() -> Iterator[None]:
    """Models are written and read without progress bars and advice."""
    from transformers.utils import logging as library

    logging: Any = library
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()


def texture(path: Path, seed: int, *, side: int = 300) -> Path:
    """A JPEG that no other seed gives; odd seeds are finer than even ones."""
    cells = 12 if seed % 2 == 0 else 48
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 255, (cells, cells, 3), dtype=np.uint8))
    path.parent.mkdir(parents=True, exist_ok=True)
    small.resize((side, side), Image.Resampling.BICUBIC).save(path, "JPEG", quality=85)
    return path


def textures(folder: Path, count: int, *, first: int = 0, side: int = 300) -> Path:
    """``count`` textures in a folder."""
    for seed in range(first, first + count):
        texture(folder / f"image{seed:06d}.jpg", seed, side=side)
    return folder


def support_folder(folder: Path, per_class: int, *, side: int = 300) -> Path:
    """A sub-folder for each kind of texture."""
    for number in range(per_class):
        for kind, name in enumerate(KINDS):
            texture(folder / name / f"example{number:04d}.jpg", 10_000_000 + 2 * number + kind, side=side)
    return folder


def textured_project(root: Path, queries: int, *, per_class: int = 5, side: int = 300) -> Path:
    """A project with two classes of examples and ``queries`` images to label."""
    files = root.with_name(f"{root.name}-files")
    workbench = Workbench.open(root)
    try:
        workbench.import_support(support_folder(files / "support", per_class, side=side), by="bench")
        workbench.import_images([folder_source(textures(files / "queries", queries, side=side))])
    finally:
        workbench.close()
    return root


def demo_project(root: Path, scale: Scale) -> tuple[Path, str]:
    """The demo, 300 photographs to label, where its images are installed; and what the images are, in words."""
    if scale is not Scale.TINY:
        from ragvision_app.demo import create_demo

        try:
            create_demo(root)
        except NotReady:
            return textured_project(root, 300, per_class=10), "300 made-up textures"
        return root, "the demo's 300 photographs"
    return textured_project(root, 12, per_class=2, side=64), "12 made-up textures"

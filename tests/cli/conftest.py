"""Folders of small images with something to tell apart, and the command line called as a shell would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ragvision_app.cli.commands import main

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Called:
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture
def call(capfd, monkeypatch) -> Callable[..., Called]:
    """The command line in this process; wide enough that no sentence is broken."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.delenv("RAGVISION_PROJECT", raising=False)

    def run(*arguments: object) -> Called:
        capfd.readouterr()
        code = main([str(a) for a in arguments])
        captured = capfd.readouterr()
        return Called(code, captured.out, captured.err)

    return run


def shell(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    env = {**os.environ, "COLUMNS": "400", **environment}
    env.pop("RAGVISION_PROJECT", None)
    command = [sys.executable, "-m", "ragvision_app", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)


def picture(path: Path, kind: str, seed: int, size: tuple[int, int] = (90, 70)) -> Path:
    """A noisy photograph of ``kind``: stripes, or dots. The same seed gives the same bytes."""
    random = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[:height, :width]
    phase = random.integers(0, 12)
    if kind == "stripes":
        pattern = ((x + phase) // 6 % 2) * 140
    else:
        pattern = (((x + phase) % 16 - 8) ** 2 + ((y + phase) % 16 - 8) ** 2 < 25) * 140
    pixels = np.clip(pattern[..., None] + random.normal(60, 12, (height, width, 3)), 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def examples(tmp_path_factory) -> Path:
    """A support folder: four images of each of two classes."""
    root = tmp_path_factory.mktemp("examples")
    for number in range(4):
        picture(root / "stripes" / f"s{number}.png", "stripes", number)
        picture(root / "dots" / f"d{number}.png", "dots", 100 + number)
    return root


@pytest.fixture(scope="session")
def photos(tmp_path_factory) -> Path:
    """Queries: of both kinds, in a sub-folder, not square, the same bytes twice, and two that cannot be read."""
    root = tmp_path_factory.mktemp("photos")
    for number in range(3):
        picture(root / f"stripes{number}.png", "stripes", 200 + number)
        picture(root / "deeper" / f"dots{number}.jpg", "dots", 300 + number, (120, 70))
    (root / "twin.png").write_bytes((root / "stripes0.png").read_bytes())
    (root / "text.jpg").write_text("no image at all", encoding="utf-8")
    (root / "cut.png").write_bytes((root / "stripes1.png").read_bytes()[:900])
    (root / "moving.gif").write_bytes(b"GIF89a and so on")
    (root / "notes.txt").write_text("ignored", encoding="utf-8")
    return root

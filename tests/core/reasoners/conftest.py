"""A tiny random Qwen2-VL in a folder, as the published one lies there; no network."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once a session: about a second."""
    import torch
    from tiny_qwen2_vl import save_tiny

    torch.set_num_threads(1)
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny-qwen2-vl")


@pytest.fixture(autouse=True)
def nothing_held() -> Iterator[None]:
    """No test finds the model of another in memory."""
    yield
    from core.reasoners import _loading

    _loading._held.clear()  # not release(): that looks through all of this process's objects, after every test

"""A new project with its store, and images to import."""

import io

import numpy as np
import pytest
from PIL import Image

from core.project import Project
from core.store import Store


@pytest.fixture
def project(tmp_path):
    return Project.open(tmp_path / "project", create=True)


@pytest.fixture
def store(project):
    with Store.open(project.labels_db) as opened:
        yield opened


@pytest.fixture
def image():
    """``image(3)`` → the bytes of the third image; each number another one."""

    def make(number, format="PNG", side=8):
        out = io.BytesIO()
        values = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(values).save(out, format)
        return out.getvalue()

    return make


@pytest.fixture
def tree(tmp_path):
    """``tree({"a/b.png": bytes})`` → the folder that holds these files."""

    def make(files, name="photos"):
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for path, data in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        return root

    return make

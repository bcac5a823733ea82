"""The real API on a small workbench in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_fakes import SHA, FakeWorkbench
from fastapi import FastAPI
from fastapi.testclient import TestClient

from core.workbench import Workbench
from ragvision_app.api import create_api

sys.path.insert(0, str(Path(__file__).parents[1] / "core"))  # its pictures


@pytest.fixture
def fake() -> FakeWorkbench:
    return FakeWorkbench()


@pytest.fixture
def api(fake: FakeWorkbench) -> FastAPI:
    return create_api(fake)  # type: ignore[arg-type]


@pytest.fixture
def client(api: FastAPI) -> Iterator[TestClient]:
    with TestClient(api, base_url="http://127.0.0.1:8501") as client:
        yield client


@pytest.fixture
def decision() -> Callable[..., dict[str, Any]]:
    """A valid decision body, with the given fields changed."""

    def make(**changes: Any) -> dict[str, Any]:
        body: dict[str, Any] = {
            "id": "0b9f6a52-6f0e-4f5e-9a63-5b7b0f0a4f11",
            "kind": "correct",
            "image": SHA,
            "annotator": "ada",
            "made_at": "2026-11-24T12:00:00.000Z",
            "class_id": 2,
        }
        return body | changes

    return make


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    """An empty project, opened for real; no worker."""
    opened = Workbench.open(tmp_path / "cells")
    yield opened
    opened.close()


@pytest.fixture
def real(workbench: Workbench) -> Iterator[TestClient]:
    """The API on it."""
    with TestClient(create_api(workbench), base_url="http://127.0.0.1:8501") as client:
        yield client

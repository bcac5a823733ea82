"""A small real project, in the process of the pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from page_project import fill

from core.workbench import Workbench
from ragvision_app import state as app_state


@pytest.fixture
def workbench(tmp_path: Path) -> Iterator[Workbench]:
    """Two classes with three examples each, no images to label, and no worker."""
    opened = Workbench.open(tmp_path / "cells")
    fill(opened)
    yield opened
    opened.close()


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workbench]:
    """A new project, the very Workbench that the pages of this process use; no worker runs."""
    monkeypatch.setenv(app_state.PROJECT_VARIABLE, str(tmp_path / "new"))
    yield app_state.workbench()
    app_state.close_opened()


@pytest.fixture
def served(empty: Workbench) -> Workbench:
    """The same with two classes of three examples each."""
    fill(empty)
    return empty

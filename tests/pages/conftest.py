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
def served(workbench: Workbench) -> Iterator[Workbench]:
    """The same, as the Workbench that the pages of this process are given."""
    app_state.serve_workbench(workbench)
    yield workbench
    app_state.serve_workbench(None)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Workbench]:
    """A new project, served to the pages."""
    opened = Workbench.open(tmp_path / "new")
    app_state.serve_workbench(opened)
    yield opened
    app_state.serve_workbench(None)
    opened.close()

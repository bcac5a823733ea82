"""A project that is moved, deleted or replaced under an open store: nothing is acknowledged that would be lost."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from store_values import decision, image, sha

from core.errors import ProjectError
from core.store import Store
from core.types import Kind, Outcome


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


@pytest.fixture
def opened(project: Path) -> Store:
    store = Store.open(project / "labels.db")
    store.add_images([image(1)])
    return store


def test_a_decision_after_the_folder_was_deleted_is_not_acknowledged(project: Path, opened: Store) -> None:
    shutil.rmtree(project)
    with pytest.raises(ProjectError, match="was deleted, moved or replaced"):
        opened.decide(decision(Kind.SKIP, sha(1)))
    with pytest.raises(ProjectError):
        opened.count_images()
    assert not project.exists()


def test_a_decision_goes_in_once_the_moved_folder_is_back(project: Path, opened: Store) -> None:
    made = decision(Kind.SKIP, sha(1))
    project.rename(project.with_name("elsewhere"))
    with pytest.raises(ProjectError):
        opened.decide(made)
    project.with_name("elsewhere").rename(project)
    assert opened.decide(made).outcome is Outcome.STORED


def test_a_backup_that_was_put_in_place_is_not_written_to_through_the_old_file(project: Path, opened: Store) -> None:
    opened.backup(project / "backup.db")
    (project / "backup.db").replace(project / "labels.db")
    with pytest.raises(ProjectError, match="start the workbench again"):
        opened.decide(decision(Kind.SKIP, sha(1)))
    with sqlite3.connect(project / "labels.db") as fresh:
        assert fresh.execute("SELECT count(*) FROM events").fetchone() == (0,)

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_values import Clock, quick_folder

from core.store import Store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Iterator[Store]:
    """An empty store with two classes, ids 1 and 2."""
    with quick_folder() as folder, Store.open(Path(folder) / "labels.db", clock=clock) as opened:
        opened.add_class("functional")
        opened.add_class("defective")
        yield opened

"""Positions are a cache: whatever happens to its folder costs time, never a prediction."""

from __future__ import annotations

import numpy as np
import pytest

from core.position_cache import PositionCache

KEY = "ab" * 32


@pytest.fixture
def positions():
    return np.linspace(0, 1, 2 * 2 * 3, dtype=np.float32).reshape(2, 2, 3)


def test_what_was_put_is_there_again_after_a_restart(tmp_path, positions):
    PositionCache(tmp_path / "p").put(KEY, positions)
    np.testing.assert_allclose(PositionCache(tmp_path / "p").get(KEY), positions, atol=1e-3)


def test_the_folder_may_be_deleted_under_an_open_cache(tmp_path, positions):
    cache = PositionCache(tmp_path / "cache" / "p")
    cache.put(KEY, positions)
    (tmp_path / "cache").rename(tmp_path / "gone")
    assert cache.get(KEY) is None
    cache.put(KEY, positions)
    np.testing.assert_allclose(cache.get(KEY), positions, atol=1e-3)


def test_a_full_disk_costs_the_positions_and_leaves_nothing_half_written(tmp_path, positions, monkeypatch):
    def full(file, array, **_):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    cache = PositionCache(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(np, "save", full)
        cache.put(KEY, positions)
    assert cache.get(KEY) is None and not list(tmp_path.iterdir())
    cache.put(KEY, positions)
    assert cache.get(KEY) is not None


def test_a_damaged_file_counts_as_missing(tmp_path, positions):
    cache = PositionCache(tmp_path)
    cache.put(KEY, positions)
    (tmp_path / f"{KEY}.npy").write_bytes(b"\x93NUMPY")
    assert cache.get(KEY) is None and not list(tmp_path.iterdir())


def test_the_budget_is_kept(tmp_path, positions):
    cache = PositionCache(tmp_path, budget_bytes=positions.size * 2)
    cache.put(KEY, positions)
    cache.put("cd" * 32, positions)
    assert cache.get(KEY) is not None and cache.get("cd" * 32) is None


def test_a_project_that_was_moved_is_not_begun_anew_in_its_old_place(tmp_path, positions):
    cache = PositionCache(tmp_path / "project" / "cache" / "positions" / "lite0")
    (tmp_path / "project").rename(tmp_path / "moved")
    cache.put(KEY, positions)
    assert not (tmp_path / "project").exists()

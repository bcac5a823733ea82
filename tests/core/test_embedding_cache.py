"""The embedding cache: what was added is there after a restart, and nothing wrong ever is."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.embedding_cache import EmbeddingCache
from core.errors import NotFound
from core.scoring_basis import normalise
from core.types import Embeddings


class FakeEncoder:
    id, device, patch_pixels = "fake-1", "cpu", 32

    def embed_batch(self, images, *, whole_map=False):
        raise NotImplementedError


def sha(name) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def embeddings(numbers) -> Embeddings:
    """Embeddings that depend on the number alone, so that a mixed-up row is seen."""
    rows = [np.random.default_rng(n) for n in numbers]
    patches = np.stack([r.standard_normal((2, 3, 8)) for r in rows])
    whole = np.stack([r.standard_normal(5) for r in rows])
    return Embeddings(normalise(patches), normalise(whole))


def cache(folder) -> EmbeddingCache:
    return EmbeddingCache(folder, FakeEncoder())


def assert_holds(c: EmbeddingCache, numbers) -> None:
    got, expected = c.get([sha(n) for n in numbers]), embeddings(numbers)
    np.testing.assert_allclose(got.patches, expected.patches, atol=1e-3)
    np.testing.assert_allclose(got.whole, expected.whole, atol=1e-3)


def test_embeddings_survive_a_restart_in_any_order_asked_for(tmp_path):
    cache(tmp_path).add([sha(n) for n in range(5)], embeddings(range(5)))
    assert_holds(cache(tmp_path), [3, 0, 4, 3])


def test_embeddings_are_normalised_again_after_float16(tmp_path):
    c = cache(tmp_path)
    c.add([sha(1)], embeddings([1]))
    got = c.get([sha(1)])
    np.testing.assert_allclose(np.linalg.norm(got.patches, axis=-1), 1, atol=1e-6)
    assert got.patches.dtype == np.float32 and got.whole_map is None


def test_missing_names_what_get_cannot_give(tmp_path):
    c = cache(tmp_path)
    c.add([sha(1)], embeddings([1]))
    assert c.missing([sha(2), sha(1), sha(3)]) == [sha(2), sha(3)]
    with pytest.raises(NotFound):
        c.get([sha(1), sha(2)])


def test_an_image_is_stored_once_however_often_it_is_added(tmp_path):
    c = cache(tmp_path)
    c.add([sha(1), sha(1)], embeddings([1, 1]))
    c.add([sha(1), sha(2)], embeddings([1, 2]))
    assert len(c) == 2
    assert_holds(c, [1, 2])


def test_a_reader_opened_earlier_sees_what_another_process_appends(tmp_path):
    reader, writer = cache(tmp_path), cache(tmp_path)
    assert reader.missing([sha(1)]) == [sha(1)]
    writer.add([sha(1)], embeddings([1]))
    assert_holds(reader, [1])


def test_the_folder_may_be_deleted_under_an_open_cache(tmp_path):
    c = cache(tmp_path)
    c.add([sha(1), sha(2)], embeddings([1, 2]))
    shutil.rmtree(tmp_path / "fake-1")
    assert c.missing([sha(1)]) == [sha(1)]
    c.add([sha(2), sha(3), sha(1)], embeddings([2, 3, 1]))
    assert_holds(c, [1, 2, 3])


def test_a_cache_emptied_and_filled_by_another_process_is_read_anew(tmp_path):
    c, other = cache(tmp_path), cache(tmp_path)
    c.add([sha(1), sha(2)], embeddings([1, 2]))
    shutil.rmtree(tmp_path / "fake-1")
    other.add([sha(2), sha(1)], embeddings([2, 1]))  # the same rows the other way round
    assert_holds(c, [1, 2])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["patches.f16", "whole.f16", "index.bin", "shape.json"]), st.floats(0, 1), st.booleans())
def test_a_damaged_or_cut_file_loses_embeddings_but_never_gives_wrong_ones(tmp_path_factory, name, where, cut):
    folder = tmp_path_factory.mktemp("cache")
    cache(folder).add([sha(n) for n in range(4)], embeddings(range(4)))
    path = folder / "fake-1" / name
    data = bytearray(path.read_bytes())
    at = int(where * (len(data) - 1))
    if cut:
        del data[at:]
    else:
        data[at] ^= 0x41
    path.write_bytes(bytes(data))
    c = cache(folder)
    lost = c.missing([sha(n) for n in range(4)])
    kept = [n for n in range(4) if sha(n) not in lost]
    if kept:
        assert_holds(c, kept)
    again = [n for n in range(4) if sha(n) in lost]
    if again and name != "shape.json":
        c.add(lost, embeddings(again))
        assert_holds(cache(folder), range(4))


_WRITER = """
import sys; from pathlib import Path
sys.path[:0] = [{root!r}, {tests!r}]
from test_embedding_cache import cache, sha, embeddings
c = cache(Path({folder!r}))
for n in range(100000):
    c.add([sha(n)], embeddings([n])); print(n, flush=True)
"""


def test_a_writer_killed_at_any_moment_leaves_every_acknowledged_embedding_and_no_wrong_one(tmp_path):
    code = _WRITER.format(root=str(Path(__file__).parents[2]), tests=str(Path(__file__).parent), folder=str(tmp_path))
    for pause in (0.0, 0.013, 0.031):
        writer = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        acknowledged = int(writer.stdout.readline())
        time.sleep(pause)
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split("\n")[:-1]
        writer.wait()
        writer.stdout.close()
        acknowledged = int(rest[-1]) if rest else acknowledged
        c = cache(tmp_path)
        assert_holds(c, range(acknowledged + 1))
        assert len(c) <= acknowledged + 2


def test_embeddings_of_another_shape_are_refused(tmp_path):
    c = cache(tmp_path)
    c.add([sha(1)], embeddings([1]))
    other = Embeddings(np.ones((1, 2, 2, 8), np.float32), np.ones((1, 5), np.float32))
    with pytest.raises(ValueError, match="holds"):
        c.add([sha(2)], other)

"""What every encoder in the folder promises; a new file is picked up by itself."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

import core.encoders
from core.encoders import create_encoder
from core.errors import ModelUnavailable
from core.ports import Encoder, adapter_names
from core.settings import PipelineSettings
from tests.core.encoders.tiny_models import tiny_clip, tiny_vision

# Encoders whose weights are not part of the installation: tiny ones, in the settings that the code tells apart.
TINY = {
    "clip": [("clip", {}), ("clip", {"dense": "maskclip"}), ("clip", {"patch_mode": "crops"})],
    "hf-vision": [("dinov3", {}), ("siglip-headless", {})],
}
CASES = [(name, *case) for name in adapter_names(core.encoders) for case in TINY.get(name, [("", {})])]


def picture(seed: int, size) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: "-".join([case[0], case[1], *case[2].values()]))
def encoder(request, tmp_path_factory) -> Encoder:
    name, kind, settings = request.param
    folder = tmp_path_factory.mktemp("weights")
    if kind:
        build = tiny_clip if kind == "clip" else lambda *args, **sizes: tiny_vision(kind, *args, **sizes)
        settings = settings | {"encoder_model": str(build(folder / kind, side=224, patch=32))}
    try:
        return create_encoder(name, PipelineSettings(**settings), 224, cache_dir=folder, threads=1)
    except ModelUnavailable as error:
        pytest.skip(str(error))  # an encoder whose weights are nowhere on this machine


def test_embeddings_are_normalised_float32_of_agreeing_shapes(encoder):
    e = encoder.embed_batch([picture(1, (90, 60)), picture(2, (30, 70)), picture(3, (224, 224))], whole_map=True)
    assert len(e) == 3 and e.patches.dtype == e.whole.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(e.patches, axis=-1), 1, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(e.whole, axis=-1), 1, atol=1e-4)
    assert e.grid == (224 // encoder.patch_pixels,) * 2


def test_the_whole_embedding_is_the_mean_of_the_map_where_there_is_one(encoder):
    e = encoder.embed_batch([picture(1, (90, 60))], whole_map=True)
    if e.whole_map is None:  # a class token is no mean over positions
        assert e.whole.shape[0] == 1
        return
    mean = e.whole_map.mean(axis=(1, 2))
    np.testing.assert_allclose(mean / np.linalg.norm(mean, axis=-1, keepdims=True), e.whole, atol=1e-5)


def test_the_map_is_made_only_when_asked_for(encoder):
    assert encoder.embed_batch([picture(1, (90, 60))]).whole_map is None


def test_an_image_embeds_alike_alone_and_in_any_batch(encoder):
    images = [picture(i, (60 + i, 50)) for i in range(11)]
    together = encoder.embed_batch(images)
    alone = encoder.embed_batch(images[10:])
    np.testing.assert_allclose(together.patches[10], alone.patches[0], atol=1e-4)
    np.testing.assert_allclose(together.whole[10], alone.whole[0], atol=1e-4)


def test_no_images_give_no_embeddings(encoder):
    assert len(encoder.embed_batch([], whole_map=True)) == 0


def test_the_whole_image_is_in_view(encoder):
    """A mark in a corner, which a centre crop would lose, changes the patches of that corner the most."""
    plain = Image.new("RGB", (300, 200), (128, 128, 128))
    marked = plain.copy()
    marked.paste((255, 0, 0), (280, 185, 300, 200))
    e = encoder.embed_batch([plain, marked])
    change = np.linalg.norm(e.patches[0] - e.patches[1], axis=-1)
    row, column = np.unravel_index(change.argmax(), change.shape)
    assert row >= e.grid[0] - 2 and column >= e.grid[1] - 2


def test_the_id_can_name_a_folder_and_the_device_can_be_shown(encoder):
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,120}", encoder.id)
    assert encoder.device and isinstance(encoder, Encoder)

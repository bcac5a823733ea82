"""Vision models other than CLIP: the right tokens are patches, and the whole is what the weights really hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.encoders import create_encoder
from core.errors import InvalidSettings, ModelUnavailable
from core.scoring_basis import normalise
from core.settings import PipelineSettings
from tests.core.encoders.tiny_models import picture, tiny_clip, tiny_vision, write_preprocessor

IMAGES = [picture(1, (64, 64)), picture(2, (64, 64))]
# tokens that stand before the patches
EXTRA = {"dinov2": 1, "registers": 5, "dinov3": 5, "vit": 1, "siglip": 0, "siglip-headless": 0}


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vision")
    return {kind: tiny_vision(kind, root / kind) for kind in EXTRA}


def vision(folder, *, resolution=64, patch=16, **more):
    sizes = {"input_resolution": resolution, "support_res": resolution, "support_patch_size": patch}
    settings = PipelineSettings(encoder="hf-vision", encoder_model=str(folder), **sizes, **more)
    return create_encoder("hf-vision", settings, resolution, threads=1)


def theirs(folder, images):
    """transformers' own output of the vision part, pixels normalised by hand."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder).eval()
    model = getattr(model, "vision_model", model)
    pixels = np.stack([np.asarray(i, np.float32) for i in images]).transpose(0, 3, 1, 2) / 255 * 2 - 1
    with torch.inference_mode():
        return model(pixel_values=torch.from_numpy(pixels))


@pytest.mark.parametrize("kind", EXTRA)
def test_patches_are_the_hidden_states_without_class_tokens_and_registers(folders, kind):
    hidden = theirs(folders[kind], IMAGES).last_hidden_state.numpy()
    assert hidden.shape[1] == EXTRA[kind] + 16
    got = vision(folders[kind]).embed_batch(IMAGES)
    np.testing.assert_allclose(got.patches, normalise(hidden[:, EXTRA[kind] :].reshape(2, 4, 4, -1)), atol=1e-5)


@pytest.mark.parametrize("kind", ["dinov2", "registers", "dinov3", "siglip"])
def test_the_whole_is_the_pooled_output(folders, kind):
    got = vision(folders[kind]).embed_batch(IMAGES, whole_map=True)
    np.testing.assert_allclose(got.whole, normalise(theirs(folders[kind], IMAGES).pooler_output.numpy()), atol=1e-5)
    assert got.whole_map is None


def test_a_pooler_that_the_file_does_not_hold_is_never_a_random_one(folders):
    """Saved as a classifier, a ViT has none; transformers fills one in at random, another every time."""
    got = vision(folders["vit"]).embed_batch(IMAGES)
    hidden = theirs(folders["vit"], IMAGES).last_hidden_state.numpy()
    np.testing.assert_allclose(got.whole, normalise(hidden[:, 0]), atol=1e-5)


@pytest.mark.parametrize("patch", [16, 32])
def test_without_pooler_and_class_token_the_whole_is_a_mean_with_positions(folders, patch):
    got = vision(folders["siglip-headless"], patch=patch).embed_batch(IMAGES, whole_map=True)
    hidden = theirs(folders["siglip-headless"], IMAGES).last_hidden_state.numpy()
    np.testing.assert_allclose(got.whole_map, hidden.reshape(2, 4, 4, -1), atol=1e-5)
    np.testing.assert_allclose(got.whole, normalise(hidden.mean(axis=1)), atol=1e-5)
    assert got.patches.shape[1:3] == (64 // patch,) * 2


@pytest.mark.parametrize("kind", EXTRA)
def test_another_resolution_gives_another_grid_in_the_same_space(folders, kind):
    square = [picture(3, (300, 300))]
    small, large = (vision(folders[kind], resolution=r).embed_batch(square) for r in (64, 128))
    assert large.patches.shape == (1, 8, 8, 32)
    # half the side of the patch, so not the same numbers; but the same corner looks most like itself
    assert np.isfinite(large.patches).all() and (small.whole * large.whole).sum() > 0.5


@pytest.mark.parametrize("kind", ["dinov2", "siglip", "vit", "dinov3"])
def test_half_precision_is_near(folders, kind, monkeypatch):
    from core.encoders import _torch_patches, hf_vision

    exact = vision(folders[kind], resolution=96).embed_batch(IMAGES)
    monkeypatch.setattr(_torch_patches, "placement", lambda device: _torch_patches.Placement("cpu", "bfloat16"))
    kept = []
    keep = hf_vision._keep_positions_exact
    monkeypatch.setattr(hf_vision, "_keep_positions_exact", lambda *args: kept.append(keep(*args)))
    half = vision(folders[kind], resolution=96).embed_batch(IMAGES)
    assert len(kept) == 1
    assert (exact.patches * half.patches).sum(-1).min() > 0.99
    assert 0 < np.abs(exact.whole - half.whole).max() < 0.05


def test_crops_are_each_a_pass_of_its_own(folders):
    got = vision(folders["dinov3"], patch=32, patch_mode="crops").embed_batch(IMAGES)
    crops = [IMAGES[1].crop((32, 0, 64, 32))]
    np.testing.assert_allclose(
        got.patches[1, 0, 1], vision(folders["dinov3"]).embed_batch(crops).whole[0], atol=1e-5
    )  # fmt: skip


def test_a_clip_can_be_looked_at_without_its_projection(tmp_path):
    got = vision(tiny_clip(tmp_path / "clip")).embed_batch(IMAGES)
    assert got.patches.shape == (2, 4, 4, 32)


def test_default_sizes_that_do_not_fit_say_what_would(tmp_path):
    """The trap of DINOv2: patches of 14 pixels, where the workbench's default is 32."""
    folder = tiny_vision("dinov2", tmp_path / "dino14", side=56, patch=14)
    with pytest.raises(InvalidSettings, match=r"multiple of 14, and 32 is not\. Choose 14 or 28, or patch_mode crops"):
        create_encoder("hf-vision", PipelineSettings(encoder_model=str(folder)), 224)


def test_models_without_a_grid_are_refused_with_the_reason(tmp_path):
    import torch
    import transformers as t

    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    masked = t.ViTMAEModel(t.ViTMAEConfig(**small, image_size=64, patch_size=16))
    convolutional = t.ResNetModel(t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))
    any_shape = t.Siglip2VisionModel(t.Siglip2VisionConfig(**small, num_patches=16, patch_size=16))
    for model, name in ((masked, "masked"), (convolutional, "resnet"), (any_shape, "naflex")):
        model.save_pretrained(tmp_path / name)
        write_preprocessor(tmp_path / name)
    with pytest.raises(ModelUnavailable, match="no known place"):
        vision(tmp_path / "masked").embed_batch(IMAGES)
    with pytest.raises(ModelUnavailable, match="“resnet” model, which has no single grid"):
        vision(tmp_path / "resnet")
    with pytest.raises(ModelUnavailable, match="NaFlex"):
        vision(tmp_path / "naflex")


def test_code_that_comes_with_a_model_is_not_run(folders, tmp_path):
    import json
    import shutil

    hostile = shutil.copytree(folders["dinov2"], tmp_path / "hostile")
    config = json.loads((hostile / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (hostile / "config.json").write_text(json.dumps(config))
    (hostile / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(ModelUnavailable):
        vision(hostile).embed_batch(IMAGES)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["siglip-headless", "vit", "dinov2"])
def test_positions_are_interpolated_in_full_precision_under_half(folders, kind):
    import torch
    from transformers import AutoModel

    from core.encoders.hf_vision import _keep_positions_exact

    model = AutoModel.from_pretrained(folders[kind], dtype=torch.bfloat16).eval()
    exact = AutoModel.from_pretrained(folders[kind], dtype=torch.bfloat16).eval().embeddings.float()
    options = {} if kind == "dinov2" else {"interpolate_pos_encoding": True}
    pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0)).bfloat16()
    _keep_positions_exact(model, torch.bfloat16)
    with torch.inference_mode():
        got, expected = model.embeddings(pixels, **options), exact(pixels.float(), **options)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, expected.bfloat16())

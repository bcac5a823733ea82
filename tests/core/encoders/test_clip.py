"""The CLIP adapter against transformers itself, and against a forward pass written out by hand."""

from __future__ import annotations

import dataclasses
import gc
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core.encoders import _torch_patches, create_encoder
from core.errors import InvalidSettings, ModelUnavailable
from core.ports import TextEncoder
from core.scoring_basis import normalise
from core.scoring_text import reads_text
from core.settings import PipelineSettings
from tests.core.encoders.tiny_models import picture, tiny_clip, tiny_vision, write_preprocessor

ROOT = Path(__file__).resolve().parents[3]
IMAGES = [picture(1, (64, 64)), picture(2, (64, 64)), picture(3, (64, 64))]  # native: nothing is resized


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


@pytest.fixture(scope="module")
def reference(folder):
    """transformers' own model and processor, loaded by transformers' own means."""
    from transformers import CLIPModel, CLIPProcessor

    return CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)


def settings_for(folder, *, resolution=64, patch=16, **more) -> PipelineSettings:
    sizes = {"input_resolution": resolution, "support_res": resolution, "support_patch_size": patch}
    return PipelineSettings(encoder="clip", encoder_model=str(folder), **sizes, **more)


def clip(folder, *, resolution=64, patch=16, **more):
    return create_encoder(
        "clip", settings_for(folder, resolution=resolution, patch=patch, **more), resolution, threads=1
    )


def their_pixels(reference, images):
    return reference[1].image_processor(images, return_tensors="pt")["pixel_values"]


def their_tokens(reference, pixels, **options) -> np.ndarray:
    """(n, gh, gw, d), not normalised"""
    import torch

    model = reference[0]
    with torch.inference_mode():
        hidden = model.vision_model(pixel_values=pixels, **options).last_hidden_state
        tokens = model.visual_projection(model.vision_model.post_layernorm(hidden))[:, 1:]
    side = round(tokens.shape[1] ** 0.5)
    return tokens.reshape(len(tokens), side, side, -1).numpy()


# --------------------------------------------------------------------------- equal to transformers
@pytest.mark.parametrize("dense", ["tokens", "maskclip"])
def test_the_whole_is_transformers_own_image_embeds(folder, reference, dense):
    import torch

    inputs = reference[1](text=["a photo of a cat"], images=IMAGES, return_tensors="pt", padding=True)
    with torch.inference_mode():
        expected = reference[0](**inputs).image_embeds.numpy()
    got = clip(folder, dense=dense).embed_batch(IMAGES, whole_map=True)
    np.testing.assert_allclose(got.whole, expected, atol=1e-5)
    assert got.whole_map is None  # a class token is no mean over positions
    assert np.linalg.norm(got.whole[0] - got.whole[1]) > 0.01


def test_pixels_are_those_of_clips_own_processor(folder, reference):
    encoder = clip(folder)
    ours = encoder._preprocessing.pixels(IMAGES)
    np.testing.assert_allclose(ours, their_pixels(reference, IMAGES).numpy(), atol=1e-6)
    resized = encoder._preprocessing.square(picture(4, (200, 200)), 64)
    theirs = their_pixels(reference, [picture(4, (200, 200))]).numpy()
    np.testing.assert_allclose(encoder._preprocessing.pixels([resized]), theirs, atol=1e-6)


@pytest.mark.parametrize("resolution", [32, 96, 128])
def test_other_resolutions_are_transformers_interpolated_positions(folder, reference, resolution):
    import torch

    images = [picture(5, (resolution, resolution))]
    encoder = clip(folder, resolution=resolution)
    pixels = torch.from_numpy(encoder._preprocessing.pixels(images))
    expected = their_tokens(reference, pixels, interpolate_pos_encoding=True)
    got = encoder.embed_batch(images).patches
    assert got.shape[1:3] == (resolution // 16,) * 2
    np.testing.assert_allclose(got, normalise(expected), atol=1e-5)


# --------------------------------------------------------------------------- equal to a forward by hand
def by_hand(folder, pixels):
    """(input of the last layer, its output, the value features of the last layer), in float64, from the file."""
    from safetensors.numpy import load_file

    w = {
        k.removeprefix("vision_model."): v.astype(np.float64)
        for k, v in load_file(folder / "model.safetensors").items()
    }
    n, heads, width = len(pixels), 4, 32

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def split(x):
        return x.reshape(n, -1, heads, width // heads).transpose(0, 2, 1, 3)

    blocks = pixels.reshape(n, 3, 4, 16, 4, 16).transpose(0, 2, 4, 1, 3, 5).reshape(n, 16, -1)
    x = blocks @ w["embeddings.patch_embedding.weight"].reshape(width, -1).T
    x = np.concatenate([np.broadcast_to(w["embeddings.class_embedding"], (n, 1, width)), x], axis=1)
    x = norm(x + w["embeddings.position_embedding.weight"], "pre_layrnorm")
    for number in (0, 1):
        layer = f"encoder.layers.{number}"
        h = norm(x, f"{layer}.layer_norm1")
        q, k, v = (linear(h, f"{layer}.self_attn.{p}_proj") for p in "qkv")
        logits = split(q) @ split(k).transpose(0, 1, 3, 2) / np.sqrt(width // heads)
        share = np.exp(logits - logits.max(-1, keepdims=True))
        share /= share.sum(-1, keepdims=True)
        x = x + linear((share @ split(v)).transpose(0, 2, 1, 3).reshape(n, -1, width), f"{layer}.self_attn.out_proj")
        h = linear(norm(x, f"{layer}.layer_norm2"), f"{layer}.mlp.fc1")
        x = x + linear(h / (1 + np.exp(-1.702 * h)), f"{layer}.mlp.fc2")  # CLIP's quick GELU
    values = linear(v, f"{layer}.self_attn.out_proj")
    return (norm(t, "post_layernorm") @ w["visual_projection.weight"].T for t in (x, values))


@pytest.mark.parametrize("dense", ["tokens", "maskclip"])
def test_patches_equal_a_forward_written_by_hand(folder, reference, dense):
    hidden, values = by_hand(folder, their_pixels(reference, IMAGES).numpy().astype(np.float64))
    expected = normalise((hidden if dense == "tokens" else values)[:, 1:].reshape(3, 4, 4, -1))
    got = clip(folder, dense=dense).embed_batch(IMAGES)
    np.testing.assert_allclose(got.patches, expected, atol=1e-5)
    np.testing.assert_allclose(got.whole, normalise(hidden[:, 0]), atol=1e-5)


def test_maskclip_is_another_thing_than_tokens(folder):
    tokens, values = (clip(folder, dense=d).embed_batch(IMAGES).patches for d in ("tokens", "maskclip"))
    assert np.abs(tokens - values).max() > 0.05


# --------------------------------------------------------------------------- patches of another size
def test_larger_patches_are_the_means_of_the_models_own(folder, reference):
    fine = their_tokens(reference, their_pixels(reference, IMAGES))
    expected = np.zeros((3, 2, 2, 16), np.float32)
    for row in (0, 1):
        for column in (0, 1):
            cells = fine[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            expected[:, row, column] = cells.mean(axis=(1, 2))
    got = clip(folder, patch=32)
    assert got.patch_pixels == 32
    np.testing.assert_allclose(got.embed_batch(IMAGES).patches, normalise(expected), atol=1e-5)


@pytest.mark.parametrize("patch", [16, 24, 48])
def test_crops_are_each_a_pass_of_its_own(folder, patch):
    """24 is no multiple of the model's 16, which pooling refuses and crops allow."""
    encoder = clip(folder, resolution=96 if patch != 16 else 64, patch=patch, patch_mode="crops")
    side = encoder._resolution
    images = [picture(6, (side, side)), picture(7, (side, side))]
    got = encoder.embed_batch(images)
    alone, cells = clip(folder), side // patch
    assert got.patches.shape == (2, cells, cells, 16)
    for row in range(cells):
        for column in range(cells):
            box = (column * patch, row * patch, (column + 1) * patch, (row + 1) * patch)
            expected = alone.embed_batch([image.crop(box) for image in images]).whole
            np.testing.assert_allclose(got.patches[:, row, column], expected, atol=1e-5)
    np.testing.assert_allclose(got.whole, clip(folder, resolution=side).embed_batch(images).whole, atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"resolution": 72, "patch": 24, "patch_mode": "crops"}, "multiple of 16, and 72 is not. Choose 64 or 80"),
        ({"resolution": 96, "patch": 24}, "multiple of 16, and 24 is not. Choose 16 or 32, or patch_mode crops"),
        ({"resolution": 64, "patch": 8}, "multiple of 16, and 8 is not"),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_the_reason(folder, sizes, words):
    with pytest.raises(InvalidSettings, match=words):
        clip(folder, **sizes)


def test_a_patch_that_does_not_divide_this_resolution_is_refused(folder):
    with pytest.raises(InvalidSettings, match="48 does not divide the resolution 64"):
        create_encoder("clip", settings_for(folder, resolution=96, patch=48), 64)


@pytest.mark.parametrize("change", [{"dense": "attention"}, {"patch_mode": "tiles"}])
def test_an_unknown_mode_is_answered_with_those_there_are(change):
    with pytest.raises(InvalidSettings, match=r"there are: (tokens, maskclip|pooled, crops)"):
        PipelineSettings(**change)


@pytest.mark.parametrize("change", [{"encoder_model": "openai/clip-vit-base-patch32"}, {"patch_mode": "crops"}])
def test_the_default_encoder_refuses_what_is_for_others(change):
    with pytest.raises(InvalidSettings, match="clip"):
        create_encoder("efficientnet-lite0", PipelineSettings(**change), 224)


# --------------------------------------------------------------------------- loading
def test_nothing_is_asked_of_the_network(folder, monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert len(clip(folder).embed_batch(IMAGES)) == 3
    with pytest.raises(ModelUnavailable):
        create_encoder("clip", PipelineSettings(encoder_model="nobody/nothing"), 224)


def test_a_saved_model_loads_offline_in_a_process_of_its_own(folder):
    code = (
        "from PIL import Image; from core.encoders import create_encoder; from core.settings import PipelineSettings\n"
        f"s = PipelineSettings(encoder_model={str(folder)!r}, input_resolution=64, support_res=64)\n"
        "e = create_encoder('clip', s, 64, threads=1).embed_batch([Image.new('RGB', (50, 40))])\n"
        "print(e.patches.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"HF_HUB_OFFLINE": "1", "HOME": "/nowhere"}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "(1, 2, 2, 16)"
    assert done.stderr == ""  # no bars and no reports between the lines of a command


def test_the_processors_file_of_older_versions_is_read_as_well(folder, tmp_path):
    older = tiny_clip(tmp_path / "older", older=True)
    assert not (older / "processor_config.json").exists()
    np.testing.assert_array_equal(
        clip(older).embed_batch(IMAGES).patches, clip(folder).embed_batch(IMAGES).patches
    )  # fmt: skip


def test_the_vision_part_alone_is_enough(folder, tmp_path):
    """A checkpoint of CLIPVisionModelWithProjection."""
    from transformers import CLIPConfig, CLIPVisionModelWithProjection

    config = CLIPConfig.from_pretrained(folder)
    config.vision_config.projection_dim = config.projection_dim
    CLIPVisionModelWithProjection.from_pretrained(folder, config=config.vision_config).save_pretrained(tmp_path / "v")
    shutil.copy(folder / "processor_config.json", tmp_path / "v")
    for a, b in zip(
        dataclasses.astuple(clip(tmp_path / "v").embed_batch(IMAGES))[:2],
        dataclasses.astuple(clip(folder).embed_batch(IMAGES))[:2],
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_both_resolutions_share_one_network_which_is_loaded_at_the_first_image(folder, tmp_path, monkeypatch):
    loads = []
    load = _torch_patches.loaded

    def counted(key, make):
        return load(key, lambda where: (loads.append(key), make(where))[1])

    monkeypatch.setattr(_torch_patches, "loaded", counted)
    small, large = clip(folder), clip(folder, resolution=96)
    assert loads == []
    for encoder in (small, large, small):
        encoder.embed_batch(IMAGES)
    assert len(loads) == 1
    assert small._held is large._held and clip(folder) is small
    del small, large, encoder
    clip(folder, dense="maskclip").embed_batch(IMAGES)
    gc.collect()
    assert len(loads) == 2 and not _torch_patches._held  # what nobody uses is let go of


def test_threads_that_ask_at_once_share_one_encoder_and_load_one_network(tmp_path, monkeypatch):
    model, loads = tiny_clip(tmp_path / "of-its-own", seed=3), []
    load = _torch_patches.loaded
    monkeypatch.setattr(
        _torch_patches, "loaded", lambda key, make: load(key, lambda where: (loads.append(key), make(where))[1])
    )
    start = threading.Barrier(4)

    def embed(resolution):
        start.wait()
        encoder = create_encoder("clip", settings_for(model, k_retrieval=resolution // 32), resolution, threads=1)
        return encoder, encoder.embed_batch(IMAGES)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(embed, [64, 64, 96, 96]))
    assert len(loads) == 1 and len({id(encoder) for encoder, _ in results}) == 2
    for encoder, got in results:
        np.testing.assert_allclose(got.whole, encoder.embed_batch(IMAGES).whole, atol=1e-6)


def test_half_precision_is_near_and_has_an_id_and_a_device_of_its_own(folder, monkeypatch):
    exact = clip(folder, resolution=96)
    monkeypatch.setattr(_torch_patches, "placement", lambda device: _torch_patches.Placement("cpu", "bfloat16"))
    half = clip(folder, resolution=96)
    assert exact.device == "cpu · torch float32" and "bfloat16" in half.device and half.id != exact.id
    a, b = exact.embed_batch(IMAGES), half.embed_batch(IMAGES)
    assert b.patches.dtype == b.whole.dtype == np.float32
    assert 0 < np.abs(a.whole - b.whole).max() < 0.05
    assert (a.patches * b.patches).sum(-1).min() > 0.99
    assert _torch_patches.Placement("cuda:0", "bfloat16").words == "cuda:0 · bfloat16"


# --------------------------------------------------------------------------- the id
def test_the_id_changes_with_all_that_changes_an_embedding_and_with_nothing_else(folder, tmp_path):
    same = shutil.copytree(folder, tmp_path / "copy" / folder.name)
    other = tiny_clip(tmp_path / "other" / folder.name, seed=1)
    lighter = shutil.copytree(folder, tmp_path / "lighter" / folder.name)
    write_preprocessor(lighter)
    sharper = shutil.copytree(folder, tmp_path / "activation" / folder.name)
    config = (sharper / "config.json").read_text().replace("quick_gelu", "gelu")
    (sharper / "config.json").write_text(config)
    assert clip(same).id == clip(folder).id
    encoders = [
        clip(folder), clip(other), clip(lighter), clip(sharper), clip(folder, dense="maskclip"),
        clip(folder, patch_mode="crops"), clip(folder, patch=32), clip(folder, resolution=96),
    ]  # fmt: skip
    assert len({e.id for e in encoders}) == len(encoders)


# --------------------------------------------------------------------------- what is not there
def test_a_model_that_is_no_clip_is_named_with_the_encoder_that_may_load_it(tmp_path):
    with pytest.raises(ModelUnavailable, match=r"no CLIP but a “dinov2” model\. The encoder hf-vision"):
        clip(tiny_vision("dinov2", tmp_path / "dino"))


@pytest.mark.parametrize("damage", ["cut", "tensor", "config", "empty config"])
def test_damaged_files_are_a_sentence(folder, tmp_path, damage):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.chmod(0o600)
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "tensor":
        tensors = load_file(weights)
        del tensors["vision_model.post_layernorm.weight"]
        save_file(tensors, weights, metadata={"format": "pt"})
    else:
        (broken / "config.json").write_text("{" if damage == "config" else "{}")
    with pytest.raises(ModelUnavailable) as caught:
        clip(broken).embed_batch(IMAGES)
    sentence = str(caught.value)
    assert str(broken) in sentence and "\n" not in sentence and sentence.endswith(".")
    assert damage != "tensor" or "vision_model.post_layernorm.weight" in sentence


# --------------------------------------------------------------------------- text
TEXTS = ["a photo of a crack.", "x", "a photo of a scratch, thin and bright. " * 9]  # the last is cut at 77 tokens


def test_texts_equal_transformers_own_text_embeddings(folder, reference):
    import torch

    model, processor = reference
    encoder = clip(folder)
    assert isinstance(encoder, TextEncoder)
    tokens = processor.tokenizer(TEXTS, padding=True, truncation=True, max_length=77, return_tensors="pt")
    with torch.inference_mode():
        output = model(**tokens, pixel_values=their_pixels(reference, IMAGES))
    got = encoder.embed_texts(TEXTS)
    assert got.shape == (3, 16) and got.dtype == np.float32
    np.testing.assert_allclose(got, output.text_embeds.numpy(), atol=1e-5)
    whole = encoder.embed_batch(IMAGES).whole
    np.testing.assert_allclose(encoder.text_scale * whole @ got.T, output.logits_per_image.numpy(), atol=1e-4)
    assert encoder.embed_texts([]).shape == (0, 16)


def test_texts_are_read_offline_in_a_process_of_their_own(folder):
    code = (
        "from core.encoders import create_encoder; from core.settings import PipelineSettings\n"
        f"s = PipelineSettings(encoder_model={str(folder)!r}, input_resolution=64, support_res=64)\n"
        "e = create_encoder('clip', s, 64, threads=1)\n"
        "print(e.embed_texts(['a', 'b']).shape, round(e.text_scale, 2))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={"HF_HUB_OFFLINE": "1", "HOME": "/nowhere"}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "(2, 16) 14.28" and done.stderr == ""


def test_a_clip_without_its_text_half_is_an_encoder_that_reads_no_text(folder, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "bare")
    for name in ("tokenizer.json", "vocab.json", "merges.txt"):
        (bare / name).unlink(missing_ok=True)
    assert not reads_text(clip(bare)) and len(clip(bare).embed_batch(IMAGES)) == 3
    assert reads_text(clip(folder)) and not reads_text(create_encoder("efficientnet-lite0", PipelineSettings(), 224))


def test_a_damaged_text_half_is_a_sentence(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(folder, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    del tensors["text_projection.weight"], tensors["logit_scale"]
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    encoder = clip(broken)
    with pytest.raises(ModelUnavailable, match=r"lack the tensor text_projection\.weight"):
        encoder.embed_texts(["a"])
    with pytest.raises(ModelUnavailable, match="lack the tensor logit_scale"):
        _ = encoder.text_scale

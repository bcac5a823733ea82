"""The default encoder equals the published network, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.encoders import create_encoder
from core.encoders._torch_file import read_state_dict
from core.encoders.efficientnet_lite0 import EfficientNetLite0, _weights_path
from core.errors import InvalidSettings, ModelUnavailable, UnknownAdapter
from core.settings import PipelineSettings


def picture(seed: int, size=(97, 61)) -> Image.Image:
    """Smooth colours with an edge: closer to a photograph than noise is."""
    small = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("weights")


def encoder(cache, resolution=224, **settings):
    return create_encoder("efficientnet-lite0", PipelineSettings(**settings), resolution, cache_dir=cache, threads=1)


@pytest.mark.parametrize("resolution", [224, 96])
def test_embeddings_equal_plain_torch(cache, resolution):
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    model = EfficientNet.from_name("efficientnet-lite0", image_size=resolution)
    model.load_state_dict(torch.load(_weights_path(), weights_only=True))
    model.eval()
    images = [picture(1), picture(2, (40, 200))]
    got = encoder(cache, resolution).embed_batch(images, whole_map=True)
    with torch.inference_mode():
        pixels = np.stack([np.asarray(i.resize((resolution, resolution), Image.Resampling.BICUBIC)) for i in images])
        x = torch.from_numpy((pixels.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
        x = model._swish(model._bn0(model._conv_stem(x)))
        for block in model._blocks:
            x = block(x)
        head = model._swish(model._bn1(model._conv_head(x))).permute(0, 2, 3, 1)
        patches = torch.nn.functional.normalize(x.permute(0, 2, 3, 1), dim=-1)
        whole = torch.nn.functional.normalize(head.mean((1, 2)), dim=-1)
    np.testing.assert_allclose(got.patches, patches.numpy(), atol=1e-5)
    np.testing.assert_allclose(got.whole, whole.numpy(), atol=1e-5)
    np.testing.assert_allclose(got.whole_map, head.numpy(), atol=1e-4)
    assert got.patches.shape == (2, resolution // 32, resolution // 32, 320)


@pytest.mark.parametrize(("resolution", "together"), [(96, 8), (224, 8), (448, 2), (1024, 1)])
def test_a_run_holds_no_more_pixels_at_a_higher_resolution(resolution, together):
    """onnxruntime keeps what its largest run took: eight images of 1024 pixels are two gigabytes for good."""
    seen, side = [], resolution // 32

    class Session:
        def run(self, outputs, feed):
            seen.append(n := len(feed["images"]))
            return [np.ones((n, side, side, 320), np.float32), np.ones((n, 1280), np.float32)]

    made = EfficientNetLite0(Session(), "0" * 64, resolution, 32).embed_batch([picture(1)] * 8)
    assert len(made) == 8 and seen == [together] * (8 // together)


def test_weights_are_read_as_torch_reads_them():
    import torch

    ours, theirs = read_state_dict(_weights_path()), torch.load(_weights_path(), weights_only=True)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name], tensor.numpy())


def test_a_weights_file_with_code_in_it_runs_nothing(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    path = tmp_path / "bad.pth"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelUnavailable, match="not allowed"):
        read_state_dict(path)
    assert not (tmp_path / "ran").exists()


def test_encoding_imports_no_torch(cache):
    code = (
        "import sys; from pathlib import Path; from PIL import Image\n"
        "from core.encoders import create_encoder; from core.settings import PipelineSettings\n"
        f"e = create_encoder('efficientnet-lite0', PipelineSettings(), 224, cache_dir=Path({str(cache)!r}))\n"
        "e.embed_batch([Image.new('RGB', (50, 40))])\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_damaged_converted_model_is_made_again(tmp_path):
    from core.encoders import efficientnet_lite0 as module

    digest = module._file_hash(str(_weights_path()))
    first = module._exported(_weights_path(), digest, tmp_path)
    (path,) = tmp_path.glob("*.onnx")
    path.write_bytes(first[: len(first) // 2])
    assert module._exported(_weights_path(), digest, tmp_path) == first
    assert path.read_bytes() == first


def test_without_a_folder_to_keep_it_the_model_is_made_all_the_same(tmp_path, cache):
    from core.encoders import efficientnet_lite0 as module

    blocked = tmp_path / "a file"
    blocked.write_text("not a folder")
    digest = module._file_hash(str(_weights_path()))
    kept = module._exported(_weights_path(), digest, cache)
    assert module._exported(_weights_path(), digest, blocked / "below") == kept
    assert module._exported(_weights_path(), digest, None) == kept


def test_larger_patches_are_means_of_the_network_s(cache):
    image = [picture(3)]
    fine = encoder(cache, 128, support_patch_size=32, input_resolution=128, support_res=128)
    coarse = encoder(cache, 128, support_patch_size=64, input_resolution=128, support_res=128)
    assert coarse.embed_batch(image).patches.shape == (1, 2, 2, 320)
    assert coarse.embed_batch(image, whole_map=True).whole_map.shape == (1, 4, 4, 1280)
    np.testing.assert_array_equal(coarse.embed_batch(image).whole, fine.embed_batch(image).whole)
    assert coarse.id != fine.id


@pytest.mark.parametrize(
    ("resolution", "settings", "words"),
    [
        (225, {}, "multiple of 32"),
        (240, {}, "multiple of 32"),
        (224, {"support_patch_size": 16}, "support_patch_size"),
        (224, {"support_patch_size": 64, "input_resolution": 256, "support_res": 256}, "does not divide"),
    ],
)
def test_sizes_that_cannot_be_are_refused_with_the_reason(cache, resolution, settings, words):
    with pytest.raises(InvalidSettings, match=words):
        encoder(cache, resolution, **settings)


def test_an_unknown_encoder_is_answered_with_those_there_are():
    with pytest.raises(UnknownAdapter, match="efficientnet-lite0"):
        create_encoder("resnet", PipelineSettings(), 224)

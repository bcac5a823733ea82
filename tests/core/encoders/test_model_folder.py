"""Finding a model on this machine, and saying what to do where it is not."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from core import model_folder
from core.encoders import create_encoder
from core.encoders._model_folder import find_model
from core.errors import ModelUnavailable
from core.settings import PipelineSettings
from tests.core.encoders.tiny_models import tiny_clip

COMMIT, OTHER = "a" * 39 + "1", "b" * 39 + "2"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("find") / "tiny")


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    return tmp_path / "hub"


def snapshot(hub: Path, model: str, commit: str, source: Path | None, *, ref: str = "main") -> Path:
    """As huggingface_hub lays it out: files are links into blobs."""
    root = hub / f"models--{model.replace('/', '--')}"
    folder = root / "snapshots" / commit
    folder.mkdir(parents=True)
    (root / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
    (root / "refs" / ref).write_text(commit)
    for path in source.iterdir() if source else ():
        (root / "blobs").mkdir(exist_ok=True)
        shutil.copy(path, root / "blobs" / path.name)
        (folder / path.name).symlink_to(Path("../../blobs") / path.name)
    return folder


def reason(model: str, encoder: str = "clip") -> str:
    with pytest.raises(ModelUnavailable) as caught:
        create_encoder(encoder, PipelineSettings(encoder_model=model), 224)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_a_hub_id_is_found_in_the_cache_and_known_by_its_commit(hub, tiny):
    folder = snapshot(hub, "some/clip", COMMIT, tiny)
    found = find_model("clip", "some/clip")
    assert (found.path, found.digest, found.name, found.slug) == (folder, COMMIT, "some/clip", "some-clip")
    sizes = {"input_resolution": 64, "support_res": 64, "support_patch_size": 16}
    encoder = create_encoder("clip", PipelineSettings(encoder_model="some/clip", **sizes), 64, threads=1)
    from PIL import Image

    assert encoder.id.startswith(f"clip-some-clip-{COMMIT[:12]}-")
    assert len(encoder.embed_batch([Image.new("RGB", (80, 60))])) == 1


def test_the_main_branch_goes_first_and_another_revision_serves_where_it_has_no_safetensors(hub, tiny):
    main = snapshot(hub, "some/clip", COMMIT, tiny)
    other = snapshot(hub, "some/clip", OTHER, tiny, ref="refs/pr/15")
    os.utime(other, (2**31, 2**31))
    assert find_model("clip", "some/clip").path == main
    (main / "model.safetensors").unlink()
    assert find_model("clip", "some/clip").digest == OTHER


def test_weights_that_are_nowhere_are_a_sentence_with_the_file_the_place_and_the_command(hub):
    sentence = reason("")
    assert "model.safetensors of openai/clip-vit-base-patch32" in sentence
    assert str(hub / "models--openai--clip-vit-base-patch32") in sentence
    # that repository's main branch has no safetensors file
    command = "hf download openai/clip-vit-base-patch32 --revision refs/pr/15"
    assert sentence.endswith(f'Get it with: {command} --include "*.json" --include "*.safetensors"')
    assert reason("facebook/dinov2-base", "hf-vision").endswith(
        'hf download facebook/dinov2-base --include "*.json" --include "*.safetensors"'
    )


def test_the_command_names_the_environments_own_tool_where_the_shell_has_none(hub, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert f"Get it with: {Path(sys.executable).parent / 'hf'} download " in reason("some/clip")


def test_pickled_weights_are_not_loaded_and_the_reason_is_said(hub, tiny, tmp_path):
    folder = snapshot(hub, "some/clip", COMMIT, tiny)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"anything")
    assert "pytorch_model.bin is there, but such files can run code" in reason("some/clip")
    local = shutil.copytree(tiny, tmp_path / "local")
    (local / "model.safetensors").rename(local / "pytorch_model.bin")
    assert f"looked for model.safetensors in {local}. pytorch_model.bin is there, but" in reason(str(local))


def test_a_download_that_was_cut_off_names_the_missing_part(hub, tiny):
    folder = snapshot(hub, "some/clip", COMMIT, tiny)
    (folder / "model.safetensors").unlink()
    shards = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"")
    assert "looked for model-00002-of-00002.safetensors of some/clip" in reason("some/clip")


@pytest.mark.parametrize(
    "model", ["/not/there", "../other", "~/nothing/there", "a/b/c", "-x/--y", "ü/ü", "a/../b", "x\ny"]
)
def test_a_folder_that_is_not_there_is_said_to_be_none(hub, model):
    with pytest.raises(ModelUnavailable, match="which is not there"):
        find_model("clip", model)


def test_a_folder_without_files_or_without_a_processor_says_which_file(hub, tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    assert f"looked for config.json in {tmp_path / 'empty'}" in reason(str(tmp_path / "empty"))
    bare = shutil.copytree(tiny, tmp_path / "bare")
    (bare / "processor_config.json").unlink()
    with pytest.raises(ModelUnavailable, match=r"no preprocessor_config\.json"):
        create_encoder("clip", PipelineSettings(encoder_model=str(bare)), 224)
    (bare / "preprocessor_config.json").write_text('{"image_mean": [0.5], "image_std": [0.5, 0.5, 0.5]}')
    with pytest.raises(ModelUnavailable, match="no usable image_mean"):
        create_encoder("clip", PipelineSettings(encoder_model=str(bare)), 224)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({}, "/me/.cache/huggingface/hub"),
    ],
)
def test_the_cache_is_where_huggingface_hub_keeps_it(monkeypatch, variables, expected):
    import subprocess

    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (variables | {"HOME": "/me"}).items():
        monkeypatch.setenv(name, value)
    assert str(model_folder.hub_cache()) == expected
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    own = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert own.stdout.strip() == expected

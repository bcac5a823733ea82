"""CLIP's patches: one dense pass an image against one pass a crop, as a naive retrieval engine does it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from core.encoders import create_encoder
from core.settings import PipelineSettings
from ragvision_app.bench._clock import in_turn, seconds
from ragvision_app.bench._projects import quiet, scratch, texture
from ragvision_app.bench._row import Figure, Row, RowFailed, Scale, at_least

WHAT = "CLIP's patches"
_TINY = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def measure(scale: Scale) -> Row:
    """The same network both ways, on one thread, of the size of CLIP B/32 with random weights."""
    n = scale.pick(1, 2)
    with scratch() as folder:
        model = random_clip(folder / "clip", {} if scale is not Scale.TINY else _TINY)
        settings = PipelineSettings(encoder="clip", encoder_model=str(model))
        side, patch = settings.support_res, settings.support_patch_size
        dense, crops = (
            create_encoder("clip", replace(settings, patch_mode=mode), side, threads=1) for mode in ("pooled", "crops")
        )
        image = Image.open(texture(folder / "1.jpg", 1)).convert("RGB")
        corners = [(left, top) for top in range(0, side, patch) for left in range(0, side, patch)]
        made: dict[str, int] = {}

        def ours() -> None:
            grid = dense.embed_batch([image]).grid
            made["ours"] = grid[0] * grid[1]

        def theirs() -> None:
            resized = image.resize((side, side), Image.Resampling.BICUBIC)
            made["theirs"] = sum(
                len(dense.embed_batch([resized.crop((left, top, left + patch, top + patch))])) for left, top in corners
            )

        fast, slow = in_turn(ours, theirs, n)
        together = seconds(lambda: crops.embed_batch([image])) * 1000
        device = dense.device
    if made["ours"] != made["theirs"]:
        raise RowFailed(f"The two ways embedded {made['ours']} and {made['theirs']} patches.")
    return Row(
        what=f"{WHAT}, one image of {made['ours']}",
        ours=Figure("one dense pass", fast),
        against=Figure("one pass a crop", slow),
        ratio=slow / fast,
        n=n,
        checks=(at_least("faster", slow / fast, 20, "×"),),
        facts={"crops in batches (patch_mode crops), ms": together, "device": device},
        note="The size of CLIP ViT-B/32 with random weights: they take as long as real ones.",
    )


def random_clip(folder: Path, sizes: dict[str, Any]) -> Path:
    """A CLIP's vision part as a folder that the adapter loads as it loads a real one."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    with quiet():
        CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes)).save_pretrained(folder)
    numbers = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "rescale_factor": 1 / 255, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(numbers))
    return folder

"""The text half of a CLIP: class texts in the space of the image embedding.

It is needed for a moment when a class is named, so it is loaded for that, on the CPU in float32, and let go of.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp
from typing import Any

import numpy as np

from core.encoders._model_folder import ModelFolder
from core.encoders._torch_patches import loading
from core.errors import ModelUnavailable
from core.scoring_basis import normalise
from core.types import Float32

_BATCH = 64  # prompts a forward pass


def has_text(folder: ModelFolder, kind: str) -> bool:
    """Whether a model of this kind has a text half, with a tokenizer in its folder."""
    vocabulary = ("tokenizer.json",), ("vocab.json", "merges.txt")
    return kind == "clip" and any(all((folder.path / name).is_file() for name in names) for names in vocabulary)


def scale_of(folder: ModelFolder) -> float:
    """exp(logit_scale): what a cosine was multiplied with when the model was trained."""
    from safetensors import safe_open

    with loading(folder):
        for path in sorted(folder.path.glob("*.safetensors")):
            with safe_open(path, framework="numpy") as file:
                if "logit_scale" in set(file.keys()):
                    return exp(float(file.get_tensor("logit_scale")))
    raise ModelUnavailable(f"The weights in {folder.path} lack the tensor logit_scale.")


def embed(folder: ModelFolder, texts: Sequence[str]) -> Float32:
    """(n, g) L2-normalised; what is longer than the model reads is cut off. ModelUnavailable for damaged files."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, CLIPTextModelWithProjection

    kind: Any = CLIPTextModelWithProjection
    with loading(folder):
        local = {"local_files_only": True, "trust_remote_code": False}
        config = AutoConfig.from_pretrained(folder.path, **local)
        text = config.text_config
        text.projection_dim = config.projection_dim  # its own is a width that nothing uses
        tokenizer: Any = AutoTokenizer.from_pretrained(folder.path, **local)
        model, report = kind.from_pretrained(
            folder.path,
            config=text,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        if report["missing_keys"]:
            raise ModelUnavailable(f"The weights in {folder.path} lack the tensor {sorted(report['missing_keys'])[0]}.")
        model = model.eval()
        parts = [np.zeros((0, config.projection_dim), np.float32)]
        for start in range(0, len(texts), _BATCH):
            tokens = tokenizer(
                list(texts[start : start + _BATCH]),
                padding=True,
                truncation=True,
                max_length=text.max_position_embeddings,
                return_tensors="pt",
            )
            with torch.inference_mode():
                output = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
            parts.append(output.text_embeds.numpy())  # (n, g)
    return normalise(np.concatenate(parts))

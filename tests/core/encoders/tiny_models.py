"""Tiny random models, built and saved offline in the format of the real ones: the adapters cannot tell.

Their numbers are meaningless; their files, names of tensors and code paths are those of the published models.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
LAYERS = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}


def picture(seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """Smooth colours, nearer to a photograph than noise is."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def tiny_clip(folder: Path, *, side: int = 64, patch: int = 16, seed: int = 0, older: bool = False) -> Path:
    """A CLIP with its processor, by save_pretrained; ``older`` writes preprocessor_config.json as older versions do."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import CLIPConfig, CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers import CLIPImageProcessorPil as ImageProcessor

    torch.set_num_threads(1)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    end = vocabulary["<|endoftext|>"]
    text = LAYERS | {"vocab_size": len(vocabulary), "max_position_embeddings": 77}
    text |= {"bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": end, "pad_token_id": end}
    vision = LAYERS | {"image_size": side, "patch_size": patch}
    torch.manual_seed(seed)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).eval()
    spread(model)
    processor = CLIPProcessor(
        ImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side}),
        CLIPTokenizer(vocab=vocabulary, merges=[]),
    )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    if older:
        (folder / "processor_config.json").unlink()
        write_preprocessor(folder, CLIP_MEAN, CLIP_STD)
    return folder


def spread(model) -> None:
    """Biases and norms that are zeros and ones at first would hide a forgotten layer."""
    import torch

    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1:
                value += 0.1 * torch.randn(value.shape, generator=generator)
            elif "position_embedding" in name or "patch_embedding" in name:
                value += 0.2 * torch.randn(value.shape, generator=generator)


def write_preprocessor(folder: Path, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), **more) -> None:
    values = {"image_mean": list(mean), "image_std": list(std), "do_normalize": True, "do_rescale": True}
    values |= {"rescale_factor": 1 / 255, "resample": 3} | more
    (folder / "preprocessor_config.json").write_text(json.dumps(values))


def tiny_vision(kind: str, folder: Path, *, side: int = 64, patch: int = 16, seed: int = 0) -> Path:
    """``dinov2``, ``registers``, ``dinov3``, ``vit``, ``siglip`` (with its text part) or ``siglip-headless``."""
    import torch
    import transformers as t

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    size = {"image_size": side, "patch_size": patch}
    dino = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4} | size
    if kind == "dinov2":
        model = t.Dinov2Model(t.Dinov2Config(**dino))
    elif kind == "registers":
        model = t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**dino, num_register_tokens=4))
    elif kind == "dinov3":
        model = t.DINOv3ViTModel(t.DINOv3ViTConfig(**dino, intermediate_size=64, num_register_tokens=4))
    elif kind == "vit":
        model = t.ViTForImageClassification(t.ViTConfig(**LAYERS, **size))  # saved without a pooler
    elif kind == "siglip":
        text = LAYERS | {"vocab_size": 40, "max_position_embeddings": 8}
        model = t.SiglipModel(t.SiglipConfig(text_config=text, vision_config=LAYERS | size))
    elif kind == "siglip-headless":
        model = t.SiglipVisionModel(t.SiglipVisionConfig(**LAYERS, **size, vision_use_head=False))
    else:
        raise ValueError(kind)
    spread(model)
    model.eval().save_pretrained(folder)
    write_preprocessor(folder)
    return folder

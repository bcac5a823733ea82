"""CLIP through transformers: dense patch tokens and the image embedding out of one forward pass.

Patches are ``visual_projection(post_layernorm(last_hidden_state))`` without the class token, so they live in
the space of the image embedding, which is the whole. ``dense="maskclip"`` takes the value features of the
last layer instead (Zhou et al. 2021, arXiv 2112.01071): its attention replaced by the identity, without the
residual and the MLP. Last-layer tokens are not purely local; value features are more so.

Where the folder holds the text half and its tokenizer, the encoder reads class names too.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.encoders._clip_text import embed, has_text, scale_of
from core.encoders._model_folder import ModelFolder, files_of, find_model
from core.encoders._sizes import patch_of
from core.encoders._torch_patches import (
    Network,
    Placement,
    Shape,
    Tokens,
    TorchPatchEncoder,
    check_sizes,
    loading,
    side_of,
)
from core.errors import ModelUnavailable
from core.settings import PipelineSettings
from core.text import quoted
from core.types import Float32

if TYPE_CHECKING:
    import torch

NAME = "clip"
DEFAULT = "openai/clip-vit-base-patch32"
_DEFAULT_PATCH = 32
SETTINGS = ("encoder_model", "dense", "patch_mode", "text_prior", "device")  # of those that not every encoder has


def create(
    settings: PipelineSettings, *, resolution: int, cache_dir: Path | None = None, threads: int | None = None
) -> TorchPatchEncoder:
    """The adapter; ``cache_dir`` is not needed. ModelUnavailable without weights, InvalidSettings for sizes."""
    folder = find_model(NAME, settings.encoder_model or DEFAULT)
    kind, shape = _shape(folder)
    adapter = ClipEncoder if has_text(folder, kind) else TorchPatchEncoder
    return adapter(
        NAME,
        folder,
        shape,
        settings,
        resolution,
        lambda where: _load(folder, where, settings.dense),
        variant=settings.dense,
        threads=threads,
    )


def own_patch(settings: PipelineSettings) -> int:
    """Side of the model's own patch, by its folder; the default model's where it is not there yet."""
    return patch_of(NAME, settings.encoder_model or DEFAULT) or _DEFAULT_PATCH


def check(settings: PipelineSettings, resolution: int) -> None:
    """Raises InvalidSettings for sizes that the model cannot have, as far as its folder is there to tell."""
    patch = patch_of(NAME, settings.encoder_model or DEFAULT) or (_DEFAULT_PATCH if not settings.encoder_model else 0)
    if patch:
        check_sizes(f"{NAME} ({settings.encoder_model or DEFAULT})", Shape(patch, 0, 0), settings, resolution)


class ClipEncoder(TorchPatchEncoder):
    """With the text half: a :class:`core.ports.TextEncoder` as well."""

    @cached_property
    def text_scale(self) -> float:
        """exp(logit_scale). Raises ModelUnavailable where the weights hold none."""
        return scale_of(self._folder)

    def embed_texts(self, texts: Sequence[str]) -> Float32:
        """(n, g) L2-normalised, in the space of the whole embedding; slow, since it loads the text half."""
        return embed(self._folder, texts)


def model_files(settings: PipelineSettings) -> str:
    """What tells one state of the model's files from another; ModelUnavailable where they are not all there."""
    return files_of(NAME, settings.encoder_model or DEFAULT)


def _shape(folder: ModelFolder) -> tuple[str, Shape]:
    """The kind of model, and its sizes."""
    from transformers import AutoConfig

    with loading(folder):
        config = AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
        kind = config.model_type
        vision = config.vision_config if kind == "clip" else config
    if kind not in ("clip", "clip_vision_model"):
        raise ModelUnavailable(
            f"{folder.name} is no CLIP but a {quoted(kind)} model. The encoder hf-vision may load it."
        )
    patch, native = (side_of(getattr(vision, what), what, folder) for what in ("patch_size", "image_size"))
    return kind, Shape(patch, native, config.projection_dim)


def _load(folder: ModelFolder, where: Placement, dense: str) -> Network:
    import torch
    from transformers import AutoConfig, CLIPVisionModelWithProjection

    kind: Any = CLIPVisionModelWithProjection
    with loading(folder):
        config = AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
        if config.model_type == "clip":  # its vision part has a width of its own, which nothing uses
            config.vision_config.projection_dim = config.projection_dim
            config = config.vision_config
        model, report = kind.from_pretrained(
            folder.path,
            config=config,
            dtype=getattr(torch, where.dtype),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    if report["missing_keys"]:
        raise ModelUnavailable(f"The weights in {folder.path} lack the tensor {sorted(report['missing_keys'])[0]}.")
    model = model.to(where.device).eval()
    vision, project = model.vision_model, model.visual_projection
    vision.embeddings.float()  # positions are interpolated in float32: half precision would shift them
    half = getattr(torch, where.dtype)

    def tokens_of(hidden: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = project(vision.post_layernorm(hidden))
        return result

    def forward(pixels: torch.Tensor) -> Tokens:
        x = vision.embeddings(pixels, interpolate_pos_encoding=True).to(half)  # (n, 1 + gh·gw, w)
        x = vision.pre_layrnorm(x)
        *first, last = vision.encoder.layers
        for layer in first:
            x = layer(x, None)
        y = last(x, None)
        if dense == "maskclip":
            values = last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(x[:, 1:])))
            patches = tokens_of(values)  # (n, gh·gw, d)
        else:
            patches = tokens_of(y[:, 1:])
        side = pixels.shape[-1] // vision.embeddings.patch_size
        return Tokens(patches.reshape(len(pixels), side, side, -1), tokens_of(y[:, 0]))

    return forward

"""Any other vision model of transformers that sees a grid of patches: SigLIP 2, DINOv2, DINOv3, ViT …

Patches are the last hidden states without class and register tokens; the whole is the pooled output, the
class token where the weights hold no pooler, and the mean of the patches where there is neither. Then its
positions are known, and its contributions are drawn on the heatmap.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from core.errors import InvalidSettings, ModelUnavailable
from core.settings import PipelineSettings
from core.text import quoted

if TYPE_CHECKING:
    import torch

NAME = "hf-vision"
DEFAULT = "facebook/dinov2-small"
_DEFAULT_PATCH = 14
SETTINGS = ("encoder_model", "patch_mode", "device")  # of those that not every encoder has
_CLASS_TOKENS = ("cls_token", "class_embedding", "distillation_token")
_POOLERS = ("pooler", "head")


def create(
    settings: PipelineSettings, *, resolution: int, cache_dir: Path | None = None, threads: int | None = None
) -> TorchPatchEncoder:
    """The adapter; ``cache_dir`` is not needed. ModelUnavailable without weights, InvalidSettings for sizes."""
    folder = find_model(NAME, settings.encoder_model or DEFAULT)
    return TorchPatchEncoder(
        NAME, folder, _shape(folder), settings, resolution, lambda where: _load(folder, where), threads=threads
    )


def own_patch(settings: PipelineSettings) -> int:
    """Side of the model's own patch, by its folder; the default model's where it is not there yet."""
    return patch_of(NAME, settings.encoder_model or DEFAULT) or _DEFAULT_PATCH


def check(settings: PipelineSettings, resolution: int) -> None:
    """Raises InvalidSettings for sizes that the model cannot have, as far as its folder is there to tell."""
    patch = patch_of(NAME, settings.encoder_model or DEFAULT) or (_DEFAULT_PATCH if not settings.encoder_model else 0)
    if patch:
        check_sizes(f"{NAME} ({settings.encoder_model or DEFAULT})", Shape(patch, 0, 0), settings, resolution)


def model_files(settings: PipelineSettings) -> str:
    """What tells one state of the model's files from another; ModelUnavailable where they are not all there."""
    return files_of(NAME, settings.encoder_model or DEFAULT)


def _config(folder: ModelFolder) -> Any:
    """The configuration of the vision part."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
    return getattr(config, "vision_config", config)


def _shape(folder: ModelFolder) -> Shape:
    with loading(folder):
        config = _config(folder)
    if config.model_type == "siglip2_vision_model":
        raise ModelUnavailable(
            f"{folder.name} takes images of any shape (NaFlex), which is not supported. Choose one of a fixed "
            "resolution, such as google/siglip2-base-patch16-224."
        )
    patch, native, width = (getattr(config, what, None) for what in ("patch_size", "image_size", "hidden_size"))
    if not isinstance(width, int):
        raise ModelUnavailable(
            f"{folder.name} is a {quoted(config.model_type)} model, which has no single grid of patches."
        )
    return Shape(side_of(patch, "patch_size", folder), side_of(native, "image_size", folder), width)


def _load(folder: ModelFolder, where: Placement) -> Network:
    import torch
    from transformers import AutoModel

    half = getattr(torch, where.dtype)
    with loading(folder):
        config = _config(folder)
        model, report = AutoModel.from_pretrained(
            folder.path,
            config=config,
            dtype=half,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    missing = sorted(k for k in report["missing_keys"] if not k.endswith("mask_token"))
    lost = [k for k in missing if not set(k.split(".")[:2]) & set(_POOLERS)]
    if lost:
        raise ModelUnavailable(f"The weights in {folder.path} lack the tensor {lost[0]}.")
    pooled = not missing  # a pooler that is not in the file would be a random one
    model = model.to(where.device).eval()
    _keep_positions_exact(model, half)
    takes = inspect.signature(model.forward).parameters
    options = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in takes else {}
    patch = side_of(config.patch_size, "patch_size", folder)
    classes, registers = _extra_tokens(model)

    def forward(pixels: torch.Tensor) -> Tokens:
        side = pixels.shape[-1] // patch
        try:
            output = model(pixel_values=pixels.to(half), **options)
        except ValueError as error:  # a model that takes its own size alone
            reason = str(error).strip().rstrip(".")
            raise InvalidSettings(f"{folder.name} cannot see images of {pixels.shape[-1]} pixels: {reason}.") from error
        hidden = output.last_hidden_state
        extra = classes + registers
        if hidden.ndim != 3 or hidden.shape[1] != extra + side * side:
            raise ModelUnavailable(
                f"{folder.name} gives {tuple(hidden.shape[1:])} where {extra} extra tokens and a grid of "
                f"{side}×{side} were expected, so its patches have no known place."
            )
        patches = hidden[:, extra:].unflatten(1, (side, side))  # (n, gh, gw, d)
        whole = getattr(output, "pooler_output", None) if pooled else None
        if whole is None and classes:
            whole = hidden[:, 0]
        if whole is None or whole.ndim != 2:
            return Tokens(patches, patches.float().mean(dim=(1, 2)), whole_is_mean=True)
        return Tokens(patches, whole)

    return forward


def _extra_tokens(model: Any) -> tuple[int, int]:
    """How many class tokens and registers stand before the patches, by the parameters that hold them."""
    named = [(name.rpartition(".")[2], value) for name, value in model.named_parameters()]
    classes = sum(name in _CLASS_TOKENS for name, _ in named)
    return classes, sum(value.shape[1] for name, value in named if name == "register_tokens")


def _keep_positions_exact(model: Any, half: torch.dtype) -> None:
    """Positions are interpolated in float32: half precision would shift them."""
    import torch

    embeddings: Any = getattr(model, "embeddings", None)
    if half == torch.float32 or not hasattr(embeddings, "interpolate_pos_encoding"):
        return
    embeddings.float()
    embeddings.register_forward_pre_hook(lambda _, args: tuple(a.float() if torch.is_tensor(a) else a for a in args))
    embeddings.register_forward_hook(lambda _, args, output: output.to(half))

"""A vision model's own patch, read from its folder without transformers: for refusals before anything is loaded."""

from __future__ import annotations

import json

from core.encoders._model_folder import locate
from core.errors import ModelUnavailable


def patch_of(encoder: str, model: str) -> int:
    """Side of the model's patch in pixels; 0 where the folder is not there, or does not say."""
    try:
        folder, _ = locate(encoder, model)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        side = config.get("vision_config", config)["patch_size"]
    except (ModelUnavailable, OSError, ValueError, KeyError, AttributeError, TypeError):
        return 0
    side = side[0] if isinstance(side, list) and len(set(side)) == 1 else side
    return side if isinstance(side, int) and side > 0 else 0

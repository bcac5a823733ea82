"""Text and pictures → a model's inputs, with pictures that are really in there.

The stock processor of Qwen2-VL demands a video processor, which needs torchvision; without it
``AutoProcessor`` silently gives a bare tokenizer for some folders, and the pictures would be dropped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoProcessor, ProcessorMixin, Qwen2VLProcessor

from core.errors import ModelUnavailable

QWEN = frozenset({"qwen2_vl", "qwen2_5_vl", "qwen3_vl"})


class ImageOnlyQwenProcessor(Qwen2VLProcessor):
    """Qwen's processor for pictures and text alone."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None, **_: Any) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        ids = [tokenizer.convert_tokens_to_ids(token) for token in (self.image_token, self.video_token)]
        self.image_token_id, self.video_token_id = ids
        start: Any = ProcessorMixin.__init__
        start(self, image_processor, tokenizer, chat_template=chat_template)


def load_processor(folder: Path, kind: str) -> Any:
    """The processor of a model of this ``model_type``; ModelUnavailable where it would not take pictures."""
    options = {"local_files_only": True, "trust_remote_code": False}
    loader: Any = ImageOnlyQwenProcessor if kind in QWEN else AutoProcessor
    processor = loader.from_pretrained(folder, **options)
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise ModelUnavailable(
            f"The processor in {folder} takes no pictures ({type(processor).__name__}), so the model would answer "
            "without seeing them. Choose a model for images and text."
        )
    return processor

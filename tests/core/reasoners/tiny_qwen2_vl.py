"""The tiny model of the bench, for the tests."""

from ragvision_app.bench._tiny_qwen2_vl import SPECIAL, TEMPLATE, save_tiny

__all__ = ["SPECIAL", "TEMPLATE", "save_tiny"]

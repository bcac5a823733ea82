"""Every setting: one frozen value, checked once, with its help beside it.

The names are the reference system's where it has one. The CLI's help, the docs, the settings page
and the provenance hash are all made from these fields.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from core.errors import InvalidSettings

RECIPES = ("ensemble", "patch", "whole", "vote")
DENSE = ("tokens", "maskclip")
PATCH_MODES = ("pooled", "crops")
DEVICES = ("auto", "cpu", "cuda")
UNSURE = "unsure"
ORDERS = ("uncertainty", "disagreement", "random", "import", "look-alikes")
LISTS = (*ORDERS, UNSURE)  # what an annotator may ask for: the queue in an order, or what it marked unsure


# What a prompt may name in double braces; core.prompts says what each stands for.
PLACEHOLDERS = ("classes", "class_count", "support_count", "image_name", "scores")
LONGEST_PROMPT = 8_000  # characters
_PLACEHOLDER = re.compile(r"\{\{\s*([^\W\d][\w .-]{0,60}?)\s*\}\}")


def _setting(
    default: Any, help: str, low: float | None = None, high: float | None = None, *, choices: tuple[str, ...] = ()
) -> Any:
    return field(default=default, metadata={"help": help, "low": low, "high": high, "choices": choices})


def placeholders_in(text: str) -> list[str]:
    """The names in double braces, known or not, each once. Single braces are the prompt's own (JSON)."""
    return list(dict.fromkeys(_PLACEHOLDER.findall(text)))


def check_prompt(text: str, what: str) -> None:
    """Raises InvalidSettings for a placeholder that there is not, with those there are, and for too long a text."""
    for name in placeholders_in(text):
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{{{p}}}}}" for p in PLACEHOLDERS)
            raise InvalidSettings(f"{what} names {{{{{name}}}}}, which stands for nothing. There are: {known}.")
    if len(text) > LONGEST_PROMPT:
        raise InvalidSettings(f"{what} has {len(text):,} characters; {LONGEST_PROMPT:,} are the most.")


class _Checked:
    def _check_bounds(self) -> None:
        for f in fields(self):  # type: ignore[arg-type]
            low, high, value = f.metadata.get("low"), f.metadata.get("high"), getattr(self, f.name)
            if (low is not None and value < low) or (high is not None and value > high):
                raise InvalidSettings(f"{f.name} is {value}; it must be between {low} and {high}.")


@dataclass(frozen=True, slots=True)
class PipelineSettings(_Checked):
    """What decides a prediction; its hash is part of the provenance."""

    encoder: str = _setting("efficientnet-lite0", "name of the encoder")
    encoder_model: str = _setting("", "hub id or folder of the encoder's model; empty: the encoder's own choice")
    dense: str = _setting("tokens", f"patch features of CLIP: {', '.join(DENSE)}", choices=DENSE)
    patch_mode: str = _setting(
        "pooled",
        f"how patches of another size than the model's are made: {', '.join(PATCH_MODES)}",
        choices=PATCH_MODES,
    )
    reasoner: str = _setting("evidence", "name of the reasoner")
    reasoner_model: str = _setting("", "model of the reasoner: hub id or folder; empty: its default")
    max_visual_tokens: int = _setting(1024, "most tokens that the pictures of one prompt may cost (a VLM's)", 16, 16384)
    swap_options: bool = _setting(True, "average the flag over both orders of the classes (a VLM's)")
    text_prior: bool = _setting(True, "class names and descriptions as a prior, where the encoder reads text")
    device: str = _setting(
        "auto", f"where models of torch run: {', '.join(DEVICES)}; auto takes a GPU where there is one", choices=DEVICES
    )
    recipe: str = _setting("ensemble", f"how class scores are made: {', '.join(RECIPES)}", choices=RECIPES)
    k_retrieval: int = _setting(3, "support patches of a class retrieved for one query patch", 1, 64)
    max_patches_per_class: int = _setting(4, "evidence shown for one class, at most", 1, 16)
    input_resolution: int = _setting(224, "side to which a query image is resized, pixels", 32, 1024)
    support_res: int = _setting(224, "side to which a support image is resized, pixels", 32, 1024)
    support_patch_size: int = _setting(32, "side of a patch, pixels of the resized image", 8, 512)
    pca_axes: int = _setting(128, "principal axes kept of the patch embeddings", 1, 4096)
    shrinkage: float = _setting(0.1, "share of the mean eigenvalue added when whitening", 0.0, 10.0)
    temperature: float = _setting(0.2, "sampling temperature of the explanation (a VLM's)", 0.0, 2.0)
    top_p: float = _setting(0.9, "nucleus of the explanation's sampling (a VLM's)", 0.01, 1.0)
    max_new_tokens: int = _setting(128, "longest explanation, tokens (a VLM's)", 1, 2048)
    system_prompt: str = _setting("", "system prompt (a VLM's); empty: the built-in")
    user_prompt: str = _setting("", "user prompt (a VLM's); empty: the built-in")

    def __post_init__(self) -> None:
        self._check_bounds()
        choices = (("recipe", RECIPES), ("dense", DENSE), ("patch_mode", PATCH_MODES), ("device", DEVICES))
        for name, known in choices:
            if getattr(self, name) not in known:
                raise InvalidSettings(f"{name} is “{getattr(self, name)}”; there are: {', '.join(known)}.")
        for name in ("system_prompt", "user_prompt"):
            check_prompt(getattr(self, name), name)
        for name in ("input_resolution", "support_res"):
            side = getattr(self, name)
            if side % self.support_patch_size:
                raise InvalidSettings(
                    f"support_patch_size {self.support_patch_size} does not divide {name} {side}, so patches would "
                    f"not line up with the image. Choose a multiple of {self.support_patch_size}."
                )

    @property
    def hash(self) -> str:
        """16 hex digits over every field, for provenance."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class LabellingSettings(_Checked):
    """How the queue is dealt out."""

    order: str = _setting("uncertainty", f"order of the queue: {', '.join(ORDERS)}", choices=ORDERS)
    withhold_share: float = _setting(0.1, "share of items whose suggestion is withheld", 0.0, 1.0)
    lease_seconds: int = _setting(600, "how long an image is reserved for an annotator", 10, 86400)
    overlap: int = _setting(1, "annotators who label the same image", 1, 10)
    prefetch: int = _setting(30, "items that the browser holds ready", 20, 200)

    def __post_init__(self) -> None:
        self._check_bounds()
        if self.order not in ORDERS:
            raise InvalidSettings(f"order is “{self.order}”; there are: {', '.join(ORDERS)}.")


@dataclass(frozen=True, slots=True)
class ImageLimits(_Checked):
    """What an image may be at most, checked before its pixels are decoded."""

    max_pixels: int = _setting(100_000_000, "most pixels of one image", 1, 1_000_000_000)
    max_bytes: int = _setting(200_000_000, "most bytes of one image file", 1, 2_000_000_000)


_GROUPS: dict[str, Any] = {"pipeline": PipelineSettings, "labelling": LabellingSettings, "images": ImageLimits}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of a project; round-trips through :meth:`to_dict` and :meth:`from_dict`."""

    pipeline: PipelineSettings = field(default_factory=PipelineSettings)
    labelling: LabellingSettings = field(default_factory=LabellingSettings)
    images: ImageLimits = field(default_factory=ImageLimits)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Nested plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, dict[str, Any]]) -> Settings:
        """Missing fields take their default; an unknown field is an :class:`InvalidSettings`."""
        groups: dict[str, Any] = {}
        for group in fields(cls):
            kind: Any = _GROUPS[group.name]
            given = values.get(group.name, {})
            unknown = set(given) - {f.name for f in fields(kind)}
            if unknown:
                raise InvalidSettings(
                    f"The {group.name} settings hold {', '.join(sorted(unknown))}, which this version does not know: "
                    "mostly they are a newer version's. Update the workbench."
                )
            groups[group.name] = kind(**given)
        return cls(**groups)

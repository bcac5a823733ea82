"""The text prior: what the names and descriptions of the classes alone say about an image.

As CLIP classifies without examples (Radford et al. 2021, arXiv 2103.00020): every class is a mean of embedded
prompts t_c, and p_text(c) = softmax_c(s · cos(whole, t_c) / T_text) with the scale s that the model was trained with.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from core.calibration import fit_temperature, log_softmax, smoothed_nll
from core.ports import TextEncoder
from core.scoring_basis import normalise
from core.types import ClassRecord, Float32, IntArray

Float64 = NDArray[np.float64]

# Out of the prompts for ImageNet that were published with the paper: those that fit a photograph of a thing or of its
# state. Their embeddings are averaged, not their probabilities (section 3.1.4 of the paper).
TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a close-up photo of a {}.",
    "a cropped photo of the {}.",
    "a bright photo of a {}.",
    "a dark photo of the {}.",
)
DESCRIBED = ("a photo of a {}, {}.", "a close-up photo of a {}, {}.", "{}: {}")
WEIGHTS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
_GAIN = 1e-3  # nats by which names have to improve on the images alone: less is the grid's coarseness
DEFAULT_WEIGHT = 1.0  # where no image can be left out: as a prior, after T_text has made it careful


def prompts_of(kind: ClassRecord) -> list[str]:
    """What stands for a class: its name in every template, and with its description in a few more."""
    name = " ".join(kind.name.replace("_", " ").split())
    prompts = [template.format(name) for template in TEMPLATES]
    description = " ".join(kind.description.split()).rstrip(".")
    if description:
        prompts += [template.format(name, description) for template in DESCRIBED]
    return prompts


@dataclass(frozen=True, slots=True, eq=False)
class ClassTexts:
    """Class id → its embedding (g,), L2-normalised, the encoder's scale of cosines, and a hash of the words."""

    of: dict[int, Float32]
    scale: float
    id: str = ""


def reads_text(encoder: object) -> TypeGuard[TextEncoder]:
    """Whether it does; not by isinstance, which would ask for ``text_scale`` and so read files."""
    return hasattr(type(encoder), "embed_texts")


class TextReader:
    """Class texts embedded by one encoder, each prompt once in the encoder's life, whoever asks."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder

    def read(self, classes: Sequence[ClassRecord]) -> ClassTexts:
        """The classes' embeddings; raises ModelUnavailable where the text part of the model cannot be loaded."""
        prompts = {kind.id: prompts_of(kind) for kind in classes}
        with _lock:
            known = _known.setdefault(self._encoder, {})
            new = sorted({text for texts in prompts.values() for text in texts} - known.keys())
            if new:
                known.update(zip(new, self._encoder.embed_texts(new), strict=True))
            of = {k: normalise(np.mean([known[t] for t in texts], axis=0)) for k, texts in prompts.items()}
        words = hashlib.sha256(repr(sorted(prompts.items())).encode("utf-8", "replace")).hexdigest()[:16]
        return ClassTexts(of, self._encoder.text_scale, words)


_lock = threading.Lock()
_known: WeakKeyDictionary[TextEncoder, dict[str, Float32]] = WeakKeyDictionary()  # encoder → prompt → (g,)


@dataclass(frozen=True, slots=True, eq=False)
class TextPrior:
    """t (C, g) of all classes, those with images first, s and T_text; ``id`` is a hash of the words behind them."""

    embeddings: Float64
    scale: float
    id: str
    temperature: float = 1.0

    def log_probabilities(self, whole: NDArray[np.floating]) -> Float64:
        """Whole embeddings (n, g), L2-normalised → log p_text (n, C)."""
        return log_softmax((self.scale / self.temperature) * (whole.astype(np.float64) @ self.embeddings.T))


def prior_of(texts: ClassTexts, classes: Sequence[ClassRecord], whole: NDArray[np.floating], y: IntArray) -> TextPrior:
    """The prior over ``classes``; T_text is fitted on the support images: whole embeddings (n, g), classes y (n,).

    No image has to be left out, since the texts know none. Only the classes that have images tell right from wrong;
    they are the first ones. T_text is never below 1: that names tell these few classes apart says nothing of the
    others, which a sharper prior would make disappear.
    """
    embeddings = np.stack([texts.of[kind.id] for kind in classes]).astype(np.float64)
    count = int(y.max()) + 1 if len(y) else 0
    if count < 2:
        return TextPrior(embeddings, texts.scale, texts.id)
    raw = texts.scale * (whole.astype(np.float64) @ embeddings[:count].T)
    return TextPrior(embeddings, texts.scale, texts.id, max(1.0, fit_temperature(raw, y, 1.0)))


def choose_weight(z: Float64, last: float, text: Float64, y: IntArray) -> tuple[float, float]:
    """How much log p_text (n, C) is added to a recipe's z (n, C), and the last temperature that goes with it.

    Rows are left-out support images with classes y (n,); the weight with the lowest smoothed NLL, and 0 where none
    beats the images alone under their own temperature ``last``. Without rows the prior counts as one.
    """
    if not len(y):
        return DEFAULT_WEIGHT, last
    best = smoothed_nll(z, y, last) - _GAIN, 0.0, last
    for weight in WEIGHTS[1:]:
        mixed = z + weight * text
        temperature = fit_temperature(mixed, y, 1.0)
        nll = smoothed_nll(mixed, y, temperature)
        if nll < best[0]:
            best = nll, weight, temperature
    return best[1], best[2]


def within(text: Float64, count: int) -> Float64:
    """log p_text(K) (n, 1) of the first ``count`` classes together; −inf where there are none."""
    first = text[:, :count]
    if not count:
        return np.full((len(text), 1), -np.inf)
    top = first.max(axis=1, keepdims=True)
    result: Float64 = top + np.log(np.exp(first - top).sum(axis=1, keepdims=True))
    return result

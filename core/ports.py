"""What the pipeline needs from the outside. An adapter is one file in the folder of its port.

An adapter module ``core/encoders/<name>.py`` (dashes become underscores) defines ``create(settings)``
and is found by its file name (:func:`load_adapter`); importing the folder loads none of them.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from core.errors import UnknownAdapter
from core.types import Answer, ClassRecord, ClassScore, Embeddings, Evidence, Float32, IntArray, QueryImage

_WEIGHTS = re.compile(r"-[0-9a-f]{12}(?:[-\s]|$)")  # where an id turns from its name to its hashes


@runtime_checkable
class Encoder(Protocol):
    """Images → patch and whole embeddings."""

    @property
    def id(self) -> str:
        """Name + hash of the weights + preprocessing: the key of the embedding cache."""

    @property
    def device(self) -> str:
        """Where it runs, for the screen: ``cpu · onnxruntime``."""

    @property
    def patch_pixels(self) -> int:
        """Side of one patch, in pixels of the encoder's input."""

    def embed_batch(self, images: Sequence[Image.Image], *, whole_map: bool = False) -> Embeddings:
        """Upright RGB images of any size → embeddings, the whole image in view (no crop).

        ``whole_map`` asks for the positions behind the whole embedding (large: only for images whose
        contributions are needed); it stays None for encoders that have none.
        """


@runtime_checkable
class TextEncoder(Protocol):
    """An encoder that also embeds text, in the space of its whole embedding: it can tell classes by their names."""

    @property
    def text_scale(self) -> float:
        """What a cosine of image and text is multiplied with before the softmax, as the model was trained."""

    def embed_texts(self, texts: Sequence[str]) -> Float32:
        """(n, g) L2-normalised; ``g`` is that of the whole embedding."""


@runtime_checkable
class Index(Protocol):
    """Exact nearest support patches, class by class."""

    def top_k(self, queries: Float32, support: Float32, k: int) -> tuple[Float32, IntArray]:
        """(q, d), (n, d) L2-normalised → similarities and indices, (q, min(k, n)), best first."""


@dataclass(frozen=True, slots=True, eq=False)
class ReasonRequest:
    """What a reasoner is given: the query, the scores and the numbered evidence.

    ``load_support`` gives the upright RGB image behind a piece of evidence and raises an ImageError where it
    cannot; None where the pictures are not to be had. ``on_text`` is called with the explanation so far, by a
    reasoner that can stream it; it may be called from any thread and never raises.
    """

    query: QueryImage
    classes: tuple[ClassRecord, ...]
    scores: tuple[ClassScore, ...]
    evidence: tuple[Evidence, ...]
    support_names: dict[str, str]
    calibrated: str
    load_support: Callable[[str], Image.Image] | None = None
    on_text: Callable[[str], None] | None = None


@runtime_checkable
class Reasoner(Protocol):
    """Query + evidence → flag, explanation, transcript.

    A reasoner that people would wait for (a vision-language model) has ``slow = True``: scores and evidence are
    then shown before it is asked; it may say ``together: int``, how many images it is best asked about at once.
    One that is asked with a prompt has ``prompt_version: str``, which every prediction names. One that holds
    threads or connections has ``close()``.
    """

    @property
    def id(self) -> str:
        """Name + model: named in provenance and on the screen."""

    def reason(self, request: ReasonRequest) -> Answer:
        """Never raises for a bad answer: a failure is an Answer with status FAILED and a reason.

        A reasoner that is faster in batches also has ``reason_batch(requests) -> list[Answer]``, with the
        same flags.
        """


def short_name(id: str) -> str:
    """What people call the encoder or reasoner of this id: what stands before the hash of its weights."""
    return _WEIGHTS.split(id, maxsplit=1)[0]


def adapter_names(package: ModuleType) -> list[str]:
    """Names of the adapters in a port's folder, as users write them, sorted."""
    return sorted(
        m.name.replace("_", "-") for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")
    )


def load_adapter(package: ModuleType, name: str, kind: str) -> Any:
    """The module of the adapter called ``name``; raises :class:`UnknownAdapter` listing what there is."""
    if name not in adapter_names(package):
        raise UnknownAdapter(kind, name, adapter_names(package))
    return importlib.import_module(f"{package.__name__}.{name.replace('-', '_')}")

"""One configuration of the pipeline, ready to work: encoders with their caches, and the pipeline.

Everything that is decided by :class:`PipelineSettings` alone lives here, so that the background worker,
the command line's ``predict`` and the tests run the very same code.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from PIL import Image

from core.errors import ImageError, ModelUnavailable, NotReady
from core.pipeline import Pipeline
from core.ports import Encoder, Reasoner
from core.position_cache import PositionCache, concatenate, with_map
from core.scoring import FittedSupport, Scores
from core.scoring_basis import Basis
from core.scoring_text import ClassTexts, TextReader, reads_text
from core.settings import PipelineSettings
from core.stand_ins import Missing
from core.types import Embeddings, Float32, ImageRecord, Prediction, QueryImage, Status, SupportSet

log = logging.getLogger("ragvision.engine")

BATCH = 8  # images a forward pass: larger batches are no faster on a CPU and hold more pixels


class Cache(Protocol):
    """Where embeddings are kept: on disk in a project, in memory without one."""

    def missing(self, images: Sequence[str]) -> list[str]:
        """Those that are not kept."""

    def add(self, images: Sequence[str], embeddings: Embeddings) -> None:
        """Keeps patches and whole."""

    def get(self, images: Sequence[str]) -> Embeddings:
        """Patches and whole, in order."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """An image that could not be decoded, and why."""

    image: str
    reason: str


class Engine:
    """Encoders, caches and pipeline of one configuration. Embedding and fitting are one thread's; predicting
    may go on in another one meanwhile, as a slow reasoner's lane does.

    ``load`` gives the upright RGB image of a key and raises an ImageError where it cannot. ``settings`` are those
    that were asked for; where models are ``missing``, others compute, and ids name those that do.
    """

    def __init__(
        self,
        settings: PipelineSettings,
        *,
        query_encoder: Encoder,
        support_encoder: Encoder,
        query_cache: Cache,
        support_cache: Cache,
        positions: PositionCache | None,
        pipeline: Pipeline,
        load: Callable[[str], Image.Image],
        missing: Sequence[Missing] = (),
    ) -> None:
        self.settings = settings
        self._missing = tuple(missing)
        self.query_encoder = query_encoder
        self._support_encoder = support_encoder
        self._query_cache = query_cache
        self._support_cache = support_cache
        self._positions = positions
        self.pipeline = pipeline
        self._load = load
        self._reader = TextReader(query_encoder) if settings.text_prior and reads_text(query_encoder) else None
        self._no_positions = False  # known once the encoder gave none: then what is cached is all that there is
        self._unread = ""  # why class names are not used, where they should be
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="decode")
        self._pace: deque[tuple[float, int]] = deque(maxlen=40)  # seconds and images of the last batches
        self.encoded = 0  # images that went through an encoder, for progress and for tests

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence for every model, or part of one, that is missing."""
        return (*(m.note for m in self._missing), *([self._unread] if self._unread else []))

    @property
    def reads_text(self) -> bool:
        """Whether class names count, so that classes without images can be suggested."""
        return self._reader is not None

    def wanted_is_there(self) -> bool:
        """Whether a model that is stood in for can be had by now, so that the engine should be made anew. Cheap."""
        return any(m.is_there() for m in self._missing)

    @property
    def basis_key(self) -> str:
        """What a stored basis belongs to: the encoder of the support images and how the basis is fitted."""
        settings = self.settings
        return f"{self._support_encoder.id} axes={settings.pca_axes} shrinkage={settings.shrinkage:g}"

    def close(self) -> None:
        """Ends the decoding threads, and those and the connections of a reasoner that has any."""
        self._pool.shutdown(wait=True)
        getattr(self.pipeline.reasoner, "close", _nothing)()

    # ------------------------------------------------------------------ embedding
    def embed_support(self, images: Sequence[str]) -> tuple[Embeddings | None, list[Unusable]]:
        """Embeddings of ``images`` less the unusable ones (None where none is left), in their order."""
        unusable = self._fill(images, self._support_encoder, self._support_cache)
        bad = {u.image for u in unusable}
        usable = [i for i in images if i not in bad]
        return (self._support_cache.get(usable) if usable else None), unusable

    def embed_queries(self, images: Sequence[str]) -> list[Unusable]:
        """Puts the images' embeddings into the cache; those there already cost nothing."""
        return self._fill(images, self.query_encoder, self._query_cache)

    def _fill(self, images: Sequence[str], encoder: Encoder, cache: Cache) -> list[Unusable]:
        unusable: list[Unusable] = []
        missing = cache.missing(list(dict.fromkeys(images)))
        for start in range(0, len(missing), BATCH):
            keys, pixels, bad = self._decode(missing[start : start + BATCH])
            unusable += bad
            if keys:
                cache.add(keys, self._embed(encoder, pixels))
        return unusable

    def _embed(self, encoder: Encoder, pixels: Sequence[Image.Image], *, whole_map: bool = False) -> Embeddings:
        began = time.monotonic()
        embeddings = encoder.embed_batch(pixels, whole_map=whole_map)
        self._pace.append((time.monotonic() - began, len(pixels)))
        self.encoded += len(pixels)
        return embeddings

    @property
    def images_per_second(self) -> float | None:
        """How fast the encoder was lately; None before it saw a batch after its first, which loads the model."""
        recent = list(self._pace)
        seconds, images = sum(s for s, _ in recent[1:]), sum(n for _, n in recent[1:])
        return images / seconds if seconds > 0 else None

    def _decode(self, keys: Sequence[str]) -> tuple[list[str], list[Image.Image], list[Unusable]]:
        def one(key: str) -> Image.Image | ImageError:
            try:
                return self._load(key)
            except ImageError as error:
                return error

        good: list[str] = []
        pixels: list[Image.Image] = []
        bad: list[Unusable] = []
        for key, result in zip(keys, self._pool.map(one, keys), strict=True):
            if isinstance(result, ImageError):
                bad.append(Unusable(key, str(result)))
            else:
                good.append(key)
                pixels.append(result)
        return good, pixels, bad

    # ------------------------------------------------------------------ predicting
    def fit(
        self,
        support: SupportSet,
        records: dict[str, ImageRecord],
        *,
        basis: Basis | None = None,
    ) -> tuple[FittedSupport, list[Unusable]]:
        """The support set made ready to score with; raises NotReady with what is missing."""
        embeddings, unusable = self.embed_support(support.images)
        bad = {u.image for u in unusable}
        texts = self._class_texts(support)
        if embeddings is None and texts is None:
            raise NotReady("No support image can be used. Add a few example images to at least two classes.")
        kept = [i for i, image in enumerate(support.images) if image not in bad]
        usable = SupportSet(
            images=tuple(support.images[i] for i in kept),
            class_ids=tuple(support.class_ids[i] for i in kept),
            classes=support.classes,
            version=support.version,
        )
        fitted = self.pipeline.fit(
            usable,
            embeddings,
            support_sizes={i: (records[i].width, records[i].height) for i in usable.images},
            support_names={i: records[i].name for i in usable.images},
            basis=basis,
            encoder_id=self.query_encoder.id,
            texts=texts,
        )
        return fitted, unusable

    def _class_texts(self, support: SupportSet) -> ClassTexts | None:
        """None where the encoder reads no text, or cannot: then the images alone count, and that is noted."""
        if self._reader is None:
            return None
        try:
            return self._reader.read(support.classes)
        except ModelUnavailable as error:
            log.warning("class names are not used: %s", error)
            self._reader, self._unread = None, f"Class names are not used as a prior: {error}"
            return None

    def predict(
        self,
        fitted: FittedSupport,
        records: Sequence[ImageRecord],
        *,
        reasoner: Reasoner | None = None,
        on_text: Callable[[str, str], None] | None = None,
    ) -> list[Prediction]:
        """Full predictions, evidence and contributions included, in the order of ``records``.

        An unreadable image gives a Prediction with status UNREADABLE and the reason. ``reasoner`` and
        ``on_text`` are those of :meth:`Pipeline.predict`.
        """
        results: dict[str, Prediction] = {}
        by_key = {r.sha256: r for r in records}
        keys = list(by_key)
        for start in range(0, len(keys), BATCH):
            good, embeddings, bad = self._with_positions(keys[start : start + BATCH])
            for unusable in bad:
                results[unusable.image] = self.unreadable(fitted, unusable)
            if embeddings is None:
                continue
            queries = [
                QueryImage(key, r.name, r.width, r.height, load=partial(self._load, key))
                for key, r in ((key, by_key[key]) for key in good)
            ]
            told = self.pipeline.predict(fitted, queries, embeddings, reasoner=reasoner, on_text=on_text)
            results |= zip(good, told, strict=True)
        return [results[r.sha256] for r in records]

    def predict_unstored(
        self, fitted: FittedSupport, query: QueryImage, *, on_text: Callable[[str, str], None] | None = None
    ) -> Prediction:
        """The full prediction of an image that is in no project: encoded now, and nothing is kept."""
        embeddings = self._embed(self.query_encoder, [query.load()], whole_map=True)
        return self.pipeline.predict(fitted, [query], embeddings, on_text=on_text)[0]

    def _with_positions(self, keys: Sequence[str]) -> tuple[list[str], Embeddings | None, list[Unusable]]:
        """Embeddings with ``whole_map``, from the caches where they hold it, else by encoding."""
        in_patches = set(self.cached(keys))
        maps = {
            key: m
            for key in keys
            if self._positions is not None and key in in_patches and (m := self._positions.get(key)) is not None
        }
        ready = [key for key in keys if key in in_patches] if self._no_positions else []
        good, pixels, bad = self._decode([key for key in keys if key not in maps and key not in ready])
        parts: list[tuple[list[str], Embeddings]] = []
        if ready:
            parts.append((ready, self._query_cache.get(ready)))
        if maps:
            cached = self._query_cache.get(list(maps))
            parts.append((list(maps), with_map(cached, np.stack(list(maps.values())))))
        if good:
            fresh = self._embed(self.query_encoder, pixels, whole_map=True)
            self._no_positions = fresh.whole_map is None
            rows = [i for i, key in enumerate(good) if key not in in_patches]
            if rows:
                self._query_cache.add([good[i] for i in rows], fresh[rows])
            if fresh.whole_map is not None and self._positions is not None:
                for key, positions in zip(good, fresh.whole_map, strict=True):
                    self._positions.put(key, positions)
            parts.append((good, fresh))
        if not parts:
            return [], None, bad
        return [key for group, _ in parts for key in group], concatenate([e for _, e in parts]), bad

    def cached(self, images: Sequence[str]) -> list[str]:
        """Those of ``images`` whose query embeddings are there already."""
        missing = set(self._query_cache.missing(list(images)))
        return [i for i in images if i not in missing]

    def score(self, fitted: FittedSupport, images: Sequence[str]) -> Scores:
        """Class scores alone, from cached embeddings: nothing is encoded."""
        return self.pipeline.score_only(fitted, self.cached_embeddings(images))

    def cached_embeddings(self, images: Sequence[str]) -> Embeddings:
        """Patches and whole from the cache; NotFound for one that is not there."""
        return self._query_cache.get(list(images))

    def whole(self, images: Sequence[str]) -> Float32:
        """(n, g) whole embeddings from the cache, L2-normalised; for likeness between images."""
        parts = [self._query_cache.get(images[i : i + 256]).whole for i in range(0, len(images), 256)]
        return np.concatenate(parts)

    def unreadable(self, fitted: FittedSupport | None, unusable: Unusable) -> Prediction:
        """The prediction of an image that cannot be decoded."""
        return Prediction(
            image=unusable.image,
            status=Status.UNREADABLE,
            flag=None,
            runner_up=None,
            margin=None,
            scores=(),
            evidence=(),
            contributions=None,
            explanation="",
            cited_evidence=(),
            transcript="",
            encoder=self.query_encoder.id,
            reasoner="",
            recipe=self.settings.recipe,
            support_version="" if fitted is None else fitted.version,
            reason=unusable.reason,
        )


def _nothing() -> None:
    """What a reasoner that holds nothing has to close."""

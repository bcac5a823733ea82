"""Small made-up support sets and queries for the pipeline's tests."""

from __future__ import annotations

import hashlib

import numpy as np

from core.pipeline import FittedSupport, Pipeline
from core.reasoners import create_reasoner
from core.scoring_basis import normalise
from core.settings import PipelineSettings
from core.types import ClassRecord, Embeddings, QueryImage, SupportSet


def sha(name) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def classes(count: int) -> tuple[ClassRecord, ...]:
    return tuple(ClassRecord(10 + c, f"class {c}", None, "#000000", position=c) for c in range(count))


def embeddings(
    seed: int, labels, *, grid=(2, 3), map_grid=None, d: int = 12, g: int = 9, signal: float = 1.0
) -> Embeddings:
    """Images whose patches and positions lean to a direction of their class; ``labels`` (n,) are columns."""
    r = np.random.default_rng(seed)
    common = np.random.default_rng(99)
    patch_of, whole_of = common.standard_normal((20, d)), common.standard_normal((20, g))
    labels = np.asarray(labels)
    noise = r.standard_normal((len(labels), *grid, d))
    patches = noise + signal * patch_of[labels][:, None, None, :]
    map_grid = map_grid or grid
    positions = np.abs(r.standard_normal((len(labels), *map_grid, g)) + signal * whole_of[labels][:, None, None, :])
    positions = positions.astype(np.float32)
    return Embeddings(normalise(patches), normalise(positions.mean(axis=(1, 2))), positions)


def without_map(e: Embeddings) -> Embeddings:
    return Embeddings(e.patches, e.whole)


def support_set(labels, *, count: int | None = None, names=None) -> SupportSet:
    labels = list(labels)
    known = classes(count or max(labels) + 1)
    names = names or [f"support {i}" for i in range(len(labels))]
    return SupportSet(tuple(sha(n) for n in names), tuple(known[c].id for c in labels), known, "version")


def pipeline(recipe: str = "ensemble", **settings) -> Pipeline:
    s = PipelineSettings(recipe=recipe, **settings)
    return Pipeline(create_reasoner("evidence", s), s)


def fit(p: Pipeline, support: SupportSet, e: Embeddings, **more) -> FittedSupport:
    return p.fit(
        support,
        e,
        support_sizes=dict.fromkeys(support.images, (300, 200)),
        support_names={image: f"{image[:6]}.png" for image in support.images},
        encoder_id="fake",
        **more,
    )


def queries(count: int) -> list[QueryImage]:
    return [QueryImage(sha(f"query {i}"), f"q{i}.png", 640, 480, load=lambda: None) for i in range(count)]  # type: ignore[arg-type,return-value]

"""One image asked about over and over: support indexed once, against indexed for every request.

The second is how the system that this one replaces works: each request encodes the whole support set again, sorts the
similarities of each query patch, and averages whatever was retrieved of each class. It is written here from scratch,
generously: one dense pass an image instead of one a crop, and no model that explains.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from core.encoders import create_encoder
from core.images import decode
from core.settings import ImageLimits, PipelineSettings
from core.types import Float32
from core.workbench import Workbench
from ragvision_app.bench._clock import in_turn
from ragvision_app.bench._projects import KINDS, scratch, support_folder, texture
from ragvision_app.bench._row import Figure, Row, RowFailed, Scale, at_least

WHAT = "one request"


def measure(scale: Scale) -> Row:
    """The workbench's inference service and the naive way, on the same images with the same encoder."""
    per_class, n = scale.pick(2, 20), scale.pick(1, 15)
    settings = PipelineSettings()
    with scratch() as folder:
        examples = support_folder(folder / "support", per_class)
        workbench = Workbench.open(folder / "project")
        try:
            workbench.import_support(examples, by="bench")
            pictures = [texture(folder / f"query{seed}.jpg", 500_000 + seed).read_bytes() for seed in range(n + 1)]
            ours, theirs = iter(pictures), iter(pictures)
            answers: dict[str, list[str]] = {"ours": [], "theirs": []}
            encoder = create_encoder(settings.encoder, settings, settings.input_resolution)

            def once() -> None:
                found = workbench.inference.infer(next(ours))
                flag = found.prediction.flag
                answers["ours"].append(next(c.name for c in found.classes if c.id == flag))

            def per_request() -> None:
                scores = naive(encoder.embed_batch, next(theirs), examples, settings.k_retrieval)
                answers["theirs"].append(max(scores, key=lambda name: scores[name]))

            workbench.inference.infer(pictures[0])  # the model is loaded before either is timed
            fast, slow = in_turn(once, per_request, n)
        finally:
            workbench.close()
    if not len(answers["ours"]) == len(answers["theirs"]) == n + 1:
        raise RowFailed("One of the two ways did not answer every request.")
    return Row(
        what=f"{WHAT}, {per_class * len(KINDS)} support images",
        ours=Figure("support encoded and fitted once", fast),
        against=Figure("support encoded for every request", slow),
        ratio=slow / fast,
        n=n,
        checks=(at_least("faster", slow / fast, 10, "×"),),
        facts={"requests a second, one after the other": 1000 / fast, "encoder": encoder.id},
    )


def naive(embed: object, image: bytes, examples: Path, k: int) -> dict[str, float]:
    """Class → mean similarity of what was retrieved of it, the support set encoded on the way."""
    assert callable(embed)
    patches, owners = [], []
    for path in sorted(examples.rglob("*.jpg")):
        found: Float32 = embed([Image.open(path).convert("RGB")]).patches  # (1, gh, gw, d)
        patches.append(found.reshape(-1, found.shape[-1]))
        owners += [path.parent.name] * len(patches[-1])
    support = np.concatenate(patches)
    query: Float32 = embed([decode(image, "query", ImageLimits()).image]).patches
    hits: dict[str, list[float]] = {}
    for patch in query.reshape(-1, query.shape[-1]):
        similarities = support @ patch
        for row in np.argsort(-similarities)[:k]:
            hits.setdefault(owners[row], []).append(float(similarities[row]))
    return {name: sum(values) / len(values) for name, values in hits.items()}

"""Embed a support set: one dense pass an image, batched and cached, against one pass a crop."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from core.embedding_cache import EmbeddingCache
from core.encoders import create_encoder
from core.settings import PipelineSettings
from ragvision_app.bench._clock import in_turn, seconds
from ragvision_app.bench._projects import scratch, texture
from ragvision_app.bench._row import Figure, Row, RowFailed, Scale, at_least

WHAT = "embed a support set"


def measure(scale: Scale) -> Row:
    """The same encoder both ways, every patch of every image; ours also writes its durable cache."""
    settings = PipelineSettings()
    count, n = scale.pick(1, 5), scale.pick(1, 3)
    side, patch = settings.support_res, settings.support_patch_size
    encoder = create_encoder(settings.encoder, settings, side)
    with scratch() as folder:
        paths = [texture(folder / f"{seed}.jpg", seed) for seed in range(count)]
        images = [Image.open(path).convert("RGB") for path in paths]
        keys = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        made: dict[str, int] = {}
        caches: list[Path] = []

        def ours() -> None:
            caches.append(folder / f"cache{len(caches)}")
            cache = EmbeddingCache(caches[-1], encoder)
            cache.add(keys, encoder.embed_batch(images))
            found = cache.get(keys)
            made["ours"] = len(found) * found.grid[0] * found.grid[1]

        def theirs() -> None:
            crops = 0
            for image in images:
                resized = image.resize((side, side), Image.Resampling.BICUBIC)
                for top in range(0, side, patch):
                    for left in range(0, side, patch):
                        encoder.embed_batch([resized.crop((left, top, left + patch, top + patch))])
                        crops += 1
            made["theirs"] = crops

        fast, slow = in_turn(ours, theirs, n)
        again = seconds(lambda: EmbeddingCache(caches[-1], encoder).get(keys)) * 1000
    if made["ours"] != made["theirs"]:
        raise RowFailed(f"The two ways embedded {made['ours']} and {made['theirs']} patches.")
    return Row(
        what=f"{WHAT}, {count} images of {made['ours'] // count} patches",
        ours=Figure("one dense pass an image, in batches, into the cache on disk", fast),
        against=Figure("one pass a crop", slow),
        ratio=slow / fast,
        n=n,
        checks=(at_least("faster", slow / fast, 20, "×"),),
        facts={"read again from the cache, ms": again, "encoder": encoder.id},
    )

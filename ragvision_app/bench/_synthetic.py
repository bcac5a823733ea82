"""Rows for a store without files behind them: for what depends on how many there are."""

from __future__ import annotations

import hashlib

from core.store import Store
from core.types import ImageRecord


def fill_images(store: Store, count: int) -> list[str]:
    """``count`` images that have no file; returns their ids."""
    ids = [hashlib.sha256(f"image {number}".encode()).hexdigest() for number in range(count)]
    for start in range(0, count, 5000):
        store.add_images(
            [
                ImageRecord(
                    sha256=id_,
                    name=f"image{number:06d}.jpg",
                    source="bench",
                    width=300,
                    height=300,
                    bytes=20_000,
                    phash=id_[:16],
                    imported_at="2026-11-24T09:00:00.000Z",
                )
                for number, id_ in enumerate(ids[start : start + 5000], start)
            ]
        )
    return ids

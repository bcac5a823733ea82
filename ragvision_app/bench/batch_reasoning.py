"""A vision-language model over the queue: several images in one forward pass, against one after the other."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PIL import Image

from core.ports import ReasonRequest
from core.reasoners import create_reasoner
from core.settings import PipelineSettings
from core.types import Answer, Box, ClassRecord, ClassScore, Evidence, QueryImage
from ragvision_app.bench._clock import in_turn
from ragvision_app.bench._projects import quiet, scratch, texture
from ragvision_app.bench._row import Figure, Row, RowFailed, Scale, at_least, exactly
from ragvision_app.bench._tiny_qwen2_vl import save_tiny

WHAT = "reason about images"


def measure(scale: Scale) -> Row:
    """The same adapter, model, prompts and pictures both ways; the flags have to be the same."""
    count, n = scale.pick(2, 8), scale.pick(1, 5)
    with scratch() as folder, quiet():
        settings = PipelineSettings(
            reasoner="qwen2-vl",
            reasoner_model=str(save_tiny(folder / "model")),
            max_visual_tokens=128,
            max_new_tokens=16,
            temperature=0.0,
        )
        reasoner = create_reasoner("qwen2-vl", settings)
        together = getattr(reasoner, "reason_batch")  # noqa: B009 - an optional part of the port
        requests = [_request(folder, seed) for seed in range(count)]
        answers: dict[str, list[Answer]] = {}

        def ours() -> None:
            answers["ours"] = together(requests)

        def theirs() -> None:
            answers["theirs"] = [reasoner.reason(request) for request in requests]

        fast, slow = in_turn(ours, theirs, n)
    failures = [a.reason for a in (*answers["ours"], *answers["theirs"]) if a.reason]
    if failures:
        raise RowFailed(f"The model gave no answer: {failures[0]}")
    same = sum(a.flag == b.flag for a, b in zip(answers["ours"], answers["theirs"], strict=True))
    return Row(
        what=f"{WHAT}, {count} of them",
        ours=Figure("in batches, left-padded", fast),
        against=Figure("one by one", slow),
        ratio=slow / fast,
        n=n,
        checks=(
            exactly("images with the same flag", same, count),
            at_least("faster", slow / fast, 1.2, "×"),
        ),
        facts={"model": "Qwen2-VL, tiny and random"},
        note="On a tiny model most of the time is overhead; on a GPU the gain of batches is larger.",
    )


def _request(folder: Path, seed: int) -> ReasonRequest:
    picture = Image.open(texture(folder / f"{seed}.jpg", seed, side=112)).convert("RGB")
    example = Image.open(texture(folder / "example.jpg", 999, side=112)).convert("RGB")
    classes = tuple(ClassRecord(i + 1, name, None, "#000000", position=i) for i, name in enumerate(("coarse", "fine")))
    box = Box(0, 0, 56, 56)
    return ReasonRequest(
        query=QueryImage(hashlib.sha256(str(seed).encode()).hexdigest(), f"{seed}.jpg", 112, 112, load=lambda: picture),
        classes=classes,
        scores=(ClassScore(1, 0.6, 0.4), ClassScore(2, 0.4, 0.0)),
        evidence=(Evidence(1, 1, 0.8, 0.1, box, "0" * 64, box, 1),),
        support_names={"0" * 64: "example.jpg"},
        calibrated="leave-one-out",
        load_support=lambda key: example,
    )

"""Accuracy of every recipe on labelled images: few support images a class, all the others as queries.

    python -m ragvision_app.evaluate --dataset elpv --shots 10 --seeds 5
    python -m ragvision_app.evaluate --dataset textile
    python -m ragvision_app.evaluate --dataset my/folder      (one sub-folder a class)

prints a Markdown table. Nothing is stored, and no project is touched.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from core.calibration import balanced_accuracy
from core.encoders import create_encoder
from core.errors import ImageError, NotFound, RagVisionError
from core.images import FORMATS, decode
from core.indexes import create_index
from core.pipeline import Pipeline
from core.reasoners import create_reasoner
from core.scoring_patch import PatchHalf
from core.settings import RECIPES, PipelineSettings
from core.types import ClassRecord, Embeddings, SupportSet

_BATCH = 8
_CHUNK = 32  # queries scored at once by the baselines


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """n files, their class (n,) as an index into ``classes``, and what to say about the set."""

    name: str
    files: list[Path]
    y: NDArray[np.int64]
    classes: list[str]
    note: str


@dataclass(frozen=True, slots=True)
class Result:
    """One recipe over all seeds: balanced accuracy, log loss and the support set's own estimate, a seed each.

    Baselines that give no probabilities have neither of the last two.
    """

    recipe: str
    accuracy: tuple[float, ...]
    log_loss: tuple[float, ...] = ()
    estimate: tuple[float, ...] = ()


def elpv() -> LabelledImages:
    """Solar cells: labelled functional (probability of a defect 0) or defective (1); those between are left out."""
    root = _package("elpv_dataset", "elpv-dataset") / "data"
    rows = [line.split() for line in (root / "labels.csv").read_text().splitlines()]
    sure = [(root / name, int(float(p))) for name, p, _ in rows if float(p) in (0.0, 1.0)]
    return LabelledImages(
        "elpv",
        [path for path, _ in sure],
        np.array([label for _, label in sure], np.int64),
        ["functional", "defective"],
        f"{len(rows) - len(sure)} cells whose label is between functional and defective are left out",
    )


def textile() -> LabelledImages:
    """Simulated textile: nominal, or with a local or a global defect."""
    found = folder(_package("conformal_clip_data", "conformal-clip-data") / "data" / "textile_images" / "simulated")
    return replace(found, name="textile")


def folder(root: Path) -> LabelledImages:
    """One sub-folder a class, searched to the bottom; NotFound when there are fewer than two."""
    suffixes = {extension for extension, name in Image.registered_extensions().items() if name in FORMATS}
    classes = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    if len(classes) < 2:
        raise NotFound(f"{root} does not hold two sub-folders. Put the images of each class into one of its own.")
    files, y = [], []
    for label, path in enumerate(classes):
        images = sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes)
        files += images
        y += [label] * len(images)
    return LabelledImages(root.name, files, np.array(y, np.int64), [p.name for p in classes], "")


def evaluate(
    images: LabelledImages, settings: PipelineSettings, *, shots: int, seeds: int, baselines: bool = False
) -> list[Result]:
    """Every recipe on ``seeds`` random choices of ``shots`` support images a class (the same for all recipes).

    ``baselines`` adds two ways of scoring the k nearest patches by plain cosine, which the recipes improve on.
    """
    queries, y, skipped = _embed(images, settings, settings.input_resolution)
    support = queries if settings.support_res == settings.input_resolution else None
    if support is None:
        support, _, _ = _embed(images, settings, settings.support_res)
    for path, reason in skipped:
        print(f"left out {path}: {reason}", file=sys.stderr)
    smallest = int(np.bincount(y, minlength=len(images.classes)).min())
    if smallest <= shots:
        raise NotFound(f"The smallest class has {smallest} images; {shots} shots need at least {shots + 1}.")
    pipeline = Pipeline(create_reasoner("evidence", settings), settings)
    found: dict[str, list[tuple[float, float, float]]] = {recipe: [] for recipe in RECIPES}
    plain: dict[str, list[float]] = {}
    for seed in range(seeds):
        chosen = _choose(y, shots, seed)
        rest = np.setdiff1d(np.arange(len(y)), chosen)
        fitted = pipeline.fit(
            _support_set(chosen, y, images.classes),
            support[chosen],
            support_sizes={_key(i): (1, 1) for i in chosen},
            support_names={},
            encoder_id="",
        )
        for recipe, scores in pipeline.score_recipes(fitted, queries[rest]).items():
            found[recipe].append(
                (
                    balanced_accuracy(scores.logits.argmax(axis=1), y[rest]),
                    float(-np.log(scores.probabilities[np.arange(len(rest)), y[rest]] + 1e-12).mean()),
                    fitted.leave_one_out[recipe].balanced_accuracy,
                )
            )
        if baselines:
            for name, scored in _baselines(support, queries, chosen, rest, y, fitted.patch.k).items():
                plain.setdefault(name, []).append(balanced_accuracy(scored.argmax(axis=1), y[rest]))
    return [
        Result(recipe, *(tuple(float(v) for v in column) for column in zip(*rows, strict=True)))
        for recipe, rows in found.items()
    ] + [Result(name, tuple(rows)) for name, rows in plain.items()]


def _baselines(
    support: Embeddings,
    queries: Embeddings,
    chosen: NDArray[np.int64],
    rest: NDArray[np.int64],
    y: NDArray[np.int64],
    k: int,
) -> dict[str, NDArray[np.float64]]:
    """Name → scores (n, C) of the k nearest patches of all classes, embeddings as the encoder gives them."""
    counts = np.bincount(y[chosen])
    flat = support.patches[chosen].reshape(len(chosen), -1, support.patches.shape[-1])
    half = PatchHalf(flat, tuple(int(s) for s in np.r_[0, np.cumsum(counts)]), k, create_index("numpy-exact"))
    votes, means = [], []
    for start in range(0, len(rest), _CHUNK):
        part = queries.patches[rest[start : start + _CHUNK]]
        matches = half.match(part.reshape(len(part), -1, part.shape[-1]))
        hits = matches.votes()
        votes.append(matches.vote_scores())
        total = np.where(hits, matches.similarities, 0).sum(axis=(1, 3), dtype=np.float64)
        means.append(total / np.maximum(1, hits.sum(axis=(1, 3))))
    return {
        "vote by plain cosine": np.concatenate(votes),
        "mean similarity of what was retrieved": np.concatenate(means),
    }


def table(images: LabelledImages, results: list[Result], *, shots: int, seeds: int, command: str) -> str:
    """The results as Markdown, with the command that made them."""
    counts = np.bincount(images.y, minlength=len(images.classes))
    listed = ", ".join(f"{name} {count}" for name, count in zip(images.classes, counts, strict=True))
    lines = [
        f"### {images.name}: {shots} shots, {seeds} seeds",
        "",
        f"{len(images.y)} images ({listed}){'; ' + images.note if images.note else ''}.",
        f"`{command}`",
        "",
        "| recipe | balanced accuracy | worst … best seed | log loss | leave-one-out expected |",
        "|---|---|---|---|---|",
    ]
    for r in results:
        a = np.array(r.accuracy)
        more = f"{np.mean(r.log_loss):.3f} | {np.mean(r.estimate):.3f}" if r.log_loss else "– | –"
        lines.append(f"| {r.recipe} | {a.mean():.3f} ± {a.std():.3f} | {a.min():.3f} … {a.max():.3f} | {more} |")
    return "\n".join(lines)


def main(
    dataset: Annotated[str, typer.Option(help="elpv, textile, or a folder with one sub-folder a class")],
    shots: Annotated[int, typer.Option(min=1, help="support images a class")] = 10,
    seeds: Annotated[int, typer.Option(min=1, help="random choices of the support images")] = 5,
    resolution: Annotated[int, typer.Option(help="side to which images are resized, pixels")] = 224,
    encoder: Annotated[str, typer.Option(help="name of the encoder")] = "efficientnet-lite0",
    baselines: Annotated[bool, typer.Option("--baselines", help="two plainer ways of scoring as well")] = False,
) -> None:
    """Accuracy of every recipe on labelled images, as a Markdown table."""
    try:
        known = {"elpv": elpv, "textile": textile}
        images = known[dataset]() if dataset in known else folder(Path(dataset))
        settings = PipelineSettings(encoder=encoder, input_resolution=resolution, support_res=resolution)
        started = time.perf_counter()
        results = evaluate(images, settings, shots=shots, seeds=seeds, baselines=baselines)
    except RagVisionError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    command = f"python -m ragvision_app.evaluate --dataset {dataset} --shots {shots} --seeds {seeds}"
    if resolution != 224:
        command += f" --resolution {resolution}"
    if encoder != "efficientnet-lite0":
        command += f" --encoder {encoder}"
    if baselines:
        command += " --baselines"
    print(table(images, results, shots=shots, seeds=seeds, command=command))
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)


def _package(module: str, package: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise NotFound(f"The images are not installed. Run: pip install {package}")
    return Path(spec.origin).parent


def _embed(
    images: LabelledImages, settings: PipelineSettings, resolution: int
) -> tuple[Embeddings, NDArray[np.int64], list[tuple[Path, str]]]:
    encoder = create_encoder(settings.encoder, settings, resolution)
    parts: list[Embeddings] = []
    kept: list[int] = []
    skipped: list[tuple[Path, str]] = []
    pixels: list[Image.Image] = []
    for row, path in enumerate(images.files):
        try:
            pixels.append(decode(path.read_bytes(), path.name).image)
            kept.append(row)
        except ImageError as error:
            skipped.append((path, str(error)))
        if pixels and (len(pixels) == _BATCH or row == len(images.files) - 1):
            parts.append(encoder.embed_batch(pixels))
            pixels = []
    if not parts:
        raise NotFound("No image could be read.")
    together = Embeddings(np.concatenate([p.patches for p in parts]), np.concatenate([p.whole for p in parts]))
    return together, images.y[kept], skipped


def _choose(y: NDArray[np.int64], shots: int, seed: int) -> NDArray[np.int64]:
    random = np.random.default_rng(seed)
    return np.concatenate([random.permutation(np.flatnonzero(y == c))[:shots] for c in np.unique(y)])


def _key(row: int) -> str:
    return hashlib.sha256(str(row).encode()).hexdigest()


def _support_set(rows: NDArray[np.int64], y: NDArray[np.int64], classes: list[str]) -> SupportSet:
    records = tuple(ClassRecord(c, name, None, "#000000", position=c) for c, name in enumerate(classes))
    return SupportSet(tuple(_key(i) for i in rows), tuple(int(y[i]) for i in rows), records, version="")


if __name__ == "__main__":
    typer.run(main)

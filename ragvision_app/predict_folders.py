"""Predictions for a folder of images from a folder of examples: no project, nothing kept.

The same engine as the workbench's runs. Memory is bounded by two batches, however many queries there are.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from core.engine import Engine, Unusable
from core.errors import ImageError, ImportFailed, InvalidInput
from core.images import decode, shown, storable
from core.imports import ImageSource, SourceFile, folder_source
from core.settings import ImageLimits
from core.store.support import version_of
from core.text import printable, quoted
from core.types import ClassRecord, ImageRecord, Prediction, SupportSet

BATCH = 8  # images encoded together
BATCH_PIXELS = 48_000_000  # … or fewer, so that a folder of huge photographs fits in memory too
LARGE_BYTES = 4_000_000  # a file that is likely to hold a large image
_ZIP = "zips are not opened. Unpack it into the sub-folder of its class."

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Examples:
    """A support folder, read: the images, and what could not be used."""

    support: SupportSet
    records: dict[str, ImageRecord]
    files: dict[str, SourceFile]
    refused: tuple[tuple[str, str], ...]  # (name, reason)
    repeated: tuple[tuple[str, str], ...]  # (name, the identical image that counts)


@dataclass(frozen=True, slots=True)
class Query:
    """One query file: decoded, or why it could not be."""

    name: str
    record: ImageRecord | None
    image: Image.Image | None
    reason: str = ""


def read_examples(root: Path, limits: ImageLimits) -> Examples:
    """The support set in ``root``: each sub-folder's name is a class, the images in it its examples.

    Raises :class:`ImportFailed` where there are no sub-folders or no readable image, and :class:`InvalidInput`
    where the very same image is given as an example of two classes.
    """
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise ImportFailed(
            f"{quoted(root)} has no sub-folders. Give each class a sub-folder that holds its example images."
        )
    classes = tuple(
        ClassRecord(id=number, name=storable(folder.name), key=None, colour="", position=number)
        for number, folder in enumerate(folders, 1)
    )
    records: dict[str, ImageRecord] = {}
    files: dict[str, SourceFile] = {}
    class_of: dict[str, int] = {}
    refused = [(storable(p.name), _ZIP) for p in sorted(root.iterdir()) if p.suffix.lower() == ".zip" and p.is_file()]
    repeated: list[tuple[str, str]] = []
    for class_, folder in zip(classes, folders, strict=True):
        try:
            source = folder_source(folder)
        except ImportFailed as error:
            refused.append((class_.name, str(error)))
            continue
        refused += [(storable(f"{class_.name}/{r.name}"), r.reason) for r in source.refused]
        refused += [(storable(f"{class_.name}/{name}"), _ZIP) for name in source.archives]
        for file in source:
            name = storable(f"{class_.name}/{file.name}")
            query = read_query(replace(file, name=name), limits)
            if query.record is None:
                refused.append((name, query.reason))
                continue
            sha256 = query.record.sha256
            if class_of.setdefault(sha256, class_.id) != class_.id:
                raise InvalidInput(
                    f"{shown(records[sha256].name)} and {shown(name)} are the very same image, but examples of two "
                    "classes. Leave it in the class that it belongs to."
                )
            if sha256 in records:
                repeated.append((name, records[sha256].name))
                continue
            records[sha256], files[sha256] = query.record, file
    if not records:
        raise ImportFailed(
            f"No image in the sub-folders of {quoted(root)} can be read. Give each class a few examples."
        )
    support = SupportSet(tuple(class_of), tuple(class_of.values()), classes, version_of(class_of.items()))
    return Examples(support, records, files, tuple(refused), tuple(repeated))


def zips_unread(folder: Path, names: list[str]) -> str:
    """The sentence that names the zips in a folder of queries; the first ten."""
    some = ", ".join(printable(name) for name in names[:10]) + (", …" if len(names) > 10 else "")
    what = "A zip lies" if len(names) == 1 else f"{len(names):,} zips lie"
    return f"{what} in {quoted(folder)}, and zips are not opened: {some}. Unpack what they hold to have it predicted."


def read_query(file: SourceFile, limits: ImageLimits) -> Query:
    """One file, decoded; a reason instead where it cannot be. Bytes of its name that are no text are spelt out."""
    name = storable(file.name)
    if file.size > limits.max_bytes:  # before it is read
        reason = f"it has {file.size:,} bytes; at most {limits.max_bytes:,} are accepted. Save it smaller."
        return Query(name, None, None, reason)
    try:
        decoded = decode(file.read(), name, limits)
    except ImageError as error:
        return Query(name, None, None, str(error))
    except OSError as error:
        return Query(name, None, None, f"it cannot be read: {error.strerror or error}.")
    record = ImageRecord(
        sha256=decoded.sha256,
        name=name,
        source="",
        width=decoded.width,
        height=decoded.height,
        bytes=decoded.bytes,
        phash=decoded.phash,
        imported_at="",
    )
    return Query(name, record, decoded.image)


def batches(files: Iterable[SourceFile], limits: ImageLimits) -> Iterator[list[Query]]:
    """The files in order, read a little ahead while the batch before is being encoded.

    Of large images one is read ahead, not eight: what lies decoded and waiting is memory too.
    """
    with ThreadPoolExecutor(2, thread_name_prefix="read") as pool:
        waiting = deque(files)
        ahead: deque[Future[Query]] = deque()
        batch: list[Query] = []
        pixels = 0
        large = True  # until the first image is seen to be small
        while waiting or ahead:
            while waiting and len(ahead) < (1 if large or waiting[0].size > LARGE_BYTES else BATCH):
                ahead.append(pool.submit(read_query, waiting.popleft(), limits))
            query = ahead.popleft().result()
            size = query.record.width * query.record.height if query.record else 0
            large = size > BATCH_PIXELS // BATCH
            batch.append(query)
            pixels += size
            del query  # or it would keep the last image of a batch alive through the next
            if len(batch) == BATCH or pixels > BATCH_PIXELS:
                yield batch
                batch, pixels = [], 0
        if batch:
            yield batch


def predict_lines(
    engine_for: Callable[[Callable[[str], Image.Image]], Engine],
    examples: Examples,
    queries: ImageSource,
    limits: ImageLimits,
) -> Iterator[Line]:
    """One line a query file, in their order, then those of other formats. The support set is fitted once.

    ``engine_for(load)`` makes the engine of the chosen configuration, which gets its pixels from ``load``.
    Raises :class:`core.errors.NotReady` where the support set cannot be scored with, with what is missing.
    """
    pixels: dict[str, Image.Image] = {}

    def load(sha256: str) -> Image.Image:
        waiting = pixels.get(sha256)
        return decode(examples.files[sha256].read(), sha256, limits).image if waiting is None else waiting

    engine = engine_for(load)
    try:
        fitted, _ = engine.fit(examples.support, examples.records)
        names = {c.id: c.name for c in examples.support.classes}
        support_names = {sha: record.name for sha, record in examples.records.items()}
        for batch in batches(queries, limits):
            pixels = {q.record.sha256: q.image for q in batch if q.record and q.image}
            records = list({q.record.sha256: q.record for q in batch if q.record}.values())
            started = time.perf_counter()
            predictions = {p.image: p for p in engine.predict(fitted, records)}
            each = (time.perf_counter() - started) * 1000 / max(len(records), 1)
            for query in batch:
                if query.record is None:
                    prediction = engine.unreadable(fitted, Unusable(query.name, query.reason))
                    yield prediction_line(query.name, prediction, names, support_names, 0.0)
                else:
                    yield prediction_line(query.name, predictions[query.record.sha256], names, support_names, each)
        for refused in queries.refused:
            prediction = engine.unreadable(fitted, Unusable(refused.name, refused.reason))
            yield prediction_line(storable(refused.name), prediction, names, support_names, 0.0)
    finally:
        engine.close()


def prediction_line(
    name: str, prediction: Prediction, classes: Mapping[int, str], support: Mapping[str, str], ms: float
) -> Line:
    """A prediction as its line: classes by name, images by path, every number with all its digits."""
    shares = prediction.contributions
    return {
        "image": name,
        "status": prediction.status.value,
        "reason": prediction.reason,
        "flag": None if prediction.flag is None else classes[prediction.flag],
        "scores": {classes[s.class_id]: s.probability for s in prediction.scores},
        "logits": {classes[s.class_id]: s.logit for s in prediction.scores},
        "runner_up": None if prediction.runner_up is None else classes[prediction.runner_up],
        "margin": prediction.margin,
        "evidence": [
            {
                "number": e.number,
                "class": classes[e.class_id],
                "similarity": e.similarity,
                "contribution": e.contribution,
                "query_box": e.query_box.as_list(),
                "support_image": support[e.support_image],
                "support_box": e.support_box.as_list(),
            }
            for e in prediction.evidence
        ],
        "contributions": None
        if shares is None
        else {
            "grid": list(shares.grid),
            "values": [
                list(shares.values[row * shares.grid[1] : (row + 1) * shares.grid[1]]) for row in range(shares.grid[0])
            ],
            "whole": shares.whole,
            "by_support_image": {support[image]: share for image, share in shares.by_support.items()},
            "constant": shares.constant,
            "text": shares.text,
        },
        "explanation": prediction.explanation,
        "cited_evidence": list(prediction.cited_evidence),
        "calibrated": prediction.calibrated.value,
        "encoder": prediction.encoder,
        "reasoner": prediction.reasoner,
        "recipe": prediction.recipe,
        "support_version": prediction.support_version,
        "prompt": prediction.prompt or None,
        "ms": round(ms, 2),
        "ms_by_step": {step: round(value, 2) for step, value in prediction.ms.items()},
    }

"""What is loaded, from where, how large and how fast lately: the figures of the health panel.

Read from the worker's engine, the store and the disk; nothing is loaded or computed to answer. No secret is ever
part of it: of a key in the environment only whether it is set.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.choices import Speed, Wanting, wanting
from core.embedding_cache import stored_images
from core.model_folder import parameters_in
from core.ports import short_name
from core.run_status import RunStatus

if TYPE_CHECKING:
    from core.engine import Engine
    from core.project import Project
    from core.settings import PipelineSettings
    from core.store import Store

SECRETS = ("OPENAI_API_KEY", "HF_TOKEN", "RAGVISION_TOKEN")
_RECENT = 40


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """The encoder or the reasoner. ``state``: in use, standing in, loading or not loaded.

    ``chosen`` is what the settings name, ``running`` what works (empty where nothing does). ``source`` is a file,
    a folder or a server's address without credentials. Sizes are None where there is no model, or they are not known.
    """

    role: str
    chosen: str
    running: str
    state: str
    id: str = ""
    source: str = ""
    parameters: int | None = None
    stored_bytes: int | None = None
    memory: str = ""
    device: str = ""
    speed: str = ""
    note: str = ""
    wanting: Wanting | None = None


@dataclass(frozen=True, slots=True)
class CacheUse:
    """Embeddings of one encoder on disk."""

    encoder: str
    images: int
    bytes: int
    in_use: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything that the health panel shows."""

    encoder: LoadedModel
    reasoner: LoadedModel
    status: RunStatus
    speed: Speed
    caches: tuple[CacheUse, ...]
    other_bytes: int  # thumbnails and positions: the rest of the cache folder
    process_bytes: int | None
    free_bytes: int | None
    device: str
    secrets: tuple[tuple[str, bool], ...]


def look(
    engine: Engine | None, status: RunStatus, settings: PipelineSettings, store: Store, project: Project
) -> Loaded:
    """As things stand now."""
    missing = {w.role: w for w in wanting(settings)}
    speed = speed_of(engine, store)
    current = engine if engine is not None and engine.settings == settings else None
    return Loaded(
        encoder=_encoder(current, status, settings, missing.get("encoder"), speed),
        reasoner=_reasoner(current, status, settings, missing.get("reasoner"), speed),
        status=status,
        speed=speed,
        caches=_caches(project.cache_dir / "embeddings", current),
        other_bytes=_bytes_in_minute(project.cache_dir, int(time.monotonic() // 60)),
        process_bytes=_status_bytes("VmRSS"),
        free_bytes=_free_bytes(),
        device=_device(),
        secrets=tuple((name, bool(os.environ.get(name))) for name in SECRETS),
    )


def _encoder(
    engine: Engine | None, status: RunStatus, settings: PipelineSettings, missing: Wanting | None, speed: Speed
) -> LoadedModel:
    if engine is None:
        return LoadedModel("encoder", settings.encoder, "", _without(status), wanting=missing)
    encoder: Any = engine.query_encoder
    running = short_name(encoder.id)
    pace = speed.images_per_second
    return _described(
        encoder,
        LoadedModel(
            "encoder",
            settings.encoder,
            running,
            "in use" if encoder.id.startswith(f"{settings.encoder}-") else "standing in",
            id=encoder.id,
            device=encoder.device,
            speed=f"{pace:,.1f} images a second" if pace else "",
            wanting=missing,
        ),
    )


def _reasoner(
    engine: Engine | None, status: RunStatus, settings: PipelineSettings, missing: Wanting | None, speed: Speed
) -> LoadedModel:
    if engine is None:
        return LoadedModel("reasoner", settings.reasoner, "", _without(status), wanting=missing)
    reasoner: Any = engine.pipeline.reasoner
    pace = speed.seconds_per_answer
    return _described(
        reasoner,
        LoadedModel(
            "reasoner",
            settings.reasoner,
            reasoner.id.split(" ")[0],
            "in use" if reasoner.id.split(" ")[0] == settings.reasoner else "standing in",
            id=reasoner.id,
            speed="" if pace is None else f"{pace:,.2f} s an answer" if pace >= 0.01 else "under 0.01 s an answer",
            wanting=missing,
        ),
    )


def _without(status: RunStatus) -> str:
    return "loading" if status.state == "loading" else "not loaded"


def _described(adapter: Any, model: LoadedModel) -> LoadedModel:
    """With what the adapter offers beyond its port: source, device, memory, note."""
    source = getattr(adapter, "source", "")
    parameters, stored = weights_of(Path(source)) if isinstance(source, Path) else (None, None)
    return replace(
        model,
        source=public_address(str(source)),
        parameters=parameters,
        stored_bytes=stored,
        memory=str(getattr(adapter, "memory", "")),
        device=model.device or str(getattr(adapter, "device", "")),
        note=str(getattr(adapter, "note", "")),
    )


def public_address(text: str) -> str:
    """A path as it is; of a URL scheme, host, port and path, without user, password, query and fragment."""
    if not re.match(r"[A-Za-z][\w+.-]*://", text):
        return text
    try:
        parts = urlsplit(text)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(an address that cannot be read)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def weights_of(source: Path) -> tuple[int | None, int | None]:
    """(parameters, bytes) of a model's folder or file; parameters are counted in safetensors headers alone."""
    try:
        if source.is_file():
            return None, source.stat().st_size
        files = sorted(source.glob("*.safetensors"))
        stored = sum(file.stat().st_size for file in files)
        return (sum(parameters_in(file) for file in files), stored) if files else (None, None)
    except (OSError, ValueError, KeyError, TypeError):
        return None, None


def speed_of(engine: Engine | None, store: Store) -> Speed:
    """How fast the models were lately."""
    run = store.current_run()
    took: Sequence[float] = store.recent_milliseconds(run.id, "reason", _RECENT) if run is not None else ()
    return Speed(None if engine is None else engine.images_per_second, sum(took) / len(took) / 1000 if took else None)


def _caches(folder: Path, engine: Engine | None) -> tuple[CacheUse, ...]:
    now = engine.query_encoder.id if engine is not None else ""
    found = [
        CacheUse(name, images, _bytes_under(folder / name), name == now)
        for name, images in stored_images(folder).items()
    ]
    return tuple(sorted(found, key=lambda use: (not use.in_use, use.encoder)))


@lru_cache(maxsize=4)
def _bytes_in_minute(cache: Path, minute: int) -> int:
    """Once a minute: there may be hundreds of thousands of previews."""
    return _bytes_under(cache, without="embeddings")


def _bytes_under(folder: Path, without: str = "") -> int:
    total = 0
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return 0
    for entry in entries:
        if entry.name == without:
            continue
        try:
            total += _bytes_under(Path(entry.path)) if entry.is_dir(follow_symlinks=False) else entry.stat().st_size
        except OSError:  # deleted in between
            continue
    return total


# --------------------------------------------------------------------------- the machine
def _status_bytes(name: str) -> int | None:
    return _kilobytes(Path("/proc/self/status"), name)


def _free_bytes() -> int | None:
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable")


def _kilobytes(file: Path, name: str) -> int | None:
    try:
        found = re.search(rf"^{name}:\s+(\d+) kB", file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def _device() -> str:
    """Where models run, and why, as far as torch is loaded already: to ask it would load it."""
    torch: Any = sys.modules.get("torch")
    cores = os.cpu_count() or 1
    if torch is None or not hasattr(torch, "cuda"):
        return f"The processor, {cores} cores. A GPU is looked for when a model of torch is chosen."
    if not torch.cuda.is_available():
        return f"The processor, {cores} cores: torch finds no GPU."
    free, total = torch.cuda.mem_get_info(0)
    return f"{torch.cuda.get_device_name(0)}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free."

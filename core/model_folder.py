"""Where a Hugging Face model lies on this machine: what encoders and reasoners need to know of it alike.

A folder, or a snapshot in the hub's cache. Nothing is ever downloaded here. Weights are safetensors files alone:
other formats can run code when they are read.
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import ModelUnavailable

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_LONGEST_HEADER = 100_000_000
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def is_hub_id(name: str, *, with_owner: bool = False) -> bool:
    """Whether ``name`` can be a model on the hub: ``owner/name``, or a ``name`` alone as a few old ones have."""
    return _HUB_ID.fullmatch(name) is not None and ("/" in name or not with_owner)


def hub_cache() -> Path:
    """The folder of huggingface_hub's cache, by the variables that it reads itself."""
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    if "HF_HOME" in os.environ:
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.path.expandvars(base)).expanduser() / "huggingface" / "hub"


def repository(model: str) -> Path:
    """Where the hub's cache keeps a model, whether it does or not."""
    return hub_cache() / f"models--{model.replace('/', '--')}"


def snapshots(model: str) -> Iterator[Path]:
    """The snapshot of the main branch first, then all others, the newest first."""
    kept = repository(model)
    main = kept / "refs" / "main"
    first = kept / "snapshots" / main.read_text().strip() if main.is_file() else None
    if first is not None and first.is_dir():
        yield first
    others = [p for p in kept.glob("snapshots/*") if p.is_dir() and p != first]
    yield from sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)


def weights_in(folder: Path) -> list[Path]:
    """The files of weights that have to be there: the single one, or all that the index names; empty for neither."""
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not (folder / INDEX).is_file():
        return []
    parts = read_json(folder / INDEX).get("weight_map")
    return [folder / name for name in sorted({str(name) for name in parts.values()})] if isinstance(parts, dict) else []


def parameters_in(file: Path) -> int:
    """How many a safetensors file holds, out of its header alone: eight bytes of length, then JSON with every shape.

    Raises OSError, ValueError, KeyError or TypeError for what is no such file.
    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > _LONGEST_HEADER:
            raise ValueError("no header")
        header = json.loads(opened.read(length))
    if not isinstance(header, dict):
        raise ValueError("no header")
    return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")


def states(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """(path, size, time of change) of configuration and weights: what tells one state from another, unread."""
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    return tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; ModelUnavailable for anything else."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}.") from error
    if not isinstance(values, dict):
        raise ModelUnavailable(f"{path} holds no JSON object.")
    return values


def download_command(model: str, options: str = "") -> str:
    """What a person types to get a model: with the program that lies beside this Python where it is on no path."""
    beside = Path(sys.executable).parent / "hf"
    program = "hf" if shutil.which("hf") or not beside.is_file() else str(beside)
    return f"{program} download {model}{options}"

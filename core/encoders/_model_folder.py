"""Where a Hugging Face model lies on this machine: a folder, or a snapshot in the hub's cache.

Nothing is ever downloaded here. Where files are missing, the error says which, where they were looked for
and the one command that gets them. Weights are taken from safetensors files alone: other formats can run
code when they are read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import ModelUnavailable
from core.text import quoted

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
# Where the main branch holds no safetensors file, but a revision beside it does.
_REVISIONS = {"openai/clip-vit-base-patch32": "refs/pr/15"}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model that is there: its folder, its name as the user gave it, and the hash that stands for its files."""

    path: Path
    name: str
    digest: str  # the hub's commit, or sha256 over configuration and weights

    @property
    def slug(self) -> str:
        """The name as a part of a folder's name."""
        return re.sub(r"[^A-Za-z0-9._]+", "-", self.name)[:40].strip("-.") or "model"


def find_model(encoder: str, model: str) -> ModelFolder:
    """The folder of ``model``, a path or a hub id. Raises ModelUnavailable with what to do."""
    path, name = _find(encoder, model)
    known = path.name if name == model and _COMMIT.fullmatch(path.name) else ""  # the hub's commit
    return ModelFolder(path, name, known or _digest(path))


def files_of(encoder: str, model: str) -> str:
    """What tells one state of the model's files from another, without reading them. Raises as :func:`find_model`."""
    path, _ = _find(encoder, model)
    return repr([str(path), *_stats(path)])


def _find(encoder: str, model: str) -> tuple[Path, str]:
    """The folder and the model's name."""
    path = Path(model).expanduser()
    if path.is_dir():
        missing = _missing(path)
        if missing:
            raise ModelUnavailable(f"The encoder {encoder} looked for {missing} in {path}. {_advice(path)}")
        return path, path.resolve().name
    if not _HUB_ID.fullmatch(model):
        raise ModelUnavailable(
            f"The encoder {encoder} looked for the folder {quoted(model)}, which is not there. Give a folder with "
            "config.json and model.safetensors, or a hub id such as openai/clip-vit-base-patch32."
        )
    snapshots = hub_cache() / f"models--{model.replace('/', '--')}"
    incomplete = None
    for snapshot in _snapshots(snapshots):
        missing = _missing(snapshot)
        if not missing:
            return snapshot, model
        incomplete = incomplete or (snapshot, missing)
    where, what = incomplete or (snapshots, _WEIGHTS[0])
    aside = f" {_advice(where)}" if incomplete and list(where.glob("*.bin")) else ""
    raise ModelUnavailable(
        f"The encoder {encoder} looked for {what} of {model} in {where}, and it is not there.{aside} "
        f"Get it with: {_command(model)}"
    )


def hub_cache() -> Path:
    """The folder of huggingface_hub's cache, by the variables that it reads itself."""
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"]).expanduser()
    if "HF_HOME" in os.environ:
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    return Path(os.path.expandvars(base)).expanduser() / "huggingface" / "hub"


def preprocessing_of(folder: Path) -> dict[str, Any]:
    """The image processor's values: of its own file, or of the processor's that newer versions write."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        whole = _json(path)
        values = whole.get("image_processor", whole if name.startswith("pre") else None)
        if isinstance(values, dict):
            return values
    raise ModelUnavailable(
        f"{folder} holds no preprocessor_config.json, so how its images are normalised is not known. "
        "Copy that file from where the model comes from."
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelUnavailable(f"{path} cannot be read: {error}.") from error
    if not isinstance(values, dict):
        raise ModelUnavailable(f"{path} holds no JSON object.")
    return values


def _snapshots(repository: Path) -> Iterator[Path]:
    """The snapshot of the main branch first, then all others, the newest first."""
    main = repository / "refs" / "main"
    first = repository / "snapshots" / main.read_text().strip() if main.is_file() else None
    if first is not None and first.is_dir():
        yield first
    others = [p for p in repository.glob("snapshots/*") if p.is_dir() and p != first]
    yield from sorted(others, key=lambda p: p.stat().st_mtime, reverse=True)


def _missing(folder: Path) -> str:
    """The name of the file that this folder lacks; empty where nothing is missing."""
    if not (folder / "config.json").is_file():
        return "config.json"
    if (folder / _WEIGHTS[0]).is_file():
        return ""
    index = folder / _WEIGHTS[1]
    if not index.is_file():
        return _WEIGHTS[0]
    shards = _json(index).get("weight_map")
    names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
    return next((name for name in names if not (folder / name).is_file()), "" if names else _WEIGHTS[0])


def _advice(folder: Path) -> str:
    others = sorted(p.name for p in folder.glob("*.bin"))
    if others:
        return f"{others[0]} is there, but such files can run code when they are read, so safetensors alone is loaded."
    return "Put it there, or name another model in encoder_model."


def _command(model: str) -> str:
    beside = Path(sys.executable).parent / "hf"
    hf = "hf" if shutil.which("hf") or not beside.is_file() else str(beside)
    revision = f" --revision {_REVISIONS[model]}" if model in _REVISIONS else ""
    return f'{hf} download {model}{revision} --include "*.json" --include "*.safetensors"'


def _digest(folder: Path) -> str:
    return _hash_of(_stats(folder))


def _stats(folder: Path) -> tuple[tuple[str, int, int], ...]:
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    return tuple((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in files)


@lru_cache(maxsize=8)
def _hash_of(files: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.sha256()
    for path, _, _ in files:
        with Path(path).open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()

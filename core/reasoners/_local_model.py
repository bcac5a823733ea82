"""A model's folder, found without a network, and whether it fits: what has to be known before anything is loaded."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from core.errors import ModelUnavailable
from core.model_folder import INDEX, download_command, hub_cache, is_hub_id, parameters_in, snapshots, weights_in

_NEEDED = ("config.json", "tokenizer_config.json")
_WORK = 0.15  # of the weights, on top of them: buffers and the attention of one batch (an estimate)
_WORK_BASE = 700_000_000


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A folder with a model in it, checked: ``parameters`` as its safetensors files count them."""

    name: str
    folder: Path
    parameters: int
    stored_bytes: int
    fingerprint: str

    @property
    def short_name(self) -> str:
        """What people call it."""
        return self.name.rstrip("/").rsplit("/", 1)[-1][:60]

    def needs(self, bytes_per_parameter: int) -> int:
        """Bytes of memory that it takes to run, estimated."""
        weights = self.parameters * bytes_per_parameter
        return weights + int(weights * _WORK) + _WORK_BASE


def find_model(name: str) -> LocalModel:
    """``name`` is a folder or a hub id that was fetched before; nothing is downloaded.

    Raises ModelUnavailable that says which file was looked for where, and the command that gets it.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _fetched(name)
    for needed in _NEEDED:
        if not (folder / needed).is_file():
            raise ModelUnavailable(f"There is no {needed} in {folder}: no model can be loaded. {_get(name)}")
    files = _weights(name, folder)
    parameters = sum(_parameters(path) for path in files)
    return LocalModel(name, folder, parameters, sum(p.stat().st_size for p in files), _fingerprint(folder, files))


def _fetched(name: str) -> Path:
    if not is_hub_id(name, with_owner=True):
        raise ModelUnavailable(f"There is no folder {name!r}, and it is no id of the form owner/name either.")
    found = next(snapshots(name), None)
    if found is None:
        raise ModelUnavailable(
            f"The model {name} is not on this machine: config.json and *.safetensors were looked for in "
            f"{hub_cache()}. {_get(name)}"
        )
    return found


def _get(name: str) -> str:
    if Path(name).expanduser().is_dir() or not is_hub_id(name, with_owner=True):
        return "Choose the folder of a complete model, with its tokenizer and *.safetensors."
    return f"Get it with: {download_command(name)}"


def _weights(name: str, folder: Path) -> list[Path]:
    """The safetensors files, all that the index names; no other format is loaded, since it could run code."""
    files = weights_in(folder)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelUnavailable(f"{', '.join(missing[:3])} is missing in {folder}. {_get(name)}")
    if not files and (folder / INDEX).is_file():
        raise ModelUnavailable(f"{folder / INDEX} is no index of weights. {_get(name)}")
    files = files or sorted(folder.glob("*.safetensors"))
    if not files:
        others = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
        why = "it has weights in a format that can run code; only safetensors are loaded" if others else "it has none"
        raise ModelUnavailable(f"*.safetensors were looked for in {folder}, but {why}. {_get(name)}")
    return files


def _parameters(path: Path) -> int:
    try:
        return parameters_in(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"{path} is no safetensors file, or it is damaged. Get it again.") from error


def _fingerprint(folder: Path, files: list[Path]) -> str:
    """12 hex digits over the configuration and, of every file of weights, its size, both ends and its header.

    Not over every byte: gigabytes would be read twice at every start.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in files:
        size = path.stat().st_size
        digest.update(f"{path.name} {size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, size - (1 << 20)))
            digest.update(file.read(1 << 20))
    return digest.hexdigest()[:12]


# --------------------------------------------------------------------------- memory and device
@dataclass(frozen=True, slots=True)
class Place:
    """Where a model runs, in which numbers, and the sentence about its memory."""

    device: str
    dtype: str
    sentence: str

    @property
    def shown(self) -> str:
        """``cpu · float32``"""
        return f"{self.device} · {self.dtype}"


_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def choose_place(model: LocalModel, candidates: list[tuple[str, str, int | None]]) -> Place:
    """The first of (device, dtype, free bytes) that the model fits in; free None: not known, so tried.

    Raises ModelUnavailable that says what it takes and what there is.
    """
    told = []
    for device, dtype, free in candidates:
        need = model.needs(_BYTES[dtype])
        have = "an unknown amount of memory" if free is None else f"{_size(free)} free"
        words = f"about {_size(need)} in {dtype} ({device}: {have})"
        if free is None or need <= free:
            return Place(device, dtype, f"{model.short_name} ({model.parameters:,} parameters) takes {words}.")
        told.append(words)
    raise ModelUnavailable(
        f"{model.short_name} does not fit into the memory of this machine: it takes {', or '.join(told)}. Close other "
        "programs, choose a smaller model (setting reasoner_model) or a server (reasoner openai)."
    )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def free_memory(meminfo: Path = Path("/proc/meminfo"), control_group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that can be had without swapping, also under a container's limit; None where it cannot be told."""
    amounts = [_available(meminfo), _left_in(control_group)]
    known = [a for a in amounts if a is not None]
    return min(known) if known else None


def _available(meminfo: Path) -> int | None:
    try:
        text = meminfo.read_text()
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _left_in(group: Path) -> int | None:
    """What a container's limit leaves; pages that only cache files do not count as taken."""
    try:
        limit = (group / "memory.max").read_text().strip()
        taken = int((group / "memory.current").read_text())
        cached = re.search(r"^inactive_file (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
    except (OSError, ValueError):
        return None
    if not limit.isdigit():  # "max": no limit
        return None
    return max(0, int(limit) - taken + (int(cached[1]) if cached else 0))

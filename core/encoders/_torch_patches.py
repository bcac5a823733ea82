"""What every encoder on torch shares: pixels, device, batches, and patches of another size than the network's.

The whole image is in view: it is resized to a square, never cropped. A network is loaded at the first image,
once for all encoders that use it. Half precision on a GPU, float32 on a CPU; embeddings leave as float32.
"""

from __future__ import annotations

import gc
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
from PIL import Image

from core.devices import GPU, gpu_precision
from core.encoders._model_folder import ModelFolder, preprocessing_of
from core.errors import InvalidSettings, ModelUnavailable
from core.scoring_basis import normalise
from core.settings import PipelineSettings
from core.types import Embeddings, Float32

if TYPE_CHECKING:
    import torch

_BATCH = {"cpu": 8, "cuda": 128}  # images a forward pass


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a network runs and in which precision."""

    device: str
    dtype: str

    @property
    def words(self) -> str:
        """For the screen."""
        return f"{self.device} · torch {self.dtype}" if self.device == "cpu" else f"{self.device} · {self.dtype}"


def placement(device: str) -> Placement:
    """On the GPU in half precision, on the processor in float32; ``device`` as :func:`gpu_precision` takes it."""
    half = gpu_precision(device)
    return Placement("cpu", "float32") if half is None else Placement(GPU, half)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Upright images → (n, 3, side, side), by the numbers of the model's own image processor."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    scale: float
    resample: int

    @classmethod
    def read(cls, folder: Path) -> Preprocessing:
        """From the model's folder; raises ModelUnavailable where the numbers are missing or make no sense."""
        values = preprocessing_of(folder)
        normalised = values.get("do_normalize", True)
        try:
            r, g, b = (float(v) for v in (values["image_mean"] if normalised else (0, 0, 0)))
            mean = (r, g, b)
            r, g, b = (float(v) for v in (values["image_std"] if normalised else (1, 1, 1)))
            scale = float(values.get("rescale_factor", 1 / 255)) if values.get("do_rescale", True) else 1.0
            resample = Image.Resampling(values.get("resample", Image.Resampling.BICUBIC))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelUnavailable(
                f"The image processor's file in {folder} has no usable image_mean and image_std: {error!r}."
            ) from error
        if min(r, g, b) <= 0:
            raise ModelUnavailable(f"The image processor's file in {folder} has an image_std that is not positive.")
        return cls(mean, (r, g, b), scale, int(resample))

    @property
    def id(self) -> str:
        """Short and the same for the same numbers."""
        numbers = json.dumps([self.mean, self.std, self.scale, self.resample])
        return f"square-{hashlib.sha256(numbers.encode()).hexdigest()[:6]}"

    def square(self, image: Image.Image, side: int) -> Image.Image:
        """The whole image, squeezed into a square."""
        upright = image if image.mode == "RGB" else image.convert("RGB")
        return (
            upright if upright.size == (side, side) else upright.resize((side, side), Image.Resampling(self.resample))
        )

    def pixels(self, squares: Sequence[Image.Image]) -> Float32:
        """(n, 3, side, side)"""
        stacked = np.stack([np.asarray(s) for s in squares]).astype(np.float32)  # (n, side, side, 3)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        stacked = (stacked * np.float32(self.scale) - mean) / std
        return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a network gives for n images, not normalised.

    patches (n, gh, gw, d), whole (n, g); ``whole_is_mean`` where ``whole`` is the mean of ``patches``.
    """

    patches: torch.Tensor
    whole: torch.Tensor
    whole_is_mean: bool = False


Network = Callable[["torch.Tensor"], Tokens]


@dataclass(frozen=True, slots=True)
class Shape:
    """What has to be known of a network before it is loaded."""

    patch: int  # side of its own patch, pixels
    native: int  # side of the images that it was trained on
    width: int  # of its embeddings


class TorchPatchEncoder:
    """An :class:`core.ports.Encoder` on a network that sees a grid of patches. Safe to call from several threads.

    ``load(placement)`` gives the network; it is called at the first image. Raises InvalidSettings for sizes
    that the network cannot have.
    """

    def __init__(
        self,
        name: str,
        folder: ModelFolder,
        shape: Shape,
        settings: PipelineSettings,
        resolution: int,
        load: Callable[[Placement], Network],
        *,
        variant: str = "",
        threads: int | None = None,
    ) -> None:
        check_sizes(f"{name} ({folder.name})", shape, settings, resolution)
        self._folder, self._shape, self._resolution, self._threads = folder, shape, resolution, threads
        self._patch_pixels, self._crops = settings.support_patch_size, settings.patch_mode == "crops"
        self._load, self._variant = load, f"{name} {variant}"
        self._held: Held | None = None
        self._preprocessing = Preprocessing.read(folder.path)
        self._placement = placement(settings.device)
        parts = [name, folder.slug, folder.digest[:12], self._preprocessing.id, variant, "crops" if self._crops else ""]
        parts.append("" if self._placement.dtype == "float32" else self._placement.dtype)
        self._id = "-".join([p for p in parts if p]) + f"-p{self._patch_pixels}-{resolution}"

    @property
    def id(self) -> str:
        """Name, model, hash of the weights, preprocessing and settings; safe as a folder name."""
        return self._id

    @property
    def device(self) -> str:
        """Where it runs, and in which precision."""
        return self._placement.words

    @property
    def source(self) -> Path:
        """The folder that the model comes from."""
        return self._folder.path

    @property
    def patch_pixels(self) -> int:
        """Side of a patch in pixels of the resized image."""
        return self._patch_pixels

    def load(self) -> None:
        """Loads the network now instead of at the first image; ModelUnavailable where its files are no model."""
        self._network()

    def embed_batch(self, images: Sequence[Image.Image], *, whole_map: bool = False) -> Embeddings:
        """Upright images of any size → patches (n, g, g, d), whole (n, d), whole_map (n, G, G, d) if there is one.

        g = resolution / patch_pixels, G = resolution / the network's own patch.
        """
        cells = self._resolution // self._patch_pixels
        if not images:
            return Embeddings(
                np.zeros((0, cells, cells, self._shape.width), np.float32),
                np.zeros((0, self._shape.width), np.float32),
            )
        squares = [self._preprocessing.square(image, self._resolution) for image in images]
        dense = list(self._forward(squares))
        whole, is_mean = np.concatenate([w for _, w, _ in dense]), dense[0][2]
        fine = np.concatenate([p for p, _, _ in dense])
        if self._crops:
            patches = np.concatenate([w for _, w, _ in self._forward(list(self._cut(squares, cells)))])
            patches = patches.reshape(len(images), cells, cells, -1)
        else:
            patches = pool(fine, self._patch_pixels // self._shape.patch)
        return Embeddings(normalise(patches), normalise(whole), fine if whole_map and is_mean else None)

    def _cut(self, squares: Sequence[Image.Image], cells: int) -> Iterator[Image.Image]:
        """Every cell of every image, row by row, each enlarged to what the network was trained on."""
        side = self._patch_pixels
        for square in squares:
            for row in range(cells):
                for column in range(cells):
                    box = (column * side, row * side, (column + 1) * side, (row + 1) * side)
                    yield self._preprocessing.square(square.crop(box), self._shape.native)

    def _network(self) -> Network:
        if self._held is None:
            key = (self._variant, str(self._folder.path), self._folder.digest, self._placement)
            self._held = loaded(key, self._load)
        return self._held.network

    def _forward(self, squares: Sequence[Image.Image]) -> Iterator[tuple[Float32, Float32, bool]]:
        import torch

        network = self._network()
        if self._threads is not None and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        size = _BATCH[self._placement.device.partition(":")[0]]
        for start in range(0, len(squares), size):
            pixels = torch.from_numpy(self._preprocessing.pixels(squares[start : start + size]))
            try:
                with torch.inference_mode():
                    tokens = network(pixels.to(self._placement.device))
                    patches, whole = tokens.patches.float().cpu().numpy(), tokens.whole.float().cpu().numpy()
            except torch.OutOfMemoryError as error:
                raise ModelUnavailable(
                    f"{self._folder.name} at {self._resolution} pixels does not fit the memory of "
                    f"{self._placement.device}. Choose a smaller input_resolution or a smaller model."
                ) from error
            yield patches, whole, tokens.whole_is_mean


def check_sizes(name: str, shape: Shape, settings: PipelineSettings, resolution: int) -> None:
    """Raises InvalidSettings with the reason, and with what to choose instead."""
    own, wanted = shape.patch, settings.support_patch_size
    if resolution % own:
        low = resolution // own * own
        choice = f"{low} or {low + own}" if low else f"{own}"
        raise InvalidSettings(
            f"{name} sees patches of {own} pixels, so a resolution must be a multiple of {own}, and {resolution} is "
            f"not. Choose {choice}."
        )
    if resolution % wanted:
        raise InvalidSettings(f"support_patch_size {wanted} does not divide the resolution {resolution}.")
    if settings.patch_mode == "pooled" and wanted % own:
        raise InvalidSettings(
            f"{name} sees patches of {own} pixels, so a pooled support_patch_size must be a multiple of {own}, and "
            f"{wanted} is not. Choose {own} or {2 * own}, or patch_mode crops: one pass a crop, many times slower."
        )


def pool(patches: Float32, block: int) -> Float32:
    """Mean over blocks of positions: (n, gh, gw, d) → (n, gh/block, gw/block, d)."""
    if block == 1:
        return patches
    n, gh, gw, d = patches.shape
    pooled: Float32 = patches.reshape(n, gh // block, block, gw // block, block, d).mean(axis=(2, 4))
    return pooled


class Held:
    """A network in memory, for as long as an encoder that uses it is."""

    def __init__(self, network: Network) -> None:
        self.network = network


_lock = threading.Lock()
_held: WeakValueDictionary[Any, Held] = WeakValueDictionary()


def loaded(key: tuple[str, str, str, Placement], load: Callable[[Placement], Network]) -> Held:
    """The network of this key, loaded once for all encoders, whatever their resolution and patch size."""
    with _lock:
        held = _held.get(key)
        if held is None:
            gc.collect()  # a network refers to itself: what nobody uses any more gives its memory back first
            held = _held[key] = Held(load(key[3]))
        return held


@contextmanager
def loading(folder: ModelFolder) -> Iterator[None]:
    """Every way in which files can be no model becomes one sentence; transformers keeps quiet meanwhile."""
    import safetensors
    from transformers.utils import logging as library

    logging: Any = library
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (
        OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError, safetensors.SafetensorError
    ) as error:  # fmt: skip
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ModelUnavailable(f"The model in {folder.path} cannot be loaded: {reason}.") from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def side_of(value: Any, what: str, folder: ModelFolder) -> int:
    """A side out of a configuration: 16, or [16, 16]."""
    sides = set(value) if isinstance(value, list | tuple) else {value}
    if len(sides) != 1 or not isinstance(side := sides.pop(), int) or side < 1:
        raise ModelUnavailable(f"The model in {folder.path} has no {what} of one side, so its patches make no grid.")
    return side

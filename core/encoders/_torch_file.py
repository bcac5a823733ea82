"""Read the tensors of a PyTorch checkpoint without PyTorch, and without running anything in it.

Starting the workbench on the default encoder must not cost the import of torch (seconds, and some
hundred megabytes). The format read here is the one of torch < 1.6: five pickles, then the raw storages.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelUnavailable

_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES: dict[str, Any] = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
}


class _Lazy:
    """A tensor before its storage is read: storage key, offset, shape, strides (in elements)."""

    def __init__(self, key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.key, self.offset, self.shape, self.strides = key, offset, shape, strides


def _rebuild(storage: tuple[str, str], offset: int, shape: Any, strides: Any, *_: Any) -> _Lazy:
    return _Lazy(storage[0], offset, tuple(shape), tuple(strides))


class _Tensors(pickle.Unpickler):
    """Knows tensors and ordered dicts; every other name in the file is refused, so nothing can run."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.dtypes: dict[str, Any] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if module == "torch" and name in _DTYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a weights file")

    def persistent_load(self, pid: Any) -> tuple[str, str]:
        _, kind, key, *_ = pid
        self.dtypes[key] = _DTYPES[kind]
        return key, kind


def _tensor(storage: NDArray[Any], t: _Lazy) -> NDArray[Any]:
    last = t.offset + sum((size - 1) * stride for size, stride in zip(t.shape, t.strides, strict=True))
    if min((t.offset, *t.shape, *t.strides)) < 0 or last >= len(storage):
        raise ValueError("a tensor reaches outside its storage")  # as_strided would read foreign memory
    strides = tuple(stride * storage.itemsize for stride in t.strides)
    return np.lib.stride_tricks.as_strided(storage[t.offset :], t.shape, strides).copy()


def read_state_dict(path: Path) -> dict[str, NDArray[Any]]:
    """Name → array, for every tensor in the checkpoint; ModelUnavailable when it is not such a file."""
    try:
        with path.open("rb") as file:
            magic, *_ = (_Tensors(file).load() for _ in range(3))  # magic number, protocol, system
            if magic != _MAGIC:
                raise pickle.UnpicklingError("not a checkpoint of the known format")
            tensors = _Tensors(file)
            lazy: dict[str, _Lazy] = tensors.load()
            storages = {}
            for key in _Tensors(file).load():
                dtype = tensors.dtypes[key]
                count = int(np.frombuffer(file.read(8), "<i8")[0])
                storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype, count)
        return {name: _tensor(storages[t.key], t) for name, t in lazy.items()}
    except (OSError, pickle.UnpicklingError, EOFError, KeyError, IndexError, ValueError) as error:
        raise ModelUnavailable(f"The weights file {path.name} cannot be read: {error}.") from error

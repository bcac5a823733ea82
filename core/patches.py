"""Grid cells ↔ pixel boxes of the original image, and maps carried from one grid to another.

The encoder sees the whole image squeezed into a square, so a cell of its grid is the same share of the
original's width and height: a box is found by proportion, whatever the resolution was.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from core.types import Box

Grid = tuple[int, int]


def _span(cell: int, cells: int, pixels: int) -> tuple[int, int]:
    start, stop = cell * pixels // cells, (cell + 1) * pixels // cells
    start = min(start, pixels - 1)
    return start, max(stop, start + 1)  # an image with fewer pixels than cells still gets boxes of a pixel


def cell_box(position: int, grid: Grid, width: int, height: int) -> Box:
    """Row-major ``position`` of a (rows, columns) grid → its box in a width × height image.

    The boxes of all positions tile the image exactly, also where the grid does not divide it.
    """
    rows, columns = grid
    if not 0 <= position < rows * columns:
        raise ValueError(f"position {position} is outside a grid of {rows}×{columns}")
    left, right = _span(position % columns, columns, width)
    top, bottom = _span(position // columns, rows, height)
    return Box(left, top, right, bottom)


def cell_at(x: int, y: int, grid: Grid, width: int, height: int) -> int:
    """The row-major position whose box holds the pixel (x, y); the inverse of :func:`cell_box`."""
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"pixel ({x}, {y}) is outside an image of {width}×{height}")
    rows, columns = grid
    # The boundary of cell c is floor(c·w/cells): invert by the ceiling of the next pixel.
    column = min(columns - 1, ((x + 1) * columns - 1) // width)
    row = min(rows - 1, ((y + 1) * rows - 1) // height)
    return row * columns + column


_ROWS = ("upper", "", "lower")
_COLUMNS = ("left", "", "right")


def position_words(box: Box, width: int, height: int) -> str:
    """Where a box lies, in words: "upper left", "top", "centre", "right" …"""
    row = min(2, (box.top + box.bottom) * 3 // (2 * height))
    column = min(2, (box.left + box.right) * 3 // (2 * width))
    if row == 1 and column == 1:
        return "centre"
    if column == 1:
        return "top" if row == 0 else "bottom"
    return f"{_ROWS[row]} {_COLUMNS[column]}".strip()


@lru_cache(maxsize=64)
def _overlap(source: int, target: int) -> NDArray[np.float64]:
    """(target, source): the share of each source cell that lies in each target cell; columns sum to 1."""
    edges_s, edges_t = np.arange(source + 1) / source, np.arange(target + 1) / target
    low = np.maximum(edges_t[:-1, None], edges_s[None, :-1])
    high = np.minimum(edges_t[1:, None], edges_s[None, 1:])
    shares: NDArray[np.float64] = np.clip(high - low, 0, None) * source
    shares /= shares.sum(axis=0, keepdims=True)
    return shares


def regrid(values: NDArray[np.float64], source: Grid, target: Grid) -> NDArray[np.float64]:
    """(source positions, …) → (target positions, …), row-major, by area: the sum over positions is conserved."""
    if source == target:
        return values
    trailing = values.shape[1:]
    cube = values.reshape(*source, -1)
    rows, columns = _overlap(source[0], target[0]), _overlap(source[1], target[1])
    moved = np.einsum("as,bt,stx->abx", rows, columns, cube, optimize=True)
    result: NDArray[np.float64] = moved.reshape(target[0] * target[1], *trailing)
    return result

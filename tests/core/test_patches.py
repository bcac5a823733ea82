"""Grid cells and pixel boxes: exact tilings, positions in words, sums that are conserved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.patches import cell_at, cell_box, position_words, regrid
from core.types import Box

grids = st.tuples(st.integers(1, 12), st.integers(1, 12))


@given(grids, st.integers(12, 400), st.integers(12, 400))
def test_cutting_a_non_square_image_and_stitching_the_cells_restores_it(grid, width, height):
    image = np.arange(width * height).reshape(height, width)
    stitched = np.full_like(image, -1)
    for position in range(grid[0] * grid[1]):
        box = cell_box(position, grid, width, height)
        target = stitched[box.top : box.bottom, box.left : box.right]
        assert (target == -1).all()  # no pixel twice
        target[:] = image[box.top : box.bottom, box.left : box.right]
    np.testing.assert_array_equal(stitched, image)


@given(grids, st.integers(12, 300), st.integers(12, 300), st.data())
def test_every_pixel_is_in_the_cell_whose_box_holds_it(grid, width, height, data):
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    box = cell_box(cell_at(x, y, grid, width, height), grid, width, height)
    assert box.left <= x < box.right and box.top <= y < box.bottom


def test_boxes_of_a_known_image():
    assert cell_box(0, (7, 7), 300, 200).as_list() == [0, 0, 42, 28]
    assert cell_box(48, (7, 7), 300, 200).as_list() == [257, 171, 300, 200]
    assert cell_box(8, (7, 7), 300, 200).as_list() == [42, 28, 85, 57]


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (500, 2)])
def test_an_image_smaller_than_the_grid_still_has_boxes_inside_it(size):
    for position in range(49):
        box = cell_box(position, (7, 7), *size)
        assert box.right <= size[0] and box.bottom <= size[1]


@pytest.mark.parametrize("position", [-1, 6])
def test_a_position_outside_the_grid_is_refused(position):
    with pytest.raises(ValueError, match="outside"):
        cell_box(position, (2, 3), 10, 10)


@pytest.mark.parametrize(
    ("box", "words"),
    [
        (Box(0, 0, 40, 40), "upper left"),
        (Box(130, 0, 170, 40), "top"),
        (Box(260, 0, 300, 40), "upper right"),
        (Box(0, 130, 40, 170), "left"),
        (Box(130, 130, 170, 170), "centre"),
        (Box(260, 130, 300, 170), "right"),
        (Box(0, 260, 40, 300), "lower left"),
        (Box(130, 260, 170, 300), "bottom"),
        (Box(260, 260, 300, 300), "lower right"),
        (Box(0, 0, 300, 300), "centre"),
    ],
)
def test_positions_in_words(box, words):
    assert position_words(box, 300, 300) == words


@given(grids, grids, st.integers(0, 999))
def test_carrying_a_map_to_another_grid_conserves_its_sum(source, target, seed):
    values = np.random.default_rng(seed).standard_normal((source[0] * source[1], 3))
    np.testing.assert_allclose(regrid(values, source, target).sum(axis=0), values.sum(axis=0), atol=1e-9)


def test_a_map_is_carried_by_area():
    """Two columns to three: the middle one gets a third of each side's mass… here 1 and 3 → ⅔, ⅓+1, 2."""
    np.testing.assert_allclose(regrid(np.array([1.0, 3.0]), (1, 2), (1, 3)), [2 / 3, 1 / 3 + 1, 2])

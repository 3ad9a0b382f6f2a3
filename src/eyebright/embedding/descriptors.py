"""Images described without anything learned: histograms of oriented gradients (HOG), and of colours. No torch.

What image classification rested on before networks, and so what a network is to be measured against.

Shapes: N images, S side in pixels (a multiple of `CELL`), C cells on a side, D width of the description.

Source:
    Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005, with L2-Hys and 2 x 2 cells a
    block; colour histograms in fields as in Lazebnik et al., "Beyond Bags of Features", CVPR 2006.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CELL = 8
"""Pixels on the side of a cell, in which directions are counted."""
DIRECTIONS = 9
"""Bins of direction over half a turn: an edge from dark to bright counts as one from bright to dark."""
LEVELS = 4
"""Bins of each of red, green and blue."""
FIELDS = 2
"""Fields on a side, in each of which colours are counted."""
_BLOCK = 2
_CLIP = 0.2
_TINY = 1e-5
_BATCH = 64


def describe_squares(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Outlines and colours of images, side by side.

    Args:
        squares: (N, S, S, 3) uint8.

    Returns:
        (N, D): `describe_outlines` and `describe_colours`.
    """
    found = [_describe(squares[start : start + _BATCH]) for start in range(0, len(squares), _BATCH)]
    return np.concatenate(found) if found else _describe(squares)


def _describe(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([describe_outlines(squares), describe_colours(squares)], axis=1)


def describe_outlines(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """HOG: (N, S, S, 3) uint8 -> (N, 36 * (C - 1) * (C - 1)); each pixel counts with its steepest channel."""
    count, side = squares.shape[:2]
    assert side % CELL == 0
    values = squares.astype(np.float32)
    across, down = np.zeros_like(values), np.zeros_like(values)
    across[:, :, 1:-1] = values[:, :, 2:] - values[:, :, :-2]
    down[:, 1:-1] = values[:, 2:] - values[:, :-2]
    steepness = np.hypot(across, down)
    steepest = steepness.argmax(axis=3)[..., None]
    across, down, steepness = (np.take_along_axis(part, steepest, axis=3)[..., 0] for part in (across, down, steepness))
    turn = np.arctan2(down, across) % np.float32(np.pi)
    bins = np.minimum((turn * (DIRECTIONS / np.pi)).astype(np.int64), DIRECTIONS - 1)
    cells = side // CELL
    # A number for each pixel's image, cell and direction; counting weighted numbers is one pass.
    cell = np.arange(side) // CELL
    place = (cell[:, None] * cells + cell[None, :]) * DIRECTIONS
    place = np.arange(count)[:, None, None] * (cells * cells * DIRECTIONS) + place + bins
    counted = np.bincount(place.ravel(), steepness.ravel(), minlength=count * cells * cells * DIRECTIONS)
    histograms = (counted / CELL**2).reshape(count, cells, cells, DIRECTIONS)
    blocks = np.stack(
        [
            histograms[:, row : cells - _BLOCK + 1 + row, column : cells - _BLOCK + 1 + column]
            for row in range(_BLOCK)
            for column in range(_BLOCK)
        ],
        axis=3,
    ).reshape(count, cells - _BLOCK + 1, cells - _BLOCK + 1, _BLOCK**2 * DIRECTIONS)
    blocks = np.minimum(_unit(blocks), _CLIP)
    return _unit(blocks).reshape(count, (cells - _BLOCK + 1) ** 2 * _BLOCK**2 * DIRECTIONS).astype(np.float32)


def describe_colours(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Colours by field: (N, S, S, 3) uint8 -> (N, 4 * 64), the square roots of the shares of 4 x 4 x 4 colours."""
    count, side = squares.shape[:2]
    level = squares.astype(np.int64) * LEVELS // 256
    colour = (level[..., 0] * LEVELS + level[..., 1]) * LEVELS + level[..., 2]
    field = np.arange(side) * FIELDS // side
    place = (field[:, None] * FIELDS + field[None, :]) * LEVELS**3
    width = FIELDS * FIELDS * LEVELS**3
    place = np.arange(count)[:, None, None] * width + place + colour
    counted = np.bincount(place.ravel(), minlength=count * width).reshape(count, FIELDS * FIELDS, LEVELS**3)
    shares = counted / np.maximum(counted.sum(axis=2, keepdims=True), 1)
    # Roots: the distance between two histograms is then Hellinger's, and a large field of one colour drowns no other.
    described: NDArray[np.float32] = np.sqrt(shares).reshape(count, width).astype(np.float32)
    return described


def _unit(blocks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each block divided by its length; one without any gradient stays zero."""
    length: NDArray[np.float64] = np.sqrt((blocks**2).sum(axis=-1, keepdims=True) + _TINY**2)
    return blocks / length

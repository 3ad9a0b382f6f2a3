"""What an image becomes on its way through a network, as pictures. No torch here.

Shapes: C channels, H x W positions, D units.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.drawing.blocks import find_blocks
from eyebright.drawing.boxes import find_boxes
from eyebright.drawing.graph import Graph
from eyebright.drawing.layers import find_layers
from eyebright.page.thumbnail import data_uri

SHOWN = 8
"""Channels of one layer."""
_TILE = 76
_BETWEEN = 3
# From nothing to the strongest answer: dark to light for every eye, also in print.
_COLOURS = np.array([(14, 12, 28), (74, 32, 110), (178, 52, 96), (245, 140, 62), (253, 240, 190)], dtype=np.float64)


@dataclass(frozen=True)
class Activation:
    """One layer's answer to the image."""

    title: str
    caption: str
    picture: str
    """A data: URI, PNG."""
    width: int
    height: int


@dataclass(frozen=True)
class Wanted:
    """A layer, stage or block whose answer is to be shown."""

    node: str
    """The node whose result is its answer."""
    title: str


def answers_to_show(graph: Graph) -> Mapping[str, Wanted]:
    """By the key that the pictures use, in the order of computation; blocks come after all layers and stages."""
    layered = find_layers(graph)
    wanted = {
        box.key: Wanted(layered.by_name[box.names[-1]].nodes[-1].name, f"{box.key}, {box.label}")
        for box in find_boxes(graph)
        if box.paint not in ("input", "veil", "softmax")
    }
    for block in find_blocks(layered):
        wanted[block.addition.name] = Wanted(block.addition.nodes[-1].name, block.scope or block.addition.name)
    return wanted


def picture_activation(title: str, values: NDArray[np.float32]) -> Activation | None:
    """A layer's answer as a picture.

    Args:
        title: what to write above it.
        values: (C, H, W), of which the channels with the strongest mean answer are shown; or (D,), shown row by row.

    Returns:
        None for any other shape, and where a value is not a number.
    """
    if not np.isfinite(values).all():
        return None
    if values.ndim == 1 and values.size > 1:
        return _row(title, values)
    if values.ndim != 3:
        return None
    channels, height, width = values.shape
    strongest = np.argsort(-np.maximum(values, 0).mean(axis=(1, 2)), kind="stable")[:SHOWN]
    scale = _TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    columns = min(4, len(strongest))
    rows = math.ceil(len(strongest) / columns)
    sheet = Image.new("RGBA", (columns * (size[0] + _BETWEEN) - _BETWEEN, rows * (size[1] + _BETWEEN) - _BETWEEN))
    for place, channel in enumerate(strongest):
        row, column = divmod(place, columns)
        tile = Image.fromarray(_coloured(values[channel]))
        method = Image.Resampling.NEAREST if max(height, width) < _TILE else Image.Resampling.BOX
        sheet.paste(tile.resize(size, method), (column * (size[0] + _BETWEEN), row * (size[1] + _BETWEEN)))
    count = f"the {len(strongest)} strongest of {channels} channels" if channels > SHOWN else f"{channels} channels"
    return _activation(title, f"{count}, {height} x {width} positions each", sheet)


def _row(title: str, values: NDArray[np.float32]) -> Activation:
    """(D,) -> at most 64 units a row, each a small square."""
    columns = min(64, values.size)
    rows = math.ceil(values.size / columns)
    padded = np.full(rows * columns, values.min(), dtype=np.float32)
    padded[: values.size] = values
    side = max(2, min(10, 304 // columns))
    tile = Image.fromarray(_coloured(padded.reshape(rows, columns)))
    sheet = tile.resize((columns * side, rows * side), Image.Resampling.NEAREST).convert("RGBA")
    return _activation(title, f"{values.size:,} units, row by row", sheet)


def _coloured(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(H, W) -> (H, W, 3) uint8, from the lowest to the highest value there is; a flat map is all dark."""
    low, high = float(values.min()), float(values.max())
    share = (values.astype(np.float64) - low) / (high - low) if high > low else np.zeros(values.shape)
    steps = np.linspace(0, 1, len(_COLOURS))
    mixed = [np.interp(share, steps, _COLOURS[:, part]) for part in range(3)]
    return np.rint(np.stack(mixed, axis=-1)).astype(np.uint8)


def _activation(title: str, caption: str, sheet: Image.Image) -> Activation:
    picture = data_uri(sheet.quantize(64, method=Image.Quantize.FASTOCTREE))
    return Activation(title, caption, picture, sheet.width, sheet.height)

"""The second look at two images that seem alike: laid over each other as well as can be, then compared in detail.

Two photos of flat cardboard have the same coarse shape, but not the same grain. So it is the detail that decides.
T = 64 pixels a side.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

T = 64
_LEVELS = ((16, 5), (32, 3), (64, 2))
"""Pixels a side, and steps taken at that size."""
_FARTHEST = 0.14
"""The largest shift or change of scale, as a share of the side, that still counts as the same picture."""
_LEAST_ALIKE = 0.8
_LEAST_DETAIL = 0.5
"""Images whose coarse correlation, or at 32 x 32 that of their detail, stays below this are not looked at closer."""


class Likeness(NamedTuple):
    """How alike two images are once they are aligned; correlations, at the most 1."""

    coarse: float
    """Of the grey images at 64 x 64."""
    detail: float
    """Of what is left of them without their coarse shades."""


Thumbnail = tuple[NDArray[np.float32], ...]
"""An image's grey levels at 16 x 16, 32 x 32 and 64 x 64."""


def shrink(grey: Image.Image) -> Thumbnail:
    """The grey image at three sizes; proportions do not count."""
    whole = grey.resize((T, T), Image.Resampling.BOX)
    return tuple(
        np.asarray(whole if side == T else whole.resize((side, side), Image.Resampling.BOX), dtype=np.float32)
        for side, _ in _LEVELS
    )


def mirror(thumbnail: Thumbnail) -> Thumbnail:
    """The same image from left to right."""
    return tuple(level[:, ::-1] for level in thumbnail)


def compare(one: Thumbnail, other: Thumbnail) -> Likeness:
    """Shift and scale one over the other until they agree best, and say how well they do.

    Source:
        Lucas and Kanade, "An Iterative Image Registration Technique", IJCAI 1981; here with two shifts and two scales.
    """
    fit = np.zeros(4)  # shift and stretch along x, shift and stretch along y; the whole side is 1
    likeness = Likeness(0.0, 0.0)
    for number, (side, steps) in enumerate(_LEVELS):
        for step in range(steps + 1):
            warped, kept = _warp(other[number], fit)
            a, b = one[number][kept], warped[kept]
            if min(a.shape) < side // 2:
                return Likeness(0.0, 0.0)
            a, b = _normal(a), _normal(b)
            if step < steps:
                fit = np.clip(fit + _improvement(a, b, kept, side), -_FARTHEST, _FARTHEST)
        coarse = float((a * b).mean())
        if coarse < _LEAST_ALIKE:
            return Likeness(coarse, 0.0)
        if number:
            likeness = Likeness(coarse, _correlation(_detail(a), _detail(b)))
            if likeness.detail < _LEAST_DETAIL:
                return likeness
    return likeness


def _warp(image: NDArray[np.float32], fit: NDArray[np.float64]) -> tuple[NDArray[np.float32], tuple[slice, slice]]:
    """The image sampled where `fit` says, and the rows and columns where there is something to sample."""
    side = len(image)
    across, columns = _sampling(side, fit[0], fit[1])
    down, rows = _sampling(side, fit[2], fit[3])
    warped: NDArray[np.float32] = (down @ image @ across.T).astype(np.float32, copy=False)
    return warped, (rows, columns)


def _sampling(side: int, shift: float, stretch: float) -> tuple[NDArray[np.float32], slice]:
    """(side, side) weights that sample a line between its pixels, and which of them lie within it."""
    centred = (np.arange(side) + 0.5) / side - 0.5
    places = (centred * (1 + stretch) + shift + 0.5) * side - 0.5
    inside = np.flatnonzero((places >= 0) & (places <= side - 1))
    within = np.clip(places, 0, side - 1)
    left = np.minimum(within.astype(np.int64), side - 2)
    share = within - left
    weights = np.zeros((side, side), dtype=np.float32)
    lines = np.arange(side)
    weights[lines, left] = 1 - share
    weights[lines, left + 1] = share
    return weights, slice(int(inside[0]), int(inside[-1]) + 1) if len(inside) else slice(0, 0)


def _improvement(
    a: NDArray[np.float32], b: NDArray[np.float32], kept: tuple[slice, slice], side: int
) -> NDArray[np.float64]:
    """(4,) by how much `fit` should change, by least squares."""
    down, across = np.gradient(b)
    centred = ((np.arange(side) + 0.5) / side - 0.5).astype(np.float32)
    x, y = centred[kept[1]][None, :], centred[kept[0]][:, None]
    slopes = np.stack([across, across * x, down, down * y]).reshape(4, -1) * side
    system = slopes @ slopes.T
    system[np.diag_indices(4)] += 1e-3 * np.trace(system) / 4 + 1e-6
    return np.asarray(np.linalg.solve(system, slopes @ (a - b).ravel()), dtype=np.float64)


def _normal(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean 0, variance 1: brightness and contrast do not count."""
    scaled: NDArray[np.float32] = (image - image.mean()) / (image.std() + 1e-3)
    return scaled


def _detail(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image less the mean of the 5 x 5 pixels around each; the border is left out."""
    sums = np.pad(image.astype(np.float64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    means = (sums[5:, 5:] - sums[:-5, 5:] - sums[5:, :-5] + sums[:-5, :-5]) / 25
    detail: NDArray[np.float32] = (image[2:-2, 2:-2] - means).astype(np.float32)
    return detail


def _correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 1e-6 else 0.0

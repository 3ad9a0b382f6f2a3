"""The second look at two images that seem alike: laid over each other as well as can be, then compared in detail.

Two photos of flat cardboard have the same coarse shape, but not the same grain. So it is the detail that decides.
T = 64 pixels a side.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """What `compare_all` says of one pair."""
    return compare_all([one], [other])[0]


def compare_all(ones: Sequence[Thumbnail], others: Sequence[Thumbnail]) -> list[Likeness]:
    """Shift and scale each of P images over another until they agree best, and say how well they do.

    All pairs at once, since a pair alone is so small that Python would take longer over it than the arithmetic.

    Args:
        ones, others: P thumbnails each.

    Source:
        Lucas and Kanade, "An Iterative Image Registration Technique", IJCAI 1981; here with two shifts and two scales.
    """
    found = [Likeness(0.0, 0.0)] * len(ones)
    left = np.arange(len(ones))  # pairs that may still be the same picture
    fit = np.zeros((len(ones), 4))  # shift and stretch along x, shift and stretch along y; the whole side is 1
    for number, (side, steps) in enumerate(_LEVELS):
        if not len(left):
            break
        a = np.stack([ones[i][number] for i in left.tolist()])
        b = np.stack([others[i][number] for i in left.tolist()])
        overlap = np.ones(len(left), dtype=np.bool_)
        for step in range(steps + 1):
            warped, rows, columns = _warp(b, fit)
            overlap &= np.minimum(rows.sum(axis=1), columns.sum(axis=1)) >= side // 2
            one, other = _normal(a, rows, columns), _normal(warped, rows, columns)
            if step < steps:
                fit = np.clip(fit + _improvement(one, other, rows, columns), -_FARTHEST, _FARTHEST)
        coarse = (one * other).sum(axis=(1, 2)) / np.maximum(_area(rows, columns), 1)
        go_on = overlap & (coarse >= _LEAST_ALIKE)
        detail = np.zeros(len(left))
        if number:
            detail = _detail_correlation(one, other, rows, columns)
        for i, is_near, is_over, c, d in zip(left, go_on, overlap, coarse, detail, strict=True):
            found[i] = Likeness(float(c), float(d) if is_near else 0.0) if is_over else Likeness(0.0, 0.0)
        if number:
            go_on &= detail >= _LEAST_DETAIL
        left, fit = left[go_on], fit[go_on]
    return found


def _area(rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(P,) how many pixels lie in both."""
    area: NDArray[np.int64] = rows.sum(axis=1) * columns.sum(axis=1)
    return area


def _warp(
    images: NDArray[np.float32], fit: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    """(P, side, side) sampled where (P, 4) `fit` says, and (P, side) rows and columns that have something to sample."""
    side = images.shape[1]
    across, columns = _sampling(side, fit[:, 0], fit[:, 1])
    down, rows = _sampling(side, fit[:, 2], fit[:, 3])
    warped = np.asarray(down @ images @ across.swapaxes(1, 2), dtype=np.float32)
    return warped, rows, columns


def _sampling(
    side: int, shift: NDArray[np.float64], stretch: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(P, side, side) weights that sample a line between its pixels, and (P, side) which of them lie within it."""
    centred = (np.arange(side) + 0.5) / side - 0.5
    places = (centred * (1 + stretch[:, None]) + shift[:, None] + 0.5) * side - 0.5
    inside = (places >= 0) & (places <= side - 1)
    within = np.clip(places, 0, side - 1)
    left = np.minimum(within.astype(np.int64), side - 2)
    share = (within - left).astype(np.float32)
    weights = np.zeros((len(shift), side, side), dtype=np.float32)
    pairs, lines = np.arange(len(shift))[:, None], np.arange(side)
    weights[pairs, lines, left] = 1 - share
    weights[pairs, lines, left + 1] = share
    return weights, inside


def _improvement(
    a: NDArray[np.float32], b: NDArray[np.float32], rows: NDArray[np.bool_], columns: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(P, 4) by how much `fit` should change, by least squares."""
    count, side = b.shape[:2]
    centred = ((np.arange(side) + 0.5) / side - 0.5).astype(np.float32)
    down, across = np.gradient(b, axis=(1, 2))
    # Not over the edge of what both show: there, b falls to nothing.
    down *= _inner(rows)[:, :, None] & columns[:, None, :]
    across *= rows[:, :, None] & _inner(columns)[:, None, :]
    slopes = np.stack([across, across * centred, down, down * centred[:, None]], axis=1).reshape(count, 4, -1) * side
    system = (slopes @ slopes.swapaxes(1, 2)).astype(np.float64)
    ridge = 1e-3 * np.trace(system, axis1=1, axis2=2) / 4 + 1e-6
    system += ridge[:, None, None] * np.eye(4)
    solved: NDArray[np.float64] = np.linalg.solve(system, slopes @ (a - b).reshape(count, -1, 1))[..., 0]
    return solved


def _inner(lines: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(P, side) those with one more of them on either side, or the image's own edge."""
    padded = np.pad(lines, ((0, 0), (1, 1)), mode="edge")
    inner: NDArray[np.bool_] = lines & padded[:, :-2] & padded[:, 2:]
    return inner


def _normal(images: NDArray[np.float32], rows: NDArray[np.bool_], columns: NDArray[np.bool_]) -> NDArray[np.float32]:
    """(P, side, side) with mean 0 and standard deviation 1 within the rows and columns, and 0 outside."""
    area = np.maximum(_area(rows, columns), 1).astype(np.float32)[:, None, None]
    inside = rows[:, :, None] & columns[:, None, :]
    centred = (images - (images * inside).sum(axis=(1, 2), keepdims=True) / area) * inside
    spread = np.sqrt((centred * centred).sum(axis=(1, 2), keepdims=True) / area)
    scaled: NDArray[np.float32] = centred / (spread + np.float32(1e-3))
    return scaled


def _detail_correlation(
    a: NDArray[np.float32], b: NDArray[np.float32], rows: NDArray[np.bool_], columns: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(P,) correlation of what is left of two images without the mean of the 5 x 5 pixels around each."""
    inside = (rows[:, :-4] & rows[:, 4:])[:, :, None] & (columns[:, :-4] & columns[:, 4:])[:, None, :]
    area = np.maximum(inside.sum(axis=(1, 2), keepdims=True), 1)
    fine = []
    for image in (a, b):
        detail = (image[:, 2:-2, 2:-2] - _mean_of_5(_mean_of_5(image, 1), 2)) * inside
        fine.append((detail - detail.sum(axis=(1, 2), keepdims=True) / area) * inside)
    product, *squares = (
        (x * y).sum(axis=(1, 2)) for x, y in ((fine[0], fine[1]), (fine[0], fine[0]), (fine[1], fine[1]))
    )
    scale = np.sqrt(squares[0] * squares[1])
    return np.where(scale > 1e-6, product / np.maximum(scale, 1e-6), 0.0)


def _mean_of_5(images: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Of each pixel and the two before and behind it; four fewer along this axis."""
    length = images.shape[axis] - 4
    parts = [images[:, i : i + length] if axis == 1 else images[:, :, i : i + length] for i in range(5)]
    mean: NDArray[np.float32] = (parts[0] + parts[1] + parts[2] + parts[3] + parts[4]) / np.float32(5)
    return mean

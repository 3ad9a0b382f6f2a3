"""From a float weight to int8 per output channel, without looking at any image.

Two choices make a rounding. The *scale* of a channel is either its largest magnitude / 127 ("absmax"), or the one of
many that leaves the least squared error ("mse": a few outliers are clipped so that the many are finer). And each value
goes to the *nearest* step, or some go the other way so that errors cancel: what a channel adds up to then stays nearly
exact ("sums"), which matters since inputs behind a ReLU are all positive and equal errors don't average out.
Keeping sums per kernel and then per channel follows SQuant (Guo et al., 2022, arXiv:2202.07471), in closed form.

Shapes: O output channels, I input channels, P positions of a kernel (1 for a linear layer), G groups of V values.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scale = Literal["absmax", "mse"]
Sums = Literal["nearest", "channel", "kernel", "kernel+channel"]

SCALES: tuple[Scale, ...] = ("absmax", "mse")
SUMS: tuple[Sums, ...] = ("nearest", "channel", "kernel", "kernel+channel")
LEVELS = 127  # -128 stays unused, so that the range is symmetric
SHRINK = np.linspace(0.5, 1.02, 105)


def quantise(
    weight: NDArray[np.floating], *, scale: Scale, sums: Sums, fills: bool = False
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(O, I, ...) float -> int8 of the same shape, and float32 scales (O,): value = int8 * scale.

    Args:
        weight: (O, I, ...)
        scale, sums: see above.
        fills: whether the largest magnitude of each channel must become 127, so that whoever divides by it finds the
            same scale again.
    """
    flat = weight.astype(np.float64).reshape(len(weight), -1)
    peak = np.maximum(np.abs(flat).max(axis=1), 1e-12) / LEVELS
    # Rounded to what is stored before anything is measured with it.
    step = (peak if scale == "absmax" else peak * _least_error(flat, peak, most=1.0 if fills else SHRINK[-1])).astype(
        np.float32
    )
    exact = flat / step.astype(np.float64)[:, None]
    rounded = np.clip(np.round(exact), -LEVELS, LEVELS)
    if sums in ("kernel", "kernel+channel") and weight.ndim == 4:
        positions = weight.shape[2] * weight.shape[3]
        if positions > 1:
            rounded = _keep_sums(rounded.reshape(-1, positions), exact.reshape(-1, positions)).reshape(exact.shape)
    if sums in ("channel", "kernel+channel"):
        rounded = _keep_sums(rounded, exact)
    return rounded.astype(np.int8).reshape(weight.shape), step


def _least_error(flat: NDArray[np.float64], peak: NDArray[np.float64], *, most: float) -> NDArray[np.float64]:
    """(O, I * P), (O,) -> for each channel the factor of `SHRINK`, up to the most, of least squared error, (O,)."""
    best = np.full_like(peak, np.inf)
    factor = np.ones_like(peak)
    for shrink in (one for one in SHRINK if one <= most + 1e-9):
        step = (peak * shrink)[:, None]
        error = ((np.clip(np.round(flat / step), -LEVELS, LEVELS) * step - flat) ** 2).sum(axis=1)
        factor = np.where(error < best, shrink, factor)
        best = np.minimum(error, best)
    return factor


def _keep_sums(rounded: NDArray[np.float64], exact: NDArray[np.float64]) -> NDArray[np.float64]:
    """(G, V) -> (G, V): in each group, the values nearest to the middle between two steps go to the other one.

    As many as bring the group's sum within half a step of the exact one. Values that were clipped stay, and so do
    values that already went the other way.
    """
    error = rounded - exact
    total = error.sum(axis=1, keepdims=True)
    sign = np.sign(total)
    moved = rounded - sign
    towards = error * sign
    allowed = (towards > 0) & (towards <= 0.5) & (np.abs(moved) <= LEVELS)
    order = np.argsort(np.where(allowed, -towards, 1.0), axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(order.shape[1])[None, :], axis=1)
    return np.where(allowed & (rank < np.round(np.abs(total))), moved, rounded)

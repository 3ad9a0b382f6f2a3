"""From a float weight to int8 per output channel, without looking at any image.

Two choices make a rounding. The *scale* of a channel is either its largest magnitude / 127 ("absmax"), or the one of
many that leaves the least squared error ("mse": a few outliers are clipped so that the many are finer). And each value
goes to the *nearest* step, or some go the other way so that errors cancel: what a channel adds up to then stays nearly
exact ("sums"), which matters since inputs behind a ReLU are all positive and equal errors don't average out.
Keeping sums per kernel and then per channel follows SQuant (Guo et al., 2022, arXiv:2202.07471), in closed form.

Shapes: O output channels, I input channels, P positions of a kernel (1 for a linear layer).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Scale = Literal["absmax", "mse"]
Sums = Literal["nearest", "channel", "kernel", "kernel+channel"]

SCALES: tuple[Scale, ...] = ("absmax", "mse")
SUMS: tuple[Sums, ...] = ("nearest", "channel", "kernel", "kernel+channel")
LEVELS = 127  # -128 stays unused, so that the range is symmetric
SHRINK = torch.linspace(0.5, 1.02, 105, dtype=torch.float64)


def quantise(weight: Tensor, *, scale: Scale, sums: Sums) -> tuple[Tensor, Tensor]:
    """(O, I, ...) float -> int8 of the same shape, and float32 scales (O,): value = int8 * scale."""
    flat = weight.double().reshape(weight.shape[0], -1)
    peak = flat.abs().amax(dim=1).clamp_min(1e-12) / LEVELS
    # Rounded to what is stored before anything is measured with it.
    step = (peak if scale == "absmax" else peak * _least_error(flat, peak)).float()
    exact = flat / step.double()[:, None]
    rounded = exact.round().clamp(-LEVELS, LEVELS)
    if sums in ("kernel", "kernel+channel") and weight.dim() == 4:
        positions = weight.shape[2] * weight.shape[3]
        if positions > 1:
            rounded = _keep_sums(rounded.reshape(-1, positions), exact.reshape(-1, positions)).reshape(exact.shape)
    if sums in ("channel", "kernel+channel"):
        rounded = _keep_sums(rounded, exact)
    return rounded.to(torch.int8).reshape(weight.shape), step


def _least_error(flat: Tensor, peak: Tensor) -> Tensor:
    """(O, I * P), (O,) -> for each channel the factor of `SHRINK` with the least squared error, (O,)."""
    best = torch.full_like(peak, torch.inf)
    factor = torch.ones_like(peak)
    for shrink in SHRINK:
        step = (peak * shrink)[:, None]
        error = ((flat / step).round().clamp(-LEVELS, LEVELS) * step - flat).square().sum(dim=1)
        factor = torch.where(error < best, shrink, factor)
        best = torch.minimum(error, best)
    return factor


def _keep_sums(rounded: Tensor, exact: Tensor) -> Tensor:
    """(G, V) -> (G, V): in each group, the values nearest to the middle between two steps go to the other one.

    As many as bring the group's sum within half a step of the exact one. Values that were clipped stay, and so do
    values that already went the other way.
    """
    error = rounded - exact
    total = error.sum(dim=1, keepdim=True)
    sign = total.sign()
    moved = rounded - sign
    towards = error * sign
    allowed = (towards > 0) & (towards <= 0.5) & (moved.abs() <= LEVELS)
    towards = torch.where(allowed, towards, -1.0)
    order = towards.argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(order.shape[1]).expand_as(order).contiguous())
    return torch.where(allowed & (rank < total.abs().round()), moved, rounded)

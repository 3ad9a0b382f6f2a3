"""Looking for a learning rate: a few steps at rising rates, and what they do to the loss.

Source: Smith, "Cyclical Learning Rates for Training Neural Networks", 2015, arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from eyebright.progress import Progress
from eyebright.training.optim import set_learning_rate

STEPS = 100
LOWEST, HIGHEST = 1e-7, 1.0
SMOOTHING = 0.9
"""How much of the running average of the loss is kept at each step."""
TOO_HIGH = 3.0
"""The search ends when the loss is so many times its lowest."""
CAUTION = 0.1
"""The suggestion is this part of the rate at which the loss was lowest: there it is about to rise."""


@dataclass(frozen=True, kw_only=True)
class TriedRate:
    """One step."""

    rate: float
    loss: float
    """A running average, over about ten steps."""


def try_rates(
    step: Callable[[], float | None], optimizer: torch.optim.Optimizer, *, steps: int = STEPS, progress: Progress
) -> tuple[TriedRate, ...]:
    """Take one step at each of so many rates, from `LOWEST` to `HIGHEST` in equal ratios.

    Args:
        step: takes a step and returns the loss before it; None if it was no number.
        optimizer: its learning rate is set here.
        steps: how many.
        progress: shown in steps.

    Raises:
        KeyboardInterrupt: a stop was requested.
    """
    tried: list[TriedRate] = []
    average, weight = 0.0, 0.0
    progress.start("trying learning rates", steps)
    for rate in list_rates(steps):
        if progress.stop_requested:
            raise KeyboardInterrupt
        set_learning_rate(optimizer, rate)
        loss = step()
        if loss is None or not math.isfinite(loss):
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        weight = SMOOTHING * weight + (1 - SMOOTHING)
        tried.append(TriedRate(rate=rate, loss=average / weight))
        progress.advance(len(tried), f"rate {rate:.1e}, loss {average / weight:.3f}")
        if tried[-1].loss > TOO_HIGH * min(one.loss for one in tried):
            break
    progress.finish()
    return tuple(tried)


def list_rates(steps: int) -> Iterator[float]:
    """So many rates from the lowest to the highest."""
    for number in range(steps):
        yield LOWEST * (HIGHEST / LOWEST) ** (number / max(steps - 1, 1))


def suggest_rate(tried: Sequence[TriedRate]) -> float | None:
    """A rate to train with, rounded to two digits; None if the loss never fell, so that nothing can be told."""
    if not tried:
        return None
    lowest = min(tried, key=lambda one: one.loss)
    if lowest.loss >= tried[0].loss:
        return None
    return float(f"{CAUTION * lowest.rate:.1e}")

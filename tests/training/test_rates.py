from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from eyebright.progress import SilentProgress
from eyebright.training.rates import HIGHEST, LOWEST, TriedRate, list_rates, suggest_rate, try_rates


def test_rates_rise_by_equal_factors() -> None:
    rates = list(list_rates(15))
    assert rates[0] == LOWEST
    assert rates[-1] == pytest.approx(HIGHEST)
    factors = [later / earlier for earlier, later in pairwise(rates)]
    assert factors == pytest.approx([factors[0]] * 14)


def valley(steepness: float) -> tuple[TriedRate, ...]:
    """Gradient descent on steepness / 2 * w^2, which diverges beyond a rate of 2 / steepness."""
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = torch.optim.SGD([weight], lr=1.0)

    def step() -> float:
        loss = steepness / 2 * weight.square().sum()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        return float(loss.detach()) + 0.01

    return try_rates(step, optimizer, progress=SilentProgress())


@pytest.mark.parametrize("steepness", [10.0, 1000.0])
def test_the_suggestion_keeps_away_from_where_training_diverges(steepness: float) -> None:
    tried = valley(steepness)
    suggested = suggest_rate(tried)
    assert suggested is not None
    assert 0.002 / steepness < suggested <= 1 / steepness


def test_it_ends_when_the_loss_has_become_much_worse_or_no_number() -> None:
    assert len(valley(1000.0)) < 100
    losses = iter([1.0, 0.9, math.nan])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    assert len(try_rates(lambda: next(losses), optimizer, progress=SilentProgress())) == 2
    assert try_rates(lambda: None, optimizer, progress=SilentProgress()) == ()


def test_where_the_loss_never_fell_nothing_is_suggested() -> None:
    assert suggest_rate(()) is None
    rising = [TriedRate(rate=10.0**-n, loss=9.0 - n) for n in range(7, 0, -1)]
    assert suggest_rate(rising) is None


def test_a_stop_is_heard() -> None:
    class Stopped(SilentProgress):
        stop_requested = True

    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(KeyboardInterrupt):
        try_rates(lambda: 1.0, optimizer, progress=Stopped())

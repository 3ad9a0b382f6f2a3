from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from eyebright.models.catalog import build_model
from eyebright.models.layers import lay_channels_last
from eyebright.training.optim import (
    WeightAverage,
    build_optimizer,
    learning_rate,
    load_optimizer_tensors,
    optimizer_tensors,
    set_learning_rate,
)


def test_the_rate_rises_straight_and_falls_along_a_cosine() -> None:
    rates = [learning_rate(step, 100, highest=2.0, warmup=0.2) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[19] == pytest.approx(2.0)
    assert rates[60] == pytest.approx(1.0, abs=1e-6)
    assert 0 < rates[99] < 0.01
    assert rates[:20] == sorted(rates[:20])
    assert rates[19:] == sorted(rates[19:], reverse=True)


def test_a_single_step_and_no_warm_up_are_fine() -> None:
    assert learning_rate(0, 1, highest=1.0, warmup=0.0) == pytest.approx(1.0)
    assert learning_rate(1, 2, highest=1.0, warmup=0.0) == pytest.approx(0.5)
    assert learning_rate(0, 1, highest=1.0, warmup=0.9) > 0


def test_only_weights_are_decayed_and_every_parameter_is_there_once() -> None:
    model = build_model("resnet18", num_classes=2)
    optimizer = build_optimizer(model, kind="adamw", lr=0.1, weight_decay=0.3)
    decayed, others = optimizer.param_groups
    assert decayed["weight_decay"] == 0.3
    assert others["weight_decay"] == 0.0
    assert all(parameter.dim() > 1 for parameter in decayed["params"])
    assert all(parameter.dim() == 1 for parameter in others["params"])
    assert len(decayed["params"]) + len(others["params"]) == len(list(model.parameters()))
    assert isinstance(optimizer, torch.optim.AdamW)


def test_each_parameter_learns_at_its_share_of_the_rate() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    model[2].requires_grad_(False)
    scales = {"0.weight": 0.1, "0.bias": 0.1}
    optimizer = build_optimizer(model, kind="sgd", lr=1.0, weight_decay=0.0, scales=scales)
    set_learning_rate(optimizer, 0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert [rates.get(id(p)) for p in model.parameters()] == [0.05, 0.05, 0.5, 0.5, None, None]


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_an_optimiser_that_gets_its_memory_back_takes_the_same_steps(kind: str) -> None:
    model = lay_channels_last(build_model("cnn", num_classes=2, width="small"))
    optimizer = build_optimizer(model, kind=kind, lr=0.1, weight_decay=0.3)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
        generator = torch.Generator().manual_seed(number)
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=generator))
        optimizer.step()

    for number in range(3):
        step(model, optimizer, number)
    other = copy.deepcopy(model)
    again = build_optimizer(other, kind=kind, lr=0.1, weight_decay=0.3)
    saved = {name: tensor.contiguous().clone() for name, tensor in optimizer_tensors(optimizer).items()}
    assert saved
    load_optimizer_tensors(again, saved)
    for number in range(3, 6):
        step(model, optimizer, number)
        step(other, again, number)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_the_average_forgets_the_first_weights_and_follows_the_last() -> None:
    model = nn.BatchNorm1d(1)
    average = WeightAverage(model, 0.9)
    for step in range(1, 200):
        with torch.no_grad():
            model.weight.fill_(step)
            model.num_batches_tracked.fill_(step)  # type: ignore[union-attr]
        average.update(model, step)
    assert float(average.weights["weight"]) == pytest.approx(199 - 9, abs=0.01)  # ten steps are averaged
    assert int(average.weights["num_batches_tracked"]) == 199
    early = WeightAverage(model, 0.999)
    with torch.no_grad():
        model.weight.fill_(5)
    early.update(model, 1)
    assert float(early.weights["weight"]) == pytest.approx(0.1 * 199 + 0.9 * 5)

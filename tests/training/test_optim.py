from __future__ import annotations

import pytest
import torch

from eyebright.models.catalog import build_model
from eyebright.training.optim import build_optimizer, learning_rate


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
    optimizer = build_optimizer(model, lr=0.1, weight_decay=0.3)
    decayed, others = optimizer.param_groups
    assert decayed["weight_decay"] == 0.3
    assert others["weight_decay"] == 0.0
    assert all(parameter.dim() > 1 for parameter in decayed["params"])
    assert all(parameter.dim() == 1 for parameter in others["params"])
    assert len(decayed["params"]) + len(others["params"]) == len(list(model.parameters()))
    assert isinstance(optimizer, torch.optim.AdamW)

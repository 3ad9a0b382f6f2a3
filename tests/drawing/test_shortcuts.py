"""What is computed in closed form equals what torch says, for every form of a call."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from eyebright.drawing import recorder
from eyebright.drawing.shortcuts import result_on_meta
from eyebright.drawing.trace import trace


def without(*_given: Any) -> None:
    return None


def windows() -> list[nn.Module]:
    found: list[nn.Module] = [nn.Conv2d(4, 6, (3, 5), (2, 1), (1, 0), (1, 2))]
    for kernel, stride, padding, dilation in itertools.product((1, 2, 3), (1, 2, 3), (0, 1), (1, 2)):
        found.append(nn.Conv2d(4, 6, kernel, stride, padding, dilation, groups=2))
        if padding <= kernel // 2:
            found += [nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil) for ceil in (False, True)]
    return [*found, nn.AdaptiveAvgPool2d(3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 8, 3, padding="same")]


def test_shapes_and_work_are_those_of_torch_for_every_window(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in ((10, 11), (16, 9)):
        shortened = [trace(model, [(4, *size)]).nodes[1:] for model in windows()]
        with monkeypatch.context() as patch:
            patch.setattr(recorder, "result_on_meta", without)
            assert shortened == [trace(model, [(4, *size)]).nodes[1:] for model in windows()]


def test_the_catalogue_traces_the_same_without_shortcuts(
    monkeypatch: pytest.MonkeyPatch, graph_of: Callable[..., Any]
) -> None:
    from eyebright.models.catalog import build_model
    from eyebright.models.filling import shapes_only

    monkeypatch.setattr(recorder, "result_on_meta", without)
    for name in ("cnn", "vgg11_bn", "resnet50"):
        with shapes_only():
            model = build_model(name)
        found = trace(model, [(3, 224, 224)], title=graph_of(name).title)
        assert found.nodes == graph_of(name).nodes[: len(found.nodes)]


def test_what_is_not_plain_is_left_to_torch() -> None:
    meta = torch.empty(1, 4, 8, 8, device="meta")
    weight = torch.empty(6, 3, 3, 3, device="meta")
    pair = (1, 1)
    assert result_on_meta("conv2d", (meta, weight, None, pair, pair, pair, 1), {}) is None  # channels disagree
    assert result_on_meta("linear", (torch.zeros(1, 4), torch.zeros(2, 4)), {}) is None  # real numbers
    assert result_on_meta("relu", (meta,), {"inplace": True}) is None
    assert result_on_meta("max_pool2d", (meta, 9), {}) is None
    assert result_on_meta("gelu", (meta,), {}) is None
    with pytest.raises(RuntimeError):
        F.conv2d(meta, weight)

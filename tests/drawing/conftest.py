"""Networks to draw: those of the catalogue, traced once, and two that are built like none of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.drawing.graph import Graph, add_softmax
from eyebright.drawing.trace import trace
from eyebright.models.catalog import build_model, find_model
from eyebright.models.filling import shapes_only

GraphOf = Callable[..., Graph]


class UNet(nn.Module):
    """Down and up again, with what was seen on the way down joined to what is built on the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 16, 3, padding=1)
        self.down2 = nn.Conv2d(16, 32, 3, padding="same")
        self.middle = nn.Conv2d(32, 64, 3, padding=1, groups=2)
        self.up2 = nn.ConvTranspose2d(64, 32, 2, 2)
        self.join2 = nn.Conv2d(64, 32, 3, padding=1)
        self.join1 = nn.Conv2d(48, 16, 3, padding=1)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.down1(x))
        second = F.relu(self.down2(F.max_pool2d(first, 2)))
        y = F.relu(self.middle(F.max_pool2d(second, 2)))
        y = F.relu(self.join2(torch.cat([self.up2(y), second], 1)))
        y = F.interpolate(y, scale_factor=2.0, mode="bilinear")
        y = F.relu(self.join1(torch.cat([y, first], 1)))
        return self.out(y)  # type: ignore[no-any-return]


class TwoInputs(nn.Module):
    """An image and a row of facts, each on its own way to one answer; the way of the image is a matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.seen = nn.Linear(8, 16)
        self.told = nn.Linear(5, 16)
        self.mix = nn.Parameter(torch.zeros(32, 32))
        self.head = nn.Linear(32, 4)

    def forward(self, image: Tensor, facts: Tensor) -> Tensor:
        seen = self.seen(torch.relu(self.norm(self.conv(image))).mean((2, 3)))
        told = torch.tanh(self.told(facts)) + 1
        both = torch.cat((seen, told), 1) @ self.mix
        return self.head(both).softmax(1)  # type: ignore[no-any-return]


@pytest.fixture
def unet() -> nn.Module:
    return UNet()


@pytest.fixture
def two_inputs() -> nn.Module:
    return TwoInputs()


@cache
def _graph_of(name: str, size: int) -> Graph:
    with shapes_only():
        model = build_model(name)
    return add_softmax(trace(model, [(3, size, size)], title=find_model(name).title))


@pytest.fixture(scope="session")
def graph_of() -> GraphOf:
    def build(name: str, size: int = 224) -> Graph:
        return _graph_of(name, size)

    return build

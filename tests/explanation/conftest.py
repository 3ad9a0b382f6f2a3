"""A network small enough to be reckoned by hand: two maps, their averages, a linear head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn


class Averaging(nn.Module):
    """Convolve, rectify, average over positions, weigh: (N, 3, S, S) -> (N, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(inplace=True))
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.maps(x).mean(dim=(2, 3)))
        return logits


@pytest.fixture
def averaging() -> Averaging:
    torch.manual_seed(0)
    return Averaging().eval().requires_grad_(False)


@pytest.fixture
def image() -> Tensor:
    return torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(1))

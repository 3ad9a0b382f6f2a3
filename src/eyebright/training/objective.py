"""What training minimises. An objective maps a network and a batch to one number; the loop knows no more.

Shapes: N images, C channels, H x W pixels, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor, nn


class Objective(Protocol):
    """A loss as the training loop sees it."""

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W) and (N,) -> the loss, a scalar to minimise."""
        ...


@dataclass(frozen=True)
class CrossEntropy:
    """The mean negative log-probability of the labels, which may be smoothed.

    Source: Szegedy et al., "Rethinking the Inception Architecture", 2015, arXiv:1512.00567, section 7.
    """

    label_smoothing: float = 0.0

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(images), labels, label_smoothing=self.label_smoothing)

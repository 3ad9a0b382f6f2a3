"""What training minimises. An objective maps a network and a batch to one number; the loop knows no more.

Shapes: B images of a batch, C channels, S side, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LabelledBatch(Protocol):
    """What an objective needs of a batch."""

    @property
    def images(self) -> Tensor:
        """(B, C, S, S)"""
        ...

    @property
    def targets(self) -> Tensor:
        """(B, K) the share of each class."""
        ...

    @property
    def taught(self) -> Tensor | None:
        """(B, K) a teacher's logits, if there is a teacher."""
        ...


Objective = Callable[[nn.Module, LabelledBatch], Tensor]
"""A network and a batch -> the mean loss of its samples, a scalar to minimise."""


@dataclass(frozen=True)
class CrossEntropy:
    """The mean negative log-probability of the labels, which may be smoothed, and classes weighted.

    Source: Szegedy et al., "Rethinking the Inception Architecture", 2015, arXiv:1512.00567, section 7.
    """

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    """(K,) how much each class counts; 1 on average over the samples, so that the learning rate keeps its meaning. On
    the device of the batches."""

    def __call__(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        return self.loss(model(batch.images).float(), batch.targets)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) and (B, K) -> scalar."""
        losses = F.cross_entropy(logits, targets, label_smoothing=self.label_smoothing, reduction="none")
        if self.class_weights is not None:
            losses = losses * (targets * self.class_weights).sum(dim=1)
        return losses.mean()


@dataclass(frozen=True)
class BinaryCrossEntropy:
    """For samples of several labels: each class is a question of its own, and the mean is over samples and classes.

    Smoothing moves each answer towards "either" by half of it.
    """

    label_smoothing: float = 0.0
    class_weights: Tensor | None = None
    """(K,) how much a class counts where it is present."""

    def __call__(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        return self.loss(model(batch.images).float(), batch.targets)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(B, K) and (B, K) -> scalar."""
        smooth = targets * (1 - self.label_smoothing) + self.label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=self.class_weights)


@dataclass(frozen=True)
class Distillation:
    """Learn from labels, and from what a teacher says of the same images.

    The teacher's part is the cross-entropy between both networks' probabilities at a temperature, times its square,
    which keeps its gradients' size; where a sample may have several labels, of each class's probability.

    Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, arXiv:1503.02531, section 2.
    """

    labels: CrossEntropy | BinaryCrossEntropy
    share: float
    """How much of the loss is the teacher's, in [0, 1]."""
    temperature: float

    def __call__(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        assert batch.taught is not None
        logits = model(batch.images).float()
        cooler, teachers = logits / self.temperature, batch.taught / self.temperature
        if isinstance(self.labels, BinaryCrossEntropy):
            taught = F.binary_cross_entropy_with_logits(cooler, torch.sigmoid(teachers)) * self.temperature**2
        else:
            taught = F.cross_entropy(cooler, F.softmax(teachers, dim=1)) * self.temperature**2
        return (1 - self.share) * self.labels.loss(logits, batch.targets) + self.share * taught


def weigh_classes(counts: Tensor, power: float) -> Tensor:
    """(K,) weights proportional to counts ** -power, 1 on average over the samples; a class without samples gets 0.

    Args:
        counts: (K,) how many training samples each class has.
        power: 0 weighs all alike, 1 lets every class count the same.
    """
    present = counts > 0
    weights = torch.where(present, counts.double().clamp(min=1) ** -power, 0.0)
    return (weights * counts.sum() / (weights * counts).sum()).float()

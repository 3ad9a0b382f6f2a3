"""Batches for training: which samples come when is a pure function of (seed, epoch).

Shapes: N samples, B samples of one batch, R side of the cached square, C channels, S side that the network sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyebright.data.augment import AugmentationSettings, augment, draw_uniform
from eyebright.preprocess import Preprocessing

_ORDER = 1000  # the purpose under which the order of samples is drawn


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Augmented training batches, epoch by epoch."""

    squares: NDArray[np.uint8]
    """(N, R, R, C), as `Preprocessing.square` made them."""
    labels: NDArray[np.int64]
    """(N,)"""
    rows: NDArray[np.int64]
    """The row numbers to train on."""
    preprocessing: Preprocessing
    augmentation: AugmentationSettings
    batch_size: int
    seed: int

    @property
    def per_epoch(self) -> int:
        """How many batches an epoch has; they are of almost equal size, none much smaller than the others."""
        return max(1, round(len(self.rows) / self.batch_size))

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every sample once, in this epoch's order: images (B, C, S, S) float32 and labels (B,) int64."""
        order = self.rows[np.argsort(draw_uniform(self.seed, number, self.rows, _ORDER), kind="stable")]
        for samples in np.array_split(order, self.per_epoch):
            images = augment(
                self.squares[samples], samples, self.preprocessing, self.augmentation, seed=self.seed, epoch=number
            )
            yield images, torch.from_numpy(self.labels[samples])

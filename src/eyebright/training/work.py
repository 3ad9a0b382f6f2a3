"""What the phases of training work on and with.

Shapes: N samples, R side of the cached square, C channels, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.data.samples import SampleTable
from eyebright.distributed.ranks import Ranks
from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress
from eyebright.training.checkpoint import Keeper, Snapshot
from eyebright.training.history import EpochRecord
from eyebright.training.objective import weigh_classes
from eyebright.training.settings import Settings

BALANCE_POWER = 0.5
"""A rare class is helped by its size to this power: 1 would let every class count the same."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Who wants to know how training goes."""

    settings: Callable[[Settings], object] = lambda _: None
    """Told the settings with what was chosen, before training begins."""
    history: Callable[[Sequence[EpochRecord]], object] = lambda _: None
    """Told all records so far, whenever there is a new one."""


@final
class Clock:
    """Seconds spent on a training, over all starts.

    Args:
        before: those of earlier starts.
    """

    def __init__(self, before: float = 0.0) -> None:
        self._zero = time.monotonic() - before

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._zero


@dataclass(kw_only=True)
class Seen:
    """What one phase leaves for those after it."""

    embeddings: NDArray[np.float32] | None = None
    """(len(train_rows) + len(val_rows), D) of the training samples, then of the validation samples, by the backbone as
    it is; None if it has changed since, or never looked."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a network is trained and chosen on, and who helps."""

    model: nn.Module
    squares: NDArray[np.uint8]
    """(N, R, R, C)"""
    table: SampleTable
    """N samples, as they are labelled."""
    train_rows: NDArray[np.int64]
    """Row numbers of the readable training samples."""
    val_rows: NDArray[np.int64]
    preprocessing: Preprocessing
    settings: Settings
    """Resolved."""
    pretrained: bool
    frozen_statistics: bool
    """Whether BatchNorm keeps the mean and variance that it came with."""
    device: str
    keeper: Keeper
    ranks: Ranks
    clock: Clock
    watch: Watch
    progress: Progress
    seen: Seen = field(default_factory=Seen)

    @property
    def class_weights(self) -> Tensor | None:
        """(K,) how much each class counts; None if all count alike."""
        return self._balance() if self.settings.training.balance == "weights" else None

    @property
    def chances(self) -> NDArray[np.float64] | None:
        """(len(train_rows),) how likely each is drawn; None if every one comes once an epoch."""
        if self.settings.training.balance != "sampling":
            return None
        weights = self._balance().double().numpy()
        if self.table.label_sets is None:
            return weights[self.table.labels[self.train_rows]]
        chances: NDArray[np.float64] = (self.table.label_sets[self.train_rows] * weights).max(axis=1)
        return chances

    def _balance(self) -> Tensor:
        if self.table.label_sets is None:
            counts = np.bincount(self.table.labels[self.train_rows], minlength=self.num_classes)
        else:
            counts = self.table.label_sets[self.train_rows].sum(axis=0)
        return weigh_classes(torch.from_numpy(counts.astype(np.float64)), BALANCE_POWER)

    @property
    def several_labels(self) -> bool:
        """Whether a sample may have several classes; else it has exactly one."""
        return self.table.label_sets is not None

    def answers(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """(M,) the class of each of M samples; or (M, K) 1 for the classes that it has, where it may have several."""
        if self.table.label_sets is None:
            return self.table.labels[rows]
        return self.table.label_sets[rows].astype(np.float32)

    @property
    def num_classes(self) -> int:
        """K"""
        assert isinstance(self.model, Network)
        return self.model.num_classes

    def keep(self, phase: str, state: dict[str, Any], parts: dict[str, dict[str, Tensor]]) -> None:
        """A snapshot, if this rank is the one that writes."""
        if self.ranks.leads:
            snapshot = Snapshot(phase=phase, state={**state, "seconds": self.clock.seconds}, parts=parts)
            self.keeper.save(snapshot)

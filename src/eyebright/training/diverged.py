"""When the loss is no number any more: where that was, and the end if it is so once too often."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from eyebright.errors import ModelError
from eyebright.training.history import EpochRecord


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A step whose loss, gradient or weights were no numbers."""

    epoch: int
    batch: int | None
    """Its number in the epoch, from 0; None where the weights were found to be no numbers before it."""
    step: int
    """Its number in all, from 0."""
    highest_lr: float
    """The highest learning rate at the time, see `LoopPlan`."""


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """An image of the batch that failed last."""

    name: str
    loss: float
    """Of the best network so far, for the image as it is; it may be infinite or no number."""


@final
@dataclass(eq=False)
class DivergedError(ModelError):
    """The loss became no number, again and again; training can't go on with these settings."""

    message: str
    failures: Sequence[Failure] = ()
    """In their order; all but the last were come back from."""
    history: tuple[EpochRecord, ...] = ()
    suspects: Sequence[Suspect] = ()
    """Those with the highest losses first."""

    def __str__(self) -> str:
        return self.message

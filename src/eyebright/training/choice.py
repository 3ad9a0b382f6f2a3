"""Which epoch's weights are kept: the one of the lowest validation loss, or a later one that is no worse as far as can
be told.

N validation samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Validation:
    """How good a network is on the validation samples."""

    losses: Tensor
    """(N,) float64, each at the temperature that suits the network best: see `validation.calibrated_losses`."""
    accuracy: float
    """The share that is right; where a sample may have several labels, of all questions whether it has a class."""

    @property
    def loss(self) -> float:
        """Their mean."""
        return float(self.losses.mean())

    def is_worse_than(self, losses: Tensor) -> bool:
        """Whether another's losses on the same samples are lower by more than a standard error of the difference; for a
        single sample, which has none, whether they are lower at all.

        Source: the rule of one standard error in Breiman, Friedman, Olshen and Stone, "Classification and Regression
        Trees", 1984, section 3.4.3.
        """
        behind = self.losses - losses
        error = float(behind.std()) / math.sqrt(len(behind)) if len(behind) > 1 else 0.0
        return float(behind.mean()) > error

"""The engine of a classifier without a network: what is described by hand, into a linear model. No torch.

Shapes: N images, S side that is described, D width of the description, K classes.
"""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from eyebright.embedding.descriptors import describe_squares


@final
class DescriptorEngine:
    """Outlines and colours into a linear model.

    Args:
        weight: (K, D)
        bias: (K,)
    """

    def __init__(self, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
        self._weight, self._bias = weight, bias

    @property
    def name(self) -> str:
        """It can't be asked for by `--engine`: no bundle holds such a classifier."""
        return "descriptors"

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels (N, 3, S, S) -> logits (N, K)."""
        return self.run_and_embed(images)[0]

    def run_and_embed(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels (N, 3, S, S) -> logits (N, K), and descriptions (N, D)."""
        described = describe_squares(np.moveaxis(images, 1, 3))
        return described @ self._weight.T + self._bias, described

"""What runs a network, whichever library does it. No torch here.

Shapes: N images, C channels, S side that the network sees, D embedding width, K classes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """A network ready to run. Pixels go in: each engine normalises them itself. One thread at a time."""

    @property
    def name(self) -> str:
        """What `--engine` calls it."""
        ...

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels (N, C, S, S), in any memory layout -> logits (N, K)."""
        ...

    def run_and_embed(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels (N, C, S, S) -> logits (N, K), and what the head looked at (N, D), in one pass."""
        ...

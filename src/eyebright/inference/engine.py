"""What runs a network, whichever library does it. No torch here.

Shapes: N images, C channels, S side that the network sees, K classes.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """A network ready to run. Safe to call from one thread at a time."""

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, C, S, S) -> logits (N, K)."""
        ...

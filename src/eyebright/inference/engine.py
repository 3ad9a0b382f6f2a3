"""What runs a network, whichever library does it. No torch here.

Shapes: N images, C channels, S side that the network sees, D embedding width, K classes.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """A network ready to run. Safe to call from one thread at a time."""

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised images (N, C, S, S) -> logits (N, K)."""
        ...


@runtime_checkable
class EmbeddingEngine(Engine, Protocol):
    """An engine that also tells what the network's head looks at; without it, no image is called unlike the others."""

    def run_with_embeddings(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Normalised images (N, C, S, S) -> logits (N, K) and embeddings (N, D), in one pass."""
        ...

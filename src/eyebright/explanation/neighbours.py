"""The training images that a network sees as most like another image. No torch here.

Shapes: N training images, D embedding width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def find_nearest(
    embedding: NDArray[np.float32], embeddings: NDArray[np.float32], count: int
) -> tuple[tuple[int, float], ...]:
    """The rows of the nearest embeddings by their cosine, nearest first; of equal ones the first row first.

    Args:
        embedding: (D,), of length 1.
        embeddings: (N, D), rows of length 1.
        count: how many at the most.

    Returns:
        Rows with their cosines, in [-1, 1]; an embedding of nothing but zeros is like none, 0.
    """
    cosines = embeddings @ embedding
    order = np.argsort(-cosines, kind="stable")[:count]
    return tuple((int(row), float(np.clip(cosines[row], -1, 1))) for row in order)

"""How unlike the training images an image is: its distance from the nearest of them, as the network sees them.

Measured against the energy of the logits and the highest probability (docs/log.md): the distance tells other images
apart best, and needs no images of another kind to be set up.

Shapes: N samples, M training samples, D embedding width.

Source:
    Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", 2022, arXiv:2204.06507.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 5
"""The distance of which neighbour counts: one odd training image must not make other odd images seem normal."""
MOST_REFERENCES = 1024
"""Of how many training images a bundle keeps the embeddings, as float16: at 2,048 numbers each, 4 MB."""


def choose_references(count: int, seed: int) -> NDArray[np.int64]:
    """Which of so many training samples are kept: all, or as many as are kept at most, drawn at random, in order."""
    if count <= MOST_REFERENCES:
        return np.arange(count, dtype=np.int64)
    drawn = np.random.default_rng([seed, 0x6E6F76]).permutation(count)[:MOST_REFERENCES]
    return np.sort(drawn).astype(np.int64)


def unit_rows(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    """(N, D) with every row of length 1; a row of zeros stays."""
    rows = np.asarray(embeddings, dtype=np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    found: NDArray[np.float32] = (rows / np.maximum(lengths, 1e-12)[:, None]).astype(np.float32)
    return found


def measure_novelty(embeddings: NDArray[np.floating], references: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 less the cosine between each embedding and its fifth nearest reference; from 0 (alike) to 2.

    Args:
        embeddings: (N, D)
        references: (M, D) rows of length 1, M at least 1.

    Returns:
        (N,) float32.
    """
    likeness = unit_rows(embeddings) @ references.T
    nearest = min(NEIGHBOURS, references.shape[0])
    kth = np.partition(likeness, references.shape[0] - nearest, axis=1)[:, references.shape[0] - nearest]
    novelty: NDArray[np.float32] = (1 - kth).astype(np.float32)
    return novelty

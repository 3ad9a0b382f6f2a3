"""From which probability on an image is said to have a class, where it may have several.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIDDLE = 0.5
FEWEST = 5
"""A class seen on fewer samples keeps the middle: its best threshold would be chance."""


def choose_thresholds(probabilities: NDArray[np.float32], present: NDArray[np.bool_]) -> tuple[float, ...]:
    """(K,) for each class the threshold with the highest F1, of equal ones the nearest to the middle.

    Args:
        probabilities: (N, K), of samples that were not trained on.
        present: (N, K) which classes each has.
    """
    return tuple(_choose(probabilities[:, k].astype(np.float64), present[:, k]) for k in range(present.shape[1]))


def _choose(p: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    if present.sum() < FEWEST:
        return MIDDLE
    order = np.argsort(-p, kind="stable")
    ranked, hits = p[order], np.cumsum(present[order])
    said = np.arange(1, len(p) + 1)
    f1 = 2 * hits / (said + hits[-1])
    # A threshold lies between two neighbours, halfway, and can't part equal ones.
    following = np.append(ranked[1:], 0.0)
    parting = ranked > following
    thresholds, f1 = (ranked[parting] + following[parting]) / 2, f1[parting]
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(thresholds[best[np.abs(thresholds[best] - MIDDLE).argmin()]])

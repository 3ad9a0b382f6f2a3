"""One number that makes confidences honest: logits are divided by it before the softmax. NumPy only.

Shapes: V validation samples, K classes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from eyebright.errors import DataError

COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures that are considered; a network that would need others has learned nothing, or everything by heart."""
_STEPS = 60
"""Halvings of the range of logarithms: far below what float64 can tell apart."""


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    """The temperature with the lowest cross-entropy on samples that the network was not trained on.

    As in Platt's scaling, labels are taken to be a little uncertain, 1 in V + 2: otherwise a network that gets all of
    a few validation samples right would be told to be certain of everything.

    Args:
        logits: (V, K)
        labels: (V,)

    Raises:
        DataError: no samples, shapes disagree, or a logit is not finite.

    Sources:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599, section 4.2.
        Platt, "Probabilistic Outputs for Support Vector Machines", 1999, section 2.2 (the uncertain labels).
    """
    z = np.asarray(logits, dtype=np.float64)
    if z.ndim != 2 or len(z) == 0 or labels.shape != (len(z),):
        raise DataError(f"a temperature needs logits (V, K) and labels (V,), not {z.shape} and {labels.shape}")
    if not np.isfinite(z).all():
        raise DataError("a temperature can't be fitted: some logits are not finite")
    count, num_classes = z.shape
    doubt = 1 / (count + 2)
    targets = np.full(z.shape, doubt / num_classes)
    targets[np.arange(count), labels] += 1 - doubt
    wanted = float((targets * z).sum())

    def slope(log_temperature: float) -> float:
        """Of the summed cross-entropy in the inverse temperature; it only ever rises."""
        p = np.exp(log_softmax(z / math.exp(log_temperature)))
        return float((p * z).sum()) - wanted

    low, high = math.log(COLDEST), math.log(HOTTEST)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        # A rising cross-entropy in the inverse means that the network should be less sure: a higher temperature.
        if slope(middle) > 0:
            low = middle
        else:
            high = middle
    return math.exp((low + high) / 2)


def log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """(V, K) logits -> (V, K) logarithms of probabilities."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    found: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found


def undo_temperature(probabilities: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """(N, K) probabilities as they would have been at a temperature of 1; rows of NaN stay."""
    powered = np.asarray(probabilities, dtype=np.float64) ** temperature
    found: NDArray[np.float64] = powered / powered.sum(axis=1, keepdims=True)
    return found

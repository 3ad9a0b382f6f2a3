"""What logits mean: which classes each image is said to have, and how far two networks are apart. No torch here.

Shapes: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from eyebright.calibration.temperature import log_softmax
from eyebright.inference.predictor import pass_thresholds, sigmoid


def read_answers(logits: NDArray[np.float32], thresholds: Sequence[float] | None) -> NDArray[np.bool_]:
    """(N, K) which classes each image is said to have: the likeliest one, or all that reach their thresholds.

    Args:
        logits: (N, K).
        thresholds: (K,) where an image may have several classes; None where it has exactly one.
    """
    if thresholds is not None:
        return pass_thresholds(sigmoid(logits), thresholds)
    answers = np.zeros(logits.shape, dtype=np.bool_)
    answers[np.arange(len(logits)), logits.argmax(axis=1)] = True
    return answers


def divergence(wanted: NDArray[np.float32], found: NDArray[np.float32], *, several_labels: bool = False) -> float:
    """Mean Kullback-Leibler divergence in nats of one network's answers from another's; 0 is equal.

    Args:
        wanted: logits (N, K).
        found: logits (N, K) of the other.
        several_labels: whether every class is a question of its own; then theirs are summed.
    """
    x, y = wanted.astype(np.float64), found.astype(np.float64)
    if several_labels:
        p, q, no_p, no_q = (-np.logaddexp(0, z) for z in (-x, -y, x, y))
        return float((np.exp(p) * (p - q) + np.exp(no_p) * (no_p - no_q)).sum(axis=1).mean())
    p, q = log_softmax(x), log_softmax(y)
    return float((np.exp(p) * (p - q)).sum(axis=1).mean())

"""From which confidence on an answer may be given, so that the answers given are wrong no more often than allowed.

Shapes: V validation samples.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyebright.errors import SettingsError
from eyebright.metrics import binomial_tail

CERTAINTY = 0.95
"""How often, over all validation sets that might have been drawn, a promise that is called certain holds."""
_STEPS = 40
"""How many thresholds are considered."""


@dataclass(frozen=True, kw_only=True)
class Abstention:
    """A threshold of confidence, and what it rests on."""

    error_rate: float
    """The largest share of wrong answers among those given."""
    threshold: float
    """Answers with a lower confidence are unsure; 0 answers everything, above 1 nothing."""
    certain: bool
    """Whether the validation samples prove it; if not, it rests on the confidences alone."""
    answered: int
    """How many of the V validation samples it answers."""
    wrong: int
    """How many of those answers are wrong."""


def choose_threshold(confidence: NDArray[np.floating], correct: NDArray[np.bool_], *, error_rate: float) -> Abstention:
    """The lowest threshold for which validation samples show, with 95 % certainty, that the error rate is kept.

    It begins at the threshold at which, by the confidences, this can be shown most easily, lets in more samples step by
    step, and stops at the first step that does not show it; testing in an order that was fixed without looking at what
    is right needs no correction for the number of steps. If the first step fails, nothing is certain: then the
    threshold is the lowest at which neither the wrong answers counted nor the confidences themselves speak of more
    errors than allowed.

    Args:
        confidence: (V,) calibrated probabilities of the likeliest class.
        correct: (V,) whether it is the label.
        error_rate: a fraction above 0 and below 1.

    Raises:
        SettingsError: the error rate is no such fraction.

    Sources:
        Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", 2017, arXiv:1705.08500.
        Angelopoulos et al., "Learn then Test", 2021, arXiv:2110.01052, section 2 (fixed sequence testing).
    """
    if not 0 < error_rate < 1:
        raise SettingsError(f"an error rate is a fraction between 0 and 1, such as 0.05, not {error_rate:g}")
    count = len(confidence)
    order = np.argsort(-confidence, kind="stable")
    sure, wrong = confidence[order].astype(np.float64), np.cumsum(~correct[order], dtype=np.int64)
    chosen = _sure_enough(sure, wrong, error_rate)
    if chosen:
        threshold = 0.0 if chosen == count else float(sure[chosen - 1])
        return Abstention(
            error_rate=error_rate,
            threshold=threshold,
            certain=True,
            answered=chosen,
            wrong=int(wrong[chosen - 1]),
        )
    sizes = np.arange(1, count + 1)
    fine = (wrong <= error_rate * sizes) & (np.cumsum(1 - sure) <= error_rate * sizes)
    fine[:-1] &= sure[:-1] > sure[1:]  # equally sure samples are answered together
    kept = int(sizes[fine].max()) if fine.any() else 0
    return Abstention(
        error_rate=error_rate,
        threshold=float(sure[kept - 1]) if kept else 2.0,
        certain=False,
        answered=kept,
        wrong=int(wrong[kept - 1]) if kept else 0,
    )


def _sure_enough(sure: NDArray[np.float64], wrong: NDArray[np.int64], error_rate: float) -> int:
    """How many of the surest samples can certainly be answered; 0 if none."""
    steps = np.unique(np.linspace(1, len(sure), _STEPS).astype(np.int64))
    sizes = [_with_equals(sure, int(step)) for step in steps]
    expected = np.cumsum(1 - sure)
    easiest = min(
        range(len(sizes)), key=lambda i: binomial_tail(round(float(expected[sizes[i] - 1])), sizes[i], error_rate)
    )
    chosen = 0
    for size in sizes[easiest:]:
        # How likely so few wrong answers are if the error rate were exactly what it must not exceed.
        if binomial_tail(int(wrong[size - 1]), size, error_rate) > 1 - CERTAINTY:
            break
        chosen = size
    return chosen


def _with_equals(sure: NDArray[np.float64], size: int) -> int:
    """So many samples, and all those that are as sure as the last of them."""
    return int(np.count_nonzero(sure >= sure[size - 1]))

"""How far confidences can be relied on: reliability, what answering less often gains, and whether promises were kept.

Shapes: N samples, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyebright import metrics
from eyebright.calibration.calibration import LOW_CONFIDENCE, REASONS, UNLIKE, Calibration
from eyebright.calibration.conformal import METHODS
from eyebright.calibration.temperature import undo_temperature

BINS = 10
CURVE_POINTS = 40


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Answers of about the same confidence."""

    low: float
    high: float
    count: int
    confidence: float
    """Their mean confidence."""
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True, kw_only=True)
class CoveragePoint:
    """What happens if only the surest answers are given."""

    threshold: float
    """The lowest confidence that is answered."""
    answered: float
    """The share of readable images that is."""
    accuracy: float
    """Of these answers."""


@dataclass(frozen=True, kw_only=True)
class SetResult:
    """One way to make prediction sets."""

    method: str
    coverage: float
    """What was promised."""
    num_covered: int
    covered: float
    """The share of sets that hold the true class."""
    covered_low: float
    covered_high: float
    mean_size: float
    single: float
    """The share of sets with one class."""


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whether what calibration promised was kept on these images; over those that could be read."""

    temperature: float
    calibrated_on: int
    """How many validation samples it rests on."""
    error_before: float
    """Expected calibration error of the network's own confidences."""
    error_after: float
    error_rate: float
    """The share of wrong answers that was promised not to be exceeded."""
    threshold: float
    certain: bool
    """Whether the validation samples had proved the threshold."""
    num_answered: int
    num_wrong: int
    """Of those answered."""
    num_low_confidence: int
    num_unlike: int
    novelty_measured: bool
    sets: tuple[SetResult, ...]


def list_reliability(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> tuple[ReliabilityBin, ...]:
    """Ten bins of confidence, those that are empty left out."""
    found = []
    bins = metrics.confidence_bins(confidence, BINS)
    for index in np.unique(bins):
        inside = bins == index
        count, right = int(inside.sum()), int(correct[inside].sum())
        interval = metrics.wilson_interval(right, count)
        found.append(
            ReliabilityBin(
                low=float(index / BINS),
                high=float((index + 1) / BINS),
                count=count,
                confidence=float(confidence[inside].mean()),
                accuracy=right / count,
                accuracy_low=interval.low,
                accuracy_high=interval.high,
            )
        )
    return tuple(found)


def list_coverage(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> tuple[CoveragePoint, ...]:
    """Accuracy of the surest answers, from a few of them to all; equally sure ones come together."""
    count = len(confidence)
    order = np.argsort(-confidence, kind="stable")
    sure, right = confidence[order], np.cumsum(correct[order])
    found: list[CoveragePoint] = []
    for size in np.unique(np.linspace(max(1, count // 20), count, min(CURVE_POINTS, count)).astype(np.int64)):
        size = int(np.count_nonzero(sure >= sure[size - 1]))
        point = CoveragePoint(
            threshold=float(sure[size - 1]), answered=size / count, accuracy=float(right[size - 1] / size)
        )
        if not found or found[-1].answered < point.answered:
            found.append(point)
    return tuple(found)


def measure_trust(
    calibration: Calibration,
    probabilities: NDArray[np.floating],
    novelty: NDArray[np.floating] | None,
    labels: NDArray[np.int64],
) -> Trust:
    """Hold what the calibration promised against N labelled answers.

    Args:
        calibration: with the promises that were made.
        probabilities: (N, K), calibrated.
        novelty: (N,), or None where it was not measured.
        labels: (N,)
    """
    correct = probabilities.argmax(axis=1) == labels
    reasons = calibration.judge(probabilities, novelty).reasons
    answered = reasons == 0
    rows = np.arange(len(labels))
    sets = []
    for method in METHODS:
        inside = calibration.sets(probabilities, method)
        covered = int(inside[rows, labels].sum())
        interval = metrics.wilson_interval(covered, len(labels))
        sizes = inside.sum(axis=1)
        sets.append(
            SetResult(
                method=method,
                coverage=calibration.promises.coverage,
                num_covered=covered,
                covered=covered / len(labels),
                covered_low=interval.low,
                covered_high=interval.high,
                mean_size=float(sizes.mean()),
                single=float((sizes == 1).mean()),
            )
        )
    before = undo_temperature(probabilities, calibration.temperature)
    return Trust(
        temperature=calibration.temperature,
        calibrated_on=calibration.num_samples,
        error_before=metrics.expected_calibration_error(before, labels),
        error_after=metrics.expected_calibration_error(probabilities, labels),
        error_rate=calibration.promises.error_rate,
        threshold=calibration.abstention.threshold,
        certain=calibration.abstention.certain,
        num_answered=int(answered.sum()),
        num_wrong=int((answered & ~correct).sum()),
        num_low_confidence=int((reasons == REASONS.index(LOW_CONFIDENCE)).sum()),
        num_unlike=int((reasons == REASONS.index(UNLIKE)).sum()),
        novelty_measured=novelty is not None,
        sets=tuple(sets),
    )

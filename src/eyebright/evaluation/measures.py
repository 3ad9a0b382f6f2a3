"""Every number that says how good a classifier's answers are, with its 95 % interval.

Shapes: R draws, N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyebright import metrics
from eyebright.evaluation.resample import (
    corrected_interval,
    count_answers,
    draw_counts,
    rank_measures,
    reversed_interval,
)

RANKED_CELLS = 50_000
"""Up to so many samples times classes, rank measures get intervals; beyond, drawing anew takes too long."""
BINS = 15
FEW = 10
"""A class of fewer samples is said to be too small to tell."""
_FLOOR = float(np.finfo(np.float32).eps)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number and its 95 % interval."""

    value: float
    low: float | None
    """None, like `high`, where there are too few samples, or so many that drawing anew would take too long."""
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Measures:
    """All of them, by name, and what could not be measured."""

    overall: dict[str, Measured]
    """"balanced_accuracy", "macro_precision", "macro_recall", "macro_f1", "weighted_precision", "weighted_recall",
    "weighted_f1", "roc_auc", "average_precision" (both one class against the others, mean over classes), "log_loss",
    "brier", "calibration_error"; those that could not be measured are absent."""
    f1: tuple[Measured, ...]
    """(K,)"""
    roc_auc: tuple[float | None, ...]
    """(K,) None where all samples, or none, are of the class."""
    average_precision: tuple[float | None, ...]
    """(K,)"""
    remarks: tuple[str, ...]
    """What could not be measured and why, and what is too small to tell; one sentence each."""


def measure(probabilities: NDArray[np.floating], labels: NDArray[np.int64], class_names: Sequence[str]) -> Measures:
    """Everything about N answers.

    Args:
        probabilities: (N, K); rows of samples that got no answer are NaN. These count as errors in what counts answers,
            and not at all in what looks at probabilities.
        labels: (N,)
        class_names: K names, for the remarks.
    """
    num_classes = len(class_names)
    readable = ~np.isnan(probabilities).any(axis=1)
    predicted = np.full(len(labels), num_classes, dtype=np.int64)
    if readable.any():
        predicted[readable] = probabilities[readable].argmax(axis=1)
    counts = draw_counts(labels)
    overall, f1 = _counted(counts, labels, predicted, num_classes)
    y = labels[readable]
    areas: list[float | None] = [None] * num_classes
    precisions: list[float | None] = [None] * num_classes
    if readable.any():
        p = probabilities[readable].astype(np.float64)
        some = counts if readable.all() else counts[:, readable]
        overall |= _sureness(some, p, y)
        ranked = _ranked(some, p, y, areas, precisions)
        overall |= ranked
    return Measures(
        overall=overall,
        f1=f1,
        roc_auc=tuple(areas),
        average_precision=tuple(precisions),
        remarks=_remarks(labels, class_names, readable),
    )


def _counted(
    counts: NDArray[np.float32], labels: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int
) -> tuple[dict[str, Measured], tuple[Measured, ...]]:
    """What follows from how often each class occurs, is said, and is said rightly, as scikit-learn counts it."""
    hits, said, support = count_answers(counts, labels, predicted, num_classes)
    precision, recall, f1 = _share(hits, said), _share(hits, support), _share(2 * hits, said + support)
    labelled = support[0] > 0
    present = _occurring(support, said)
    found = {"balanced_accuracy": recall[:, labelled].mean(axis=1)}
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        found[f"macro_{name}"] = values[:, present].mean(axis=1)
        found[f"weighted_{name}"] = (values * support).sum(axis=1) / support.sum(axis=1)
    return (
        {name: _with_interval(values) for name, values in found.items()},
        tuple(_with_interval(f1[:, k]) for k in range(num_classes)),
    )


def macro_f1(
    counts: NDArray[np.float32], labels: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int
) -> NDArray[np.float64]:
    """(R,) the mean F1 of the classes that occur; see `resample.count_answers`."""
    hits, said, support = count_answers(counts, labels, predicted, num_classes)
    found: NDArray[np.float64] = _share(2 * hits, said + support)[:, _occurring(support, said)].mean(axis=1)
    return found


def _occurring(support: NDArray[np.float64], said: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(R, K) twice -> (K,) the classes that count in a mean: those among labels or answers at all, not in each draw."""
    found: NDArray[np.bool_] = (support[0] > 0) | (said[0] > 0)
    return found


def _sureness(counts: NDArray[np.float32], p: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, Measured]:
    """Proper scores and the calibration error."""
    rows, total = np.arange(len(labels)), len(labels)
    own = p[rows, labels] / p.sum(axis=1)
    brier = (p**2).sum(axis=1) - 2 * p[rows, labels] + 1
    losses = np.stack([-np.log(np.clip(own, _FLOOR, 1)), brier], axis=1)
    # Not all draws have as many samples as there are: some of these could not be read, or a lost class was put back.
    sizes = counts.sum(axis=1, dtype=np.float64)
    sums = counts.astype(np.float64) @ losses / np.maximum(sizes, 1)[:, None]
    gaps = np.zeros((total, BINS))
    gaps[rows, metrics.confidence_bins(p.max(axis=1), BINS)] = p.max(axis=1) - (p.argmax(axis=1) == labels)
    errors = np.abs(counts.astype(np.float64) @ gaps).sum(axis=1) / np.maximum(sizes, 1)
    interval = reversed_interval(errors, lowest=0.0)
    return {
        "log_loss": _with_interval(sums[:, 0]),
        "brier": _with_interval(sums[:, 1]),
        "calibration_error": Measured(value=float(errors[0]), low=interval.low, high=interval.high),
    }


def _ranked(
    counts: NDArray[np.float32],
    p: NDArray[np.float64],
    labels: NDArray[np.int64],
    areas: list[float | None],
    precisions: list[float | None],
) -> dict[str, Measured]:
    """Fills in the two measures of each class, and returns their means."""
    num_classes = p.shape[1]
    drawn = counts if p.size <= RANKED_CELLS else counts[:1]
    together = []
    for k in range(num_classes):
        positive = labels == k
        if not positive.any() or positive.all():
            continue
        area, precision = rank_measures(drawn, p[:, k], positive)
        areas[k], precisions[k] = float(area[0]), float(precision[0])
        together.append((area, precision))
    if not together:
        return {}
    return {
        name: _with_interval(np.mean([pair[i] for pair in together], axis=0))
        for i, name in enumerate(("roc_auc", "average_precision"))
    }


def _remarks(labels: NDArray[np.int64], class_names: Sequence[str], readable: NDArray[np.bool_]) -> tuple[str, ...]:
    support = np.bincount(labels, minlength=len(class_names))
    found = []
    if not readable.any():
        found.append("No image could be read, so nothing that looks at probabilities was measured.")
    elif len(np.unique(labels[readable])) == 1:
        found.append("All images that could be read have one label, so ROC-AUC and average precision mean nothing.")
    absent = [name for name, count in zip(class_names, support, strict=True) if not count]
    if absent:
        found.append(f"There are no images of {_some(absent)}: how well these are found was not measured.")
    small = [f"{name} ({count})" for name, count in zip(class_names, support, strict=True) if 0 < count < FEW]
    if small:
        found.append(
            f"Too few images to tell much about {_some(small)}: intervals of macro averages are too narrow for them."
        )
    return tuple(found)


def _some(names: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _with_interval(values: NDArray[np.floating]) -> Measured:
    if len(values) < 2:
        return Measured(value=float(values[0]), low=None, high=None)
    interval = corrected_interval(values)
    return Measured(value=float(values[0]), low=interval.low, high=interval.high)


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)

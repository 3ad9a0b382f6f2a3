"""Drawing the test images anew to see how far a number might have been another: the bootstrap.

All draws are done at once: a table of how often each sample was drawn, whose first row is every sample once, so that
the number itself and its spread come from the same formula. Seeded: the same samples give the same intervals. How many
images a class has is left to chance, too, as it was when the test images were chosen: draws that keep each class's
number give intervals that are some two points too seldom right (docs/log.md).

Shapes: R draws with the one that is none, N samples, K classes.

Source:
    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13, 14 and 16.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from eyebright.metrics import Interval

DRAWS = 1000
_MOST_CELLS = 40_000_000
"""Draws times samples; beyond, fewer draws are made, for memory and time."""
_FEWEST_DRAWS = 200
_SEED = 0x626F6F74
_QUANTILES = (0.025, 0.975)
_NORMAL = NormalDist()
_MOST_BIAS = 0.5
"""In standard deviations; where draws lie further to one side, that says more about them than about the number."""


def draw_counts(labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """(R, N) how often each sample is drawn; no class is ever lost. The first row is all ones."""
    count = len(labels)
    draws = int(np.clip(_MOST_CELLS // max(1, count), _FEWEST_DRAWS, DRAWS))
    found = np.ones((draws + 1, count), dtype=np.float32)
    generator = np.random.default_rng(_SEED)
    for draw in range(1, draws + 1):
        found[draw] = np.bincount(generator.integers(0, count, count), minlength=count)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        lost = np.flatnonzero(~found[:, rows].any(axis=1))
        found[lost, generator.choice(rows, len(lost))] = 1
    return found


def percentile_interval(values: NDArray[np.floating]) -> Interval:
    """(R,) the number and its draws -> the middle 95 % of the draws, and never without the number itself."""
    low, high = np.quantile(values[1:], _QUANTILES)
    return Interval(min(float(low), float(values[0])), max(float(high), float(values[0])))


def corrected_interval(values: NDArray[np.floating]) -> Interval:
    """The same with bias-corrected percentiles.

    Where more than half of the draws are below the number, drawing pulls it down, and so did the drawing of the images
    themselves: the interval moves up by twice as much.
    """
    below = float((values[1:] < values[0]).mean() + (values[1:] <= values[0]).mean()) / 2
    bound = _NORMAL.cdf(_MOST_BIAS)
    shift = 2 * _NORMAL.inv_cdf(min(max(below, 1 - bound), bound))
    low, high = np.quantile(values[1:], [_NORMAL.cdf(shift + _NORMAL.inv_cdf(share)) for share in _QUANTILES])
    return Interval(min(float(low), float(values[0])), max(float(high), float(values[0])))


def reversed_interval(values: NDArray[np.floating], *, lowest: float) -> Interval:
    """The same for a number that drawing anew pushes upwards: the draws' distances, laid off to the other side.

    A calibration error is such a number: noise can only add to it. Drawing anew shows only a part of what noise has
    added already, so the lower end moves by the mean push once more; without that, it is above the truth one time in
    eleven (docs/log.md).
    """
    low, high = np.quantile(values[1:], _QUANTILES)
    centre = float(values[0])
    push = max(0.0, float(values[1:].mean()) - centre)
    return Interval(max(lowest, 2 * centre - float(high) - push), max(centre, 2 * centre - float(low)))


def count_answers(
    counts: NDArray[np.float32], labels: NDArray[np.int64], predicted: NDArray[np.int64], num_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """How often each class is said rightly, how often at all, and how often it is there: (R, K) each.

    Args:
        counts: (R, N)
        labels: (N,)
        predicted: (N,) in [0, K], K standing for no answer.
        num_classes: K.
    """
    hits = np.zeros((len(counts), num_classes), dtype=np.float64)
    said, support = np.zeros_like(hits), np.zeros_like(hits)
    for label in np.unique(labels).tolist():
        support[:, label] = counts[:, labels == label].sum(axis=1, dtype=np.float64)
    for label in np.unique(predicted[predicted < num_classes]).tolist():
        mine = predicted == label
        said[:, label] = counts[:, mine].sum(axis=1, dtype=np.float64)
        hits[:, label] = counts[:, mine & (labels == label)].sum(axis=1, dtype=np.float64)
    return hits, said, support


def rank_measures(
    counts: NDArray[np.float32], scores: NDArray[np.floating], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How well scores put one class before the others: ROC-AUC and average precision, each (R,).

    Equal scores share a threshold, as in scikit-learn.

    Args:
        counts: (R, N)
        scores: (N,) the probability of the class.
        positive: (N,) which samples are of it; some are, and some are not.
    """
    hits, joined = _count_by_threshold(counts, scores, positive)
    hits_so_far, taken = np.cumsum(hits, axis=1), np.cumsum(joined, axis=1)
    total_hits = hits_so_far[:, -1].astype(np.float64)
    total_others = taken[:, -1] - total_hits
    others = joined - hits
    others_above = taken - hits_so_far - others / 2
    lost = np.einsum("rn,rn->r", hits, others_above, dtype=np.float64)
    # A draw can miss a class only where some of its images could not be read; it counts as the number itself.
    whole = (total_hits > 0) & (total_others > 0)
    area = np.full(len(counts), np.nan)
    area[whole] = 1 - lost[whole] / (total_hits * total_others)[whole]
    precision = np.where(whole, _sum_precision(hits, hits_so_far, taken), np.nan)
    return np.where(whole, area, area[0]), np.where(whole, precision, precision[0])


def average_precision(
    counts: NDArray[np.float32], scores: NDArray[np.floating], positive: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The mean of precision over the samples found, as the threshold falls: (R,), NaN where a draw has none to find.

    Args:
        counts: (R, N)
        scores: (N,) the probability of the class; equal ones share a threshold, as in scikit-learn.
        positive: (N,) which samples are of it.
    """
    hits, joined = _count_by_threshold(counts, scores, positive)
    return _sum_precision(hits, np.cumsum(hits, axis=1), np.cumsum(joined, axis=1))


def _count_by_threshold(
    counts: NDArray[np.float32], scores: NDArray[np.floating], positive: NDArray[np.bool_]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """How many samples of the class, and of all, join at each threshold, from the highest: (R, T) each.

    Whole numbers, which float32 holds exactly.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    joined = counts[:, order]
    hits = joined * positive[order]
    if len(starts) < len(order):
        hits, joined = np.add.reduceat(hits, starts, axis=1), np.add.reduceat(joined, starts, axis=1)
    return hits, joined


def _sum_precision(
    hits: NDArray[np.float32], hits_so_far: NDArray[np.float32], taken: NDArray[np.float32]
) -> NDArray[np.float64]:
    shares = np.divide(hits_so_far, np.maximum(taken, 1), dtype=np.float64)
    found = np.einsum("rn,rn->r", shares, hits, dtype=np.float64)
    total = hits_so_far[:, -1].astype(np.float64)
    average: NDArray[np.float64] = np.divide(found, total, out=np.full(len(hits), np.nan), where=total > 0)
    return average

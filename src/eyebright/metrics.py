"""Arrays to numbers, with intervals: how good a classifier's answers are. NumPy only.

Shapes: N samples, K classes. Probabilities are (N, K), labels are class indices (N,).
A sample whose image could not be read has no probabilities; it is passed as one of `missed`, counted per class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eyebright.errors import DataError

_Z95 = 1.959963984540054
"""How many standard deviations to either side hold 95 % of a normal distribution."""
_FEW_DEGREES = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The same of Student's distribution with 1, 2, … degrees of freedom."""
_SUM_TOLERANCE = 1e-2
"""How far from 1 a row of probabilities may sum: bfloat16 keeps two to three digits."""


class Interval(NamedTuple):
    """The lowest and highest value that the data are compatible with; of a share, as fractions."""

    low: float
    high: float


class PerClass(NamedTuple):
    """One number per class, each array (K,). A fraction with nothing to divide by is 0, as in scikit-learn."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.int64]


def wilson_interval(correct: int, total: int) -> Interval:
    """The 95 % interval of a share of independent successes; sound for small counts and near 0 and 1.

    Args:
        correct: how many of them succeeded.
        total: how many were tried, at least 1.

    Raises:
        DataError: nothing was tried, or `correct` is not in [0, total].

    Source:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 22, 1927.
    """
    if total < 1:
        raise DataError("an accuracy needs at least one sample")
    if not 0 <= correct <= total:
        raise DataError(f"{correct} of {total} is not a share of samples")
    share = correct / total
    spread = _Z95**2 / total
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    # Exactly 0 and 1 at the ends, where rounding would leave 1e-17 of the other side.
    low = 0.0 if correct == 0 else max(0.0, centre - half)
    high = 1.0 if correct == total else min(1.0, centre + half)
    return Interval(low, high)


def mean_interval(values: ArrayLike) -> Interval:
    """The 95 % interval of the mean of independent numbers, by Student's t; as they are, not bounded to any range.

    Args:
        values: (N,), N at least 2.

    Source:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964, 26.7.5, for the quantile from 10 degrees of
        freedom on, where it is right to 0.2 %.
    """
    numbers = np.asarray(values, dtype=np.float64)
    assert numbers.ndim == 1 and len(numbers) >= 2
    freedom = len(numbers) - 1
    if freedom <= len(_FEW_DEGREES):
        quantile = _FEW_DEGREES[freedom - 1]
    else:
        z = _Z95
        quantile = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    middle, reach = numbers.mean(), quantile * numbers.std(ddof=1) / np.sqrt(len(numbers))
    return Interval(float(middle - reach), float(middle + reach))


def top_k_correct(probabilities: ArrayLike, labels: ArrayLike, *, k: int = 1) -> NDArray[np.bool_]:
    """(N,) True where the label is among the k likeliest classes; of equal ones the first counts as likelier.

    Raises:
        DataError: k is below 1, or as for `log_loss`.
    """
    if k < 1:
        raise DataError(f"top-k accuracy needs k of at least 1, not {k}")
    p, y = _checked(probabilities, labels)
    own = p[np.arange(len(y)), y][:, None]
    before = (p > own) | ((p == own) & (np.arange(p.shape[1]) < y[:, None]))
    return np.asarray(before.sum(axis=1) < k)


def top_k_accuracy(probabilities: ArrayLike, labels: ArrayLike, *, k: int) -> float:
    """The share of samples whose label is among the k likeliest classes, a fraction in [0, 1]."""
    return float(top_k_correct(probabilities, labels, k=k).mean())


def accuracy(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """The share of samples whose likeliest class is their label, a fraction in [0, 1]."""
    return top_k_accuracy(probabilities, labels, k=1)


def confusion_matrix(predicted: ArrayLike, labels: ArrayLike, *, num_classes: int) -> NDArray[np.int64]:
    """(K, K) counts; row = the label, column = what was predicted.

    Args:
        predicted: shape (N,), values in [0, K).
        labels: shape (N,), values in [0, K).
        num_classes: K.

    Raises:
        DataError: shapes disagree, or a value is no class index.
    """
    said, y = _class_indices(predicted, num_classes), _class_indices(labels, num_classes)
    if said.shape != y.shape:
        raise DataError(f"{len(said)} predictions do not belong to {len(y)} labels")
    counts = np.bincount(y * num_classes + said, minlength=num_classes * num_classes)
    return counts.reshape(num_classes, num_classes).astype(np.int64)


def per_class(confusion: ArrayLike, missed: ArrayLike | None = None) -> PerClass:
    """Precision, recall, F1 and support of every class.

    Args:
        confusion: shape (K, K), as `confusion_matrix` counts.
        missed: shape (K,), samples of each class that got no prediction. They are in the support and in no column,
            so they lower recall and F1 and leave precision alone.

    Raises:
        DataError: the matrix is not square, or `missed` does not fit it, or a count is negative.
    """
    counts, absent = _checked_counts(confusion, missed)
    hits = counts.diagonal()
    support = counts.sum(axis=1) + absent
    predicted = counts.sum(axis=0)
    return PerClass(
        precision=_share(hits, predicted),
        recall=_share(hits, support),
        f1=_share(2 * hits, support + predicted),
        support=support,
    )


def macro_f1(confusion: ArrayLike, missed: ArrayLike | None = None) -> float:
    """The mean F1 over the classes that occur among the labels or the predictions; small classes count as much.

    Args:
        confusion: shape (K, K), as `confusion_matrix` counts.
        missed: shape (K,), samples of each class that got no prediction.

    Raises:
        DataError: no samples at all, or as for `per_class`.
    """
    counts, absent = _checked_counts(confusion, missed)
    present = (counts.sum(axis=1) + absent + counts.sum(axis=0)) > 0
    if not present.any():
        raise DataError("macro F1 needs at least one sample")
    return float(per_class(counts, absent).f1[present].mean())


def log_loss(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean negative natural logarithm of the probability given to the label; 0 is perfect, ln K is guessing.

    Probabilities are held at or above float32's resolution, 1.2e-7: one sure mistake costs 15.9 and not infinity.

    Args:
        probabilities: shape (N, K), each row summing to 1.
        labels: shape (N,), values in [0, K).

    Raises:
        DataError: no samples, shapes disagree, a value is NaN, or rows do not sum to 1 (logits passed by mistake).
    """
    p, y = _checked(probabilities, labels)
    own = p[np.arange(len(y)), y] / p.sum(axis=1)
    floor = float(np.finfo(np.float32).eps)
    return float(-np.log(np.clip(own, floor, 1.0)).mean())


def expected_calibration_error(probabilities: ArrayLike, labels: ArrayLike, *, num_bins: int = 15) -> float:
    """Mean gap between confidence and accuracy, weighted by how many samples each bin holds.

    Args:
        probabilities: shape (N, K), each row summing to 1.
        labels: shape (N,), values in [0, K).
        num_bins: how many equal-width bins divide [0, 1].

    Returns:
        A fraction in [0, 1], not a percentage.

    Raises:
        DataError: no samples, shapes disagree, or rows do not sum to 1 (logits passed by mistake).

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599, eq. 3.
    """
    if num_bins < 1:
        raise DataError(f"a calibration error needs at least one bin, not {num_bins}")
    p, y = _checked(probabilities, labels)
    confidence = p.max(axis=1)
    correct = p.argmax(axis=1) == y
    gap = np.bincount(confidence_bins(confidence, num_bins), weights=confidence - correct, minlength=num_bins)
    return float(np.abs(gap).sum() / len(y))


def confidence_bins(confidence: ArrayLike, num_bins: int) -> NDArray[np.int64]:
    """(N,) which of so many equal-width bins of [0, 1] each confidence falls into.

    Bins are open below and closed above: a confidence of exactly 1 belongs to the last.
    """
    above = np.ceil(np.asarray(confidence, dtype=np.float64) * num_bins).astype(np.int64)
    return np.clip(above - 1, 0, num_bins - 1)


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """How likely two equally good classifiers differ at least this much on the same samples: a two-sided p-value.

    Args:
        only_first: samples that the first got right and the second wrong.
        only_second: samples that the second got right and the first wrong.

    Raises:
        DataError: a count is negative.

    Source:
        McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 12, 1947;
        exact binomial form.
    """
    if min(only_first, only_second) < 0:
        raise DataError("McNemar's test needs counts of zero or more")
    return min(1.0, 2 * binomial_tail(min(only_first, only_second), only_first + only_second, 0.5))


def binomial_tail(count: int, total: int, share: float) -> float:
    """How likely at most `count` of `total` independent draws succeed, if each does so with a chance of `share`.

    Args:
        count: 0 or more.
        total: 0 or more.
        share: strictly between 0 and 1.
    """
    # Logarithms, because 2**total overflows a float at 1,024 samples.
    logs = math.log(share), math.log1p(-share)
    base = math.lgamma(total + 1)
    terms = (
        base - math.lgamma(i + 1) - math.lgamma(total - i + 1) + i * logs[0] + (total - i) * logs[1]
        for i in range(min(count, total) + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))


def exact_interval(successes: int, total: int) -> Interval:
    """The 95 % interval of a share by the binomial distribution itself: it holds one half where, and only where, the
    exact two-sided test of `mcnemar_exact` gives at least 5 %.

    Source:
        Clopper and Pearson, "The Use of Confidence or Fiducial Limits", Biometrika 26, 1934.
    """
    if not 0 <= successes <= total:
        raise DataError(f"{successes} of {total} is not a share of samples")

    def lowest(count: int) -> float:
        """The share at which so many successes or more are as rare as 2.5 %."""
        if count == 0:
            return 0.0
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            tail = binomial_tail(total - count, total, 1 - middle)  # so many fail at the most
            low, high = (low, middle) if tail > 0.025 else (middle, high)
        return (low + high) / 2

    return Interval(lowest(successes), 1 - lowest(total - successes))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """The same p-values, raised so that all of them together call chance a difference as rarely as one alone would.

    Source:
        Holm, "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian Journal of Statistics 6, 1979.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    raised = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, p_values[index] * (len(p_values) - rank)))
        raised[index] = highest
    return tuple(raised)


def samples_needed(only_first: int, only_second: int, total: int, *, comparisons: int = 1) -> int | None:
    """How many samples would show, four times in five, that the better of two classifiers is better, if it is as much
    better as it seems; None where neither seems to be.

    Args:
        only_first: samples that the first got right and the second wrong.
        only_second: the other way round.
        total: how many samples there were.
        comparisons: how many are made together, each the stricter for it.

    Source:
        Connor, "Sample Size for Testing Differences in Proportions for the Paired-Sample Design", Biometrics 43, 1987.
    """
    gap, apart = (only_first - only_second) / total, (only_first + only_second) / total
    if gap == 0:
        return None
    normal = NormalDist()
    sureness, power = normal.inv_cdf(1 - 0.025 / comparisons), normal.inv_cdf(0.8)
    return math.ceil(((sureness * math.sqrt(apart) + power * math.sqrt(apart - gap**2)) / gap) ** 2)


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part), dtype=np.float64), where=whole > 0)


def _class_indices(values: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    found = np.asarray(values)
    if found.ndim != 1:
        raise DataError(f"class indices are one row of numbers, shape (N,), not shape {found.shape}")
    if found.size and not np.issubdtype(found.dtype, np.integer):
        raise DataError(f"class indices are whole numbers, not {found.dtype}")
    if found.size and not (found.min() >= 0 and found.max() < num_classes):
        wrong = int(found.min()) if found.min() < 0 else int(found.max())
        raise DataError(f"class index {wrong} is outside [0, {num_classes})")
    return found.astype(np.int64)


def _checked(probabilities: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    p: NDArray[Any] = np.asarray(probabilities)
    if p.ndim != 2 or p.shape[1] < 1:
        raise DataError(f"probabilities are a table of samples by classes, shape (N, K), not shape {p.shape}")
    y = _class_indices(labels, p.shape[1])
    if len(p) != len(y):
        raise DataError(f"{len(p)} rows of probabilities do not belong to {len(y)} labels")
    if len(p) == 0:
        raise DataError("there is nothing to measure: no samples")
    p = p.astype(np.float64)
    if not np.isfinite(p).all():
        row = int(np.flatnonzero(~np.isfinite(p).all(axis=1))[0])
        raise DataError(f"row {row} of the probabilities is not finite; leave out images that could not be read")
    off = (p < 0).any(axis=1) | (np.abs(p.sum(axis=1) - 1) > _SUM_TOLERANCE)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise DataError(
            f"row {row} is not probabilities: values must be 0 or more and sum to 1, and these sum to "
            f"{p[row].sum():.4g}; were logits passed without a softmax?"
        )
    return p, y


def _checked_counts(confusion: ArrayLike, missed: ArrayLike | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    counts = np.asarray(confusion)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise DataError(f"a confusion matrix is square, not of shape {counts.shape}")
    absent = np.zeros(len(counts), dtype=np.int64) if missed is None else np.asarray(missed)
    if absent.shape != (len(counts),):
        raise DataError(f"{len(counts)} classes need as many counts of missed samples, not shape {absent.shape}")
    if (counts < 0).any() or (absent < 0).any():
        raise DataError("counts of samples can't be negative")
    return counts.astype(np.int64), absent.astype(np.int64)

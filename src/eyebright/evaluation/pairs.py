"""Two classifiers on the same images: by how much one is better, and whether that may be chance.

Where networks were trained several times, a difference is one of their means, and chance means other images and other
seeds. Shapes: R draws, N samples, K classes, S trainings.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from eyebright import metrics
from eyebright.errors import DataError
from eyebright.evaluation.crossed import CrossedMean, mean_over_both
from eyebright.evaluation.measures import macro_f1
from eyebright.evaluation.repeats import right_answers
from eyebright.evaluation.report import EvaluationReport
from eyebright.evaluation.resample import draw_counts, percentile_interval

SIGNIFICANCE = 0.05
"""How often we accept to call equally good classifiers different, over all pairs together."""
_DRAWS = 10_000
_SEED = 0x70616972


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How two classifiers differ on the same images; differences are the first's less the second's."""

    points: float
    """Of accuracy, in percentage points."""
    points_low: float
    """The ends of its 95 % interval; on both sides of 0 where the test of accuracy, before Holm, tells nothing."""
    points_high: float
    only_first: int
    """Images that the first got right and the second wrong; of several trainings the mean, rounded."""
    only_second: int
    p_value: float
    """McNemar's exact test, two-sided; of several trainings see `mean_over_both`. After Holm where several pairs are
    compared."""
    needed: int | None
    """How many images would show the difference four times in five, if it is as large as it seems. None where there
    seems to be none, or where so few trainings would not show it with any number of images."""
    f1_points: float | None
    """Of macro F1, times 100; None, as all that follow, where a report is of an older version."""
    f1_low: float | None
    f1_high: float | None
    f1_p_value: float | None
    """By the paired bootstrap, two-sided; after Holm where several pairs are compared."""
    trainings: int = 1
    """How many of each network were compared."""

    @property
    def told_apart(self) -> bool:
        """Whether the accuracies differ by more than chance."""
        return self.p_value < SIGNIFICANCE


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two of several classifiers, by their place among them."""

    first: int
    second: int
    difference: Difference


def difference(first: EvaluationReport, second: EvaluationReport) -> Difference:
    """What separates two reports on the same images, image by image.

    Raises:
        DataError: the reports are about different numbers of images.
    """
    return _difference(first, second, comparisons=1)


Answers = tuple[str, str]
"""What one training said: `correctness` and `predicted` as in a report."""


def list_pairs(reports: Sequence[EvaluationReport], trainings: Sequence[Sequence[Answers]] = ()) -> tuple[Pair, ...]:
    """Every pair, p-values raised by Holm's method: separately for accuracy and for macro F1.

    Args:
        reports: each on the same images.
        trainings: for each report the answers of S trainings, or of the only one; nothing where all have one.

    Raises:
        DataError: the reports are about different numbers of images, or of different numbers of trainings.
    """
    places = list(combinations(range(len(reports)), 2))
    found = []
    for i, j in places:
        several = max(len(trainings[i]), len(trainings[j])) if trainings else 1
        if several > 1:
            sides = tuple(trainings[i]), tuple(trainings[j])
            found.append(_crossed_difference(reports[i], reports[j], sides, several, comparisons=len(places)))
        else:
            found.append(_difference(reports[i], reports[j], comparisons=len(places)))
    accuracy = metrics.holm([one.p_value for one in found])
    known = [i for i, one in enumerate(found) if one.f1_p_value is not None]
    raised = dict(zip(known, metrics.holm([found[i].f1_p_value or 0.0 for i in known]), strict=True))
    return tuple(
        Pair(first=i, second=j, difference=replace(one, p_value=accuracy[place], f1_p_value=raised.get(place)))
        for place, ((i, j), one) in enumerate(zip(places, found, strict=True))
    )


def _difference(first: EvaluationReport, second: EvaluationReport, *, comparisons: int) -> Difference:
    if len(first.correctness) != len(second.correctness):
        raise DataError("reports on different images can't be compared image by image")
    total = len(first.correctness)
    pairs = list(zip(first.correctness, second.correctness, strict=True))
    only_first, only_second = pairs.count(("1", "0")), pairs.count(("0", "1"))
    low, high = _points_interval(only_first, only_second, total)
    f1: tuple[float | None, ...] = (None, None, None, None)
    if first.predicted and second.predicted and first.labels == second.labels:
        f1 = _f1_difference(first.labels, first.predicted, second.predicted, len(first.class_names))
    return Difference(
        points=100 * (only_first - only_second) / total,
        points_low=low,
        points_high=high,
        only_first=only_first,
        only_second=only_second,
        p_value=metrics.mcnemar_exact(only_first, only_second),
        needed=metrics.samples_needed(only_first, only_second, total, comparisons=comparisons),
        f1_points=f1[0],
        f1_low=f1[1],
        f1_high=f1[2],
        f1_p_value=f1[3],
    )


def _crossed_difference(
    first: EvaluationReport,
    second: EvaluationReport,
    sides: tuple[tuple[Answers, ...], tuple[Answers, ...]],
    trainings: int,
    *,
    comparisons: int,
) -> Difference:
    """Of means over S trainings; a side of one training stands beside each of the other's."""
    wide = [side * trainings if len(side) == 1 else side for side in sides]
    if any(len(side) != trainings for side in wide):
        raise DataError("networks that were trained a different number of times can't be compared training by training")
    if len({len(correctness) for side in wide for correctness, _ in side}) > 1:
        raise DataError("reports on different images can't be compared image by image")
    right = [right_answers([correctness for correctness, _ in side]) for side in wide]
    gaps = right[0] - right[1]
    if len(gaps) < 2 or (gaps == gaps[:, :1]).all():  # no seed changed anything: one training tells all there is
        return replace(_difference(first, second, comparisons=comparisons), trainings=trainings)
    found = mean_over_both(gaps)
    low, high = found.interval()
    f1: tuple[float | None, ...] = (None, None, None, None)
    if first.labels == second.labels and all(predicted for side in wide for _, predicted in side):
        said = tuple(tuple(predicted for _, predicted in side) for side in wide)
        f1 = _crossed_f1_difference(first.labels, said[0], said[1], len(first.class_names))
    return Difference(
        points=100 * found.mean,
        points_low=100 * max(-1.0, low),
        points_high=100 * min(1.0, high),
        only_first=round(float((gaps > 0).sum()) / trainings),
        only_second=round(float((gaps < 0).sum()) / trainings),
        p_value=found.p_value(),
        needed=_images_needed(found, len(gaps), comparisons),
        f1_points=f1[0],
        f1_low=f1[1],
        f1_high=f1[2],
        f1_p_value=f1[3],
        trainings=trainings,
    )


def _images_needed(found: CrossedMean, count: int, comparisons: int) -> int | None:
    """How many images would show a mean as large as it seems, four times in five, with so many trainings."""
    normal = NormalDist()
    reach = normal.inv_cdf(1 - 0.025 / comparisons) + normal.inv_cdf(0.8)
    room = (found.mean / reach) ** 2 - found.training_variance
    if room <= 0:
        return None
    return math.ceil(count * (found.variance - found.training_variance) / room)


@lru_cache(maxsize=16)  # a page asks several times
def _crossed_f1_difference(
    labels: str, first: tuple[str, ...], second: tuple[str, ...], num_classes: int
) -> tuple[float, float, float, float]:
    """The mean difference of macro F1 in points, its interval and its p-value: images and trainings are drawn anew."""
    y = _numbers(labels, num_classes)
    counts = draw_counts(y)

    def scores(said: str) -> NDArray[np.float64]:
        return macro_f1(counts, y, _numbers(said, num_classes), num_classes)

    gaps = np.array([100 * (scores(one) - scores(other)) for one, other in zip(first, second, strict=True)])  # (S, R)
    trainings, draws = gaps.shape
    picks = np.random.default_rng(_SEED).integers(0, trainings, (trainings, draws))
    picks[:, 0] = np.arange(trainings)  # the first is no draw
    return _judge(np.take_along_axis(gaps, picks, axis=0).mean(axis=0))


def _judge(gap: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """(R,) a difference and its draws -> the difference, its interval and its p-value."""
    interval = percentile_interval(gap)
    draws = len(gap) - 1
    # With one more on either side, because the data themselves are a draw; never 0.
    least = min((gap[1:] <= 0).sum(), (gap[1:] >= 0).sum())
    return float(gap[0]), interval.low, interval.high, float(min(1.0, 2 * (least + 1) / (draws + 1)))


def _points_interval(only_first: int, only_second: int, total: int) -> tuple[float, float]:
    """In points: the paired bootstrap's, and where the exact test's is wider, that, so that the two never disagree.

    Drawing N pairs anew only changes how many of each of three kinds there are. Where both are right and wrong on the
    same images, no draw tells how often others would set them apart; what N images without one leave open does.
    """
    if only_first + only_second == 0:
        reach = 100 * metrics.exact_interval(0, total).high
        return -reach, reach
    shares = [only_first / total, only_second / total, (total - only_first - only_second) / total]
    drawn = np.random.default_rng(_SEED).multinomial(total, shares, _DRAWS)
    points = 100 * (drawn[:, 0] - drawn[:, 1]) / total
    low, high = np.quantile(points, (0.025, 0.975))
    apart = only_first + only_second
    exact = metrics.exact_interval(only_first, apart)
    low = min(low, 100 * (2 * exact.low - 1) * apart / total)
    high = max(high, 100 * (2 * exact.high - 1) * apart / total)
    return float(low), float(high)


@lru_cache(maxsize=64)  # a page asks several times
def _f1_difference(labels: str, first: str, second: str, num_classes: int) -> tuple[float, float, float, float]:
    """The difference of macro F1 in points, its interval and its p-value."""
    y = _numbers(labels, num_classes)
    counts = draw_counts(y)
    scores = [macro_f1(counts, y, _numbers(said, num_classes), num_classes) for said in (first, second)]
    return _judge(100 * (scores[0] - scores[1]))


def _numbers(text: str, num_classes: int) -> NDArray[np.int64]:
    return np.array([num_classes if word == "-" else int(word) for word in text.split()], dtype=np.int64)

"""Several trainings on the same test images: what a mean over both is worth, when either could have been another.

Shapes: N images, S trainings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from eyebright.metrics import Interval

_ENOUGH = 1e7
"""With so many degrees of freedom Student's distribution is the normal one to seven digits."""


@dataclass(frozen=True, kw_only=True)
class CrossedMean:
    """A mean over images and trainings."""

    mean: float
    variance: float
    """Of that mean, if other images were drawn and other seeds taken."""
    training_variance: float
    """The part of it that more images would not lower, only more trainings."""
    degrees: float
    """Of freedom of the variance; infinite where trainings do not differ at all."""

    def interval(self) -> Interval:
        """The mean's 95 % interval."""
        half = student_quantile(0.975, self.degrees) * math.sqrt(self.variance)
        return Interval(self.mean - half, self.mean + half)

    def p_value(self) -> float:
        """How often a mean that is 0 would come out so far from it, to either side."""
        if self.mean == 0:
            return 1.0
        if self.variance == 0:
            return 0.0
        return 2 * student_tail(abs(self.mean) / math.sqrt(self.variance), self.degrees)


def mean_over_both(values: NDArray[np.floating]) -> CrossedMean:
    """The mean of a table of images by trainings, both drawn at random, and how far it may be off.

    Each image is answered by every training, so the mean varies with the images (some are hard for all), with the
    trainings (one may be better throughout), and with what is left. Two-way analysis of variance tells them apart. The
    share of the trainings is never taken for smaller than what is left gives by chance, so that the mean never seems
    more certain than the images alone make it.

    Args:
        values: (N, S) of at least two images and two trainings: right or wrong, or the difference of two classifiers.

    Source:
        Hillis, "A comparison of denominator degrees of freedom methods for multiple observer ROC analysis", Statistics
        in Medicine 26, 2007: readers there are trainings here, cases are images.
    """
    count, trainings = values.shape
    assert count > 1 and trainings > 1
    mean = float(values.mean())
    of_image, of_training = values.mean(axis=1), values.mean(axis=0)
    rest = values - of_image[:, None] - of_training[None, :] + mean
    image_square = trainings * float(((of_image - mean) ** 2).sum()) / (count - 1)
    training_square = count * float(((of_training - mean) ** 2).sum()) / (trainings - 1)
    rest_square = float((rest**2).sum()) / ((count - 1) * (trainings - 1))
    # What rounding leaves of nothing, where all trainings answer alike.
    training_square, rest_square = (0.0 if square < 1e-20 else square for square in (training_square, rest_square))
    at_least = max(training_square, rest_square)
    together = at_least + max(image_square - rest_square, 0.0)
    return CrossedMean(
        mean=mean,
        variance=together / values.size,
        training_variance=max(training_square - rest_square, 0.0) / values.size,
        degrees=math.inf if at_least == 0 else together**2 / (at_least**2 / (trainings - 1)),
    )


def share_interval(found: CrossedMean, count: int) -> Interval:
    """The 95 % interval of a share of right answers: Wilson's, for as many images as its variance is worth.

    Args:
        found: the mean of right (1) and wrong (0) answers.
        count: N; the interval is never narrower than one training on so many images would have it.

    Source:
        Franco, Little, Louis and Slud, "Comparative Study of Confidence Intervals for Proportions in Complex Sample
        Surveys", Journal of Survey Statistics and Methodology 7, 2019: Wilson's with the effective sample size.
    """
    share = found.mean
    worth = float(count)
    if found.variance > 0 and 0 < share < 1:
        worth = min(worth, share * (1 - share) / found.variance)
    spread = student_quantile(0.975, found.degrees) ** 2 / worth
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(share * (1 - share) * spread + spread**2 / 4) / (1 + spread)
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return Interval(low, high)


def student_tail(t: float, degrees: float) -> float:
    """The chance that Student's t comes out above `t`, 0 or more."""
    if degrees > _ENOUGH:
        return NormalDist().cdf(-t)
    return 0.5 * _incomplete_beta(degrees / (degrees + t * t), degrees / 2, 0.5)


def student_quantile(share: float, degrees: float) -> float:
    """The t below which Student's t comes out with this chance, above one half; by bisection."""
    assert 0.5 < share < 1
    if degrees > _ENOUGH:
        return NormalDist().inv_cdf(share)
    low, high = 0.0, 1.0
    while student_tail(high, degrees) > 1 - share:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        if student_tail(middle, degrees) > 1 - share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (DLMF 8.17.22) as Lentz evaluates it."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # on this side the fraction converges slowly
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    )
    c, d = 1.0, 1 / _not_zero(1 - (a + b) * x / (a + 1))
    product = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            product *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * product


def _not_zero(value: float) -> float:
    return value if abs(value) > 1e-300 else 1e-300

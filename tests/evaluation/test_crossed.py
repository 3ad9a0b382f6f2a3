"""Means over images and trainings: against SciPy, against the formula's limits, and against what chance does."""

from __future__ import annotations

import math

import numpy as np
import pytest

from eyebright import metrics
from eyebright.evaluation.crossed import (
    CrossedMean,
    mean_over_both,
    share_interval,
    student_quantile,
    student_tail,
)

DEGREES = (1.0, 1.7, 2.0, 4.5, 30.0, 1e4, 1e6)


def test_students_distribution_is_scipys() -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs SciPy as the oracle")
    for degrees in DEGREES:
        for t in (0.0, 0.3, 1.0, 2.5, 9.0, 60.0):
            assert student_tail(t, degrees) == pytest.approx(stats.t.sf(t, degrees), rel=1e-6, abs=1e-12)
        for share in (0.6, 0.975, 0.9995):
            assert student_quantile(share, degrees) == pytest.approx(stats.t.ppf(share, degrees), rel=1e-6)
    assert student_quantile(0.975, math.inf) == pytest.approx(1.959964, abs=1e-6)


def test_the_parts_are_those_of_a_two_way_analysis_of_variance() -> None:
    values = np.random.default_rng(3).normal(size=(40, 4)) + np.arange(4) * 0.8 + np.arange(40)[:, None] * 0.1
    found = mean_over_both(values)
    of_image, of_training = values.mean(axis=1), values.mean(axis=0)
    rest = values - of_image[:, None] - of_training + values.mean()
    images, trainings, left = 4 * of_image.var(ddof=1), 40 * of_training.var(ddof=1), (rest**2).sum() / (39 * 3)
    assert found.mean == pytest.approx(values.mean())
    assert found.variance == pytest.approx((trainings + images - left) / 160)
    assert found.training_variance == pytest.approx((trainings - left) / 160)
    assert found.degrees == pytest.approx((trainings + images - left) ** 2 / (trainings**2 / 3))
    low, high = found.interval()
    assert (low + high) / 2 == pytest.approx(values.mean())


def test_trainings_that_answer_alike_count_as_one() -> None:
    once = (np.random.default_rng(0).random(200) < 0.8).astype(float)
    found = mean_over_both(np.repeat(once[:, None], 5, axis=1))
    assert found.variance == pytest.approx(once.var(ddof=1) / 200)
    assert found.degrees == math.inf
    assert found.training_variance == 0
    wilson = metrics.wilson_interval(int(once.sum()), 200)
    assert share_interval(found, 200) == pytest.approx(wilson, abs=2e-4)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_right_or_all_wrong_has_wilsons_interval(share: float) -> None:
    found = mean_over_both(np.full((50, 3), share))
    assert share_interval(found, 50) == pytest.approx(metrics.wilson_interval(round(50 * share), 50), abs=1e-9)
    assert found.p_value() == (0.0 if share else 1.0)


def test_an_interval_is_never_narrower_than_that_of_one_training() -> None:
    generator = np.random.default_rng(1)
    for _ in range(50):
        right = (generator.random((60, 3)) < generator.random()).astype(float)
        low, high = share_interval(mean_over_both(right), 60)
        mean = right.mean()
        one = CrossedMean(mean=mean, variance=mean * (1 - mean) / 60, training_variance=0, degrees=math.inf)
        ends = share_interval(one, 60)
        assert low <= ends.low + 1e-12
        assert high >= ends.high - 1e-12


@pytest.mark.parametrize(("trainings", "seed_effect"), [(3, 0.0), (3, 0.3), (5, 0.15)])
def test_equally_good_networks_are_called_different_about_once_in_twenty(trainings: int, seed_effect: float) -> None:
    # Some images are hard for both, some for one, some seeds are lucky throughout, and the rest is noise.
    generator = np.random.default_rng(7)
    alarms = single = 0
    for _ in range(400):
        hard = generator.normal(size=(300, 1)) * 1.5 + 2
        first, second = (
            hard
            + generator.normal(size=(300, 1))
            + generator.normal(size=(1, trainings)) * seed_effect
            + generator.normal(size=(300, trainings))
            > 0
            for _ in range(2)
        )
        gaps = first.astype(float) - second
        alarms += mean_over_both(gaps).p_value() < 0.05
        single += metrics.mcnemar_exact(int((gaps[:, 0] > 0).sum()), int((gaps[:, 0] < 0).sum())) < 0.05
    assert alarms <= 0.085 * 400  # 20 are expected at the most, and 34 is three standard errors above that
    assert seed_effect < 0.3 or single > 0.2 * 400  # what one training of each would claim

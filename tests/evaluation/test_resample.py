"""Drawing test images anew: what is drawn, and where intervals lie."""

from __future__ import annotations

import numpy as np

from eyebright.evaluation.resample import corrected_interval, draw_counts, percentile_interval


def test_a_draw_leaves_class_sizes_to_chance_and_loses_no_class() -> None:
    labels = np.array([0] * 40 + [1] * 20 + [2])
    counts = draw_counts(labels)
    assert (counts[0] == 1).all()
    sizes = np.stack([counts[1:, labels == label].sum(axis=1) for label in range(3)], axis=1)
    assert sizes.min() >= 1
    # A class of 20 of 61 is drawn 20 times on average, with a standard deviation of the root of 61 * 20 / 61 * 41 / 61.
    assert abs(sizes[:, 1].mean() - 20) < 0.5
    assert abs(sizes[:, 1].std() - 3.67) < 0.4
    assert set(np.unique(counts[1:].sum(axis=1))) == {61, 62}, "one of a lost class is put back"
    assert np.array_equal(counts, draw_counts(labels))


def test_an_interval_moves_away_from_where_the_draws_lie() -> None:
    draws = np.linspace(0, 1, 1001)
    plain, centred = (interval(np.r_[0.5, draws]) for interval in (percentile_interval, corrected_interval))
    np.testing.assert_allclose(plain, centred, atol=1e-9)
    # 60 % of the draws are below 0.6, 0.2533 standard deviations: both ends move by twice that.
    low, high = corrected_interval(np.r_[0.6, draws])
    np.testing.assert_allclose([low, high], [0.0731, 0.9932], atol=1e-3)


def test_an_interval_without_spread_or_far_from_its_draws_still_holds_the_number() -> None:
    assert corrected_interval(np.ones(1001)) == (1, 1)
    low, high = corrected_interval(np.r_[2.0, np.linspace(0, 1, 1001)])
    assert high == 2
    assert 0.1 < low < 0.5, "draws that are all below it are no reason to forget them"

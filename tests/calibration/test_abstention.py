"""A threshold that is called certain keeps its error rate as often as it says, and is not needlessly strict."""

from __future__ import annotations

import numpy as np
import pytest

from eyebright.calibration.abstention import choose_threshold
from eyebright.errors import SettingsError


@pytest.mark.parametrize("count", [150, 600])
def test_a_certain_promise_holds_in_95_of_100_draws(count: int) -> None:
    broken = certain = 0
    draws = 400
    for seed in range(draws):
        rng = np.random.default_rng([seed, count])
        confidence = rng.beta(4, 1, count)
        correct = rng.random(count) < confidence**1.5  # surer than it should be
        found = choose_threshold(confidence, correct, error_rate=0.1)
        if not found.certain:
            continue
        certain += 1
        fresh = rng.beta(4, 1, 20_000)
        answered = fresh[fresh >= found.threshold]
        broken += (1 - answered**1.5).mean() > 0.1
    assert certain > draws / 20
    assert broken <= 0.05 * draws + 3 * np.sqrt(0.05 * 0.95 * draws)


def test_a_classifier_without_errors_answers_everything_and_one_of_the_right_number_shows_it() -> None:
    for count, certain in ((58, False), (59, True)):
        found = choose_threshold(np.full(count, 0.99), np.ones(count, np.bool_), error_rate=0.05)
        assert found.certain is certain
        assert found.answered == count
    assert found.threshold == 0


def test_where_nothing_is_certain_the_confidences_have_their_say() -> None:
    sure = np.array([0.99, 0.98, 0.97, 0.7, 0.6])
    found = choose_threshold(sure, np.ones(5, np.bool_), error_rate=0.1)
    assert not found.certain
    assert found.threshold == 0.7  # 0.01 + 0.02 + 0.03 + 0.3 of 4 is 0.09; with the fifth it is 0.152
    wrong = choose_threshold(sure, np.array([False, True, True, True, True]), error_rate=0.1)
    assert wrong.threshold > 1  # the surest of five is wrong: nothing is to be relied on
    assert (wrong.answered, wrong.wrong) == (0, 0)


def test_equally_sure_samples_are_answered_together() -> None:
    confidence = np.r_[np.full(100, 0.9), np.full(100, 0.5)]
    correct = np.r_[np.ones(100, np.bool_), np.zeros(100, np.bool_)]
    found = choose_threshold(confidence, correct, error_rate=0.05)
    assert (found.threshold, found.answered, found.wrong) == (0.9, 100, 0)


def test_a_rate_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"not 5"):
        choose_threshold(np.ones(3), np.ones(3, np.bool_), error_rate=5)

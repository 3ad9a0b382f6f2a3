from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eyebright.calibration.calibrate import calibrate
from eyebright.calibration.calibration import LOW_CONFIDENCE, REASONS, UNLIKE, Calibration, Promises
from eyebright.errors import DataError, SettingsError


def build(count: int = 200, seed: int = 0) -> Calibration:
    """Of a network that is mostly right, and three times too sure; its training embeddings lie in two directions."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    logits = rng.normal(size=(count, 4)) + 3 * np.eye(4)[labels]
    directions = np.repeat(np.eye(8)[:2], 50, axis=0)
    embeddings = np.eye(8)[labels % 2] + rng.normal(size=(count, 8)) * 0.1
    return calibrate(3 * logits, labels, embeddings=embeddings, references=directions)


def test_an_answer_stands_or_says_why_not() -> None:
    calibration = build()
    novelty = calibration.measure_novelty(np.eye(8)[[0, 0, 7]])
    judged = calibration.judge(np.array([[0.997, 0.001, 0.001, 0.001], [0.3, 0.3, 0.2, 0.2], [1, 0, 0, 0]]), novelty)
    assert [REASONS[reason] for reason in judged.reasons] == [None, LOW_CONFIDENCE, UNLIKE]
    assert judged.sets.tolist()[0] == [True, False, False, False]
    wide = calibration.promising(Promises(coverage=0.99)).sets(
        np.array([[0.97, 0.01, 0.01, 0.01], [0.3, 0.3, 0.2, 0.2]])
    )
    assert wide.sum(axis=1).tolist() == [1, 4]
    blind = calibration.judge(np.array([[1.0, 0, 0, 0]]), None)
    assert REASONS[blind.reasons[0]] is None


def test_it_comes_back_from_its_arrays_with_the_same_thresholds() -> None:
    calibration = build()
    again = Calibration.from_arrays(calibration.temperature, calibration.to_arrays())
    assert again.describe() == calibration.describe()
    probe = np.random.default_rng(1).normal(size=(20, 8))
    first, second = calibration.measure_novelty(probe), again.measure_novelty(probe)
    assert np.array_equal(np.asarray(first), np.asarray(second))


def test_other_promises_move_the_thresholds() -> None:
    calibration = build()
    strict = calibration.promising(Promises(error_rate=0.02, coverage=0.99, sets="raps", novel_rate=0.01))
    assert strict.abstention.threshold > calibration.abstention.threshold
    assert strict.quantile("raps") > calibration.quantile("raps")
    assert strict.novelty_threshold >= calibration.novelty_threshold
    p = np.full((1, 4), 0.25)
    assert strict.sets(p).all()


def test_about_as_many_are_called_unlike_as_was_allowed() -> None:
    calibration = build(1000).promising(Promises(novel_rate=0.05))
    assert calibration.novelty is not None
    assert (calibration.novelty > calibration.novelty_threshold).mean() == pytest.approx(0.05, abs=0.002)


def test_a_few_validation_samples_promise_nothing_they_can_not_keep() -> None:
    calibration = build(5)
    assert not calibration.abstention.certain
    assert calibration.describe()["quantiles"] == {"lac": None, "raps": None}
    assert calibration.describe()["novelty_threshold"] is None
    assert calibration.sets(np.array([[0.9, 0.1, 0, 0]])).all()
    some = build(25)
    assert some.novelty is not None
    assert some.novelty_threshold == some.novelty.max()


@pytest.mark.parametrize(
    "changes",
    [{"temperature": 0.0}, {"temperature": float("nan")}, {"lac": np.zeros(3, np.float32)}, {"references": None}],
)
def test_numbers_that_do_not_belong_together_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(DataError):
        replace(build(), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("changes", [{"error_rate": 0.0}, {"coverage": 90}, {"sets": "aps"}, {"novel_rate": -1}])
def test_promises_that_mean_nothing_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        Promises(**changes)  # type: ignore[arg-type]

"""Confidences are put right by one number, the one that an optimiser of another kind finds."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.calibration.temperature import HOTTEST, fit_temperature, log_softmax, undo_temperature
from eyebright.errors import DataError


def draw(seed: int, count: int, classes: int, scale: float) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits that are `scale` times as sure as their labels bear out."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(count, classes)) * 2
    p = np.exp(log_softmax(true))
    labels = (p.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return true * scale, labels


@pytest.mark.parametrize(("seed", "count", "classes", "scale"), [(0, 500, 5, 3.0), (1, 40, 2, 0.3), (2, 300, 50, 1.0)])
def test_it_is_the_one_that_scipy_finds(seed: int, count: int, classes: int, scale: float) -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="needs SciPy as the oracle")
    z, y = draw(seed, count, classes, scale)
    doubt = 1 / (count + 2)
    targets = np.full(z.shape, doubt / classes) + np.eye(classes)[y] * (1 - doubt)

    def loss(log_temperature: float) -> float:
        return -float((targets * log_softmax(z / np.exp(log_temperature))).sum())

    theirs = optimize.minimize_scalar(loss, bounds=(-3, 3), method="bounded", options={"xatol": 1e-10})
    assert np.log(fit_temperature(z, y)) == pytest.approx(theirs.x, abs=1e-6)


def test_logits_three_times_too_sure_are_divided_by_about_three() -> None:
    assert fit_temperature(*draw(3, 5000, 6, 3.0)) == pytest.approx(3, rel=0.1)


def test_a_few_samples_that_are_all_right_make_nobody_certain() -> None:
    y = np.arange(10) % 3
    z = np.eye(3)[y] * 4.0
    confidence = np.exp(log_softmax(z / fit_temperature(z, y))).max()
    assert 0.9 < confidence < 0.97  # ten right answers allow for one wrong one in twelve, a third of that by luck


def test_logits_that_say_nothing_get_the_highest_temperature() -> None:
    z, y = draw(4, 2000, 4, 1.0)
    assert fit_temperature(z, np.roll(y, 7)) > HOTTEST / 2


def test_undoing_gives_back_what_was_there() -> None:
    z, _ = draw(5, 50, 4, 1.0)
    calibrated = np.exp(log_softmax(z / 2.5)).astype(np.float32)
    calibrated[3] = np.nan
    found = undo_temperature(calibrated, 2.5)
    assert np.isnan(found[3]).all()
    np.testing.assert_allclose(np.delete(found, 3, axis=0), np.delete(np.exp(log_softmax(z)), 3, axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.zeros((0, 3)), np.zeros(0, np.int64)),
        (np.full((2, 3), np.nan), np.zeros(2, np.int64)),
        (np.zeros((2, 3)), np.zeros(3, np.int64)),
    ],
)
def test_what_can_not_be_fitted_is_refused(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> None:
    with pytest.raises(DataError, match="temperature"):
        fit_temperature(logits, labels)

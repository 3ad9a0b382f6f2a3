"""Prediction sets hold the truth as often as promised, and equal what the papers' formulas give one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.calibration.conformal import FREE_RANKS, METHODS, PENALTY, find_quantile, nonconformity, predict_sets
from eyebright.errors import SettingsError


def draw(rng: np.random.Generator, count: int, classes: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities that are wrong about themselves, and labels."""
    logits = rng.normal(size=(count, classes)) * rng.uniform(0.5, 4, (count, 1))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    sharp = p**1.7
    return sharp / sharp.sum(axis=1, keepdims=True), labels


def test_raps_is_the_papers_formula_with_a_half_for_the_draw() -> None:
    p, _ = draw(np.random.default_rng(0), 30, 7)
    found = nonconformity(p, "raps")
    for row in range(30):
        for label in range(7):
            rank = 1 + int((p[row] > p[row, label]).sum())
            mass = p[row][p[row] > p[row, label]].sum()
            expected = mass + 0.5 * p[row, label] + PENALTY * max(0, rank - FREE_RANKS)
            assert found[row, label] == pytest.approx(expected)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_hold_the_truth_as_often_as_promised(method: str, coverage: float) -> None:
    rng = np.random.default_rng(1)
    shares = []
    for _ in range(100):
        p, y = draw(rng, 300, 6)
        scores = nonconformity(p[:150], method)[np.arange(150), y[:150]]
        sets = predict_sets(p[150:], method, find_quantile(scores, coverage))
        shares.append(sets[np.arange(150), y[150:]].mean())
    error = np.std(shares, ddof=1) / math.sqrt(len(shares))
    assert np.mean(shares) >= coverage - 3 * error
    # No more than the promise needs: 1 in 151 for the finite sample, and the likeliest class of sets else empty.
    assert np.mean(shares) <= coverage + 1 / 151 + 3 * error + (0.05 if method == "raps" else 0.02)


def test_a_quantile_is_the_one_that_makes_room_for_the_next_sample() -> None:
    scores = np.arange(1, 10) / 10  # nine: the tenth is the one to come
    assert find_quantile(scores, 0.9) == 0.9
    assert find_quantile(scores, 0.5) == 0.5
    assert find_quantile(scores, 0.91) == math.inf
    for wrong in (0.0, 1.0, 90.0):
        with pytest.raises(SettingsError, match="coverage is a fraction"):
            find_quantile(scores, wrong)


def test_no_set_is_empty_and_too_few_samples_rule_nothing_out() -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.98, 0.01, 0.01]])
    assert predict_sets(p, "lac", 0.1).tolist() == [[True, False, False], [True, False, False]]
    assert predict_sets(p, "raps", math.inf).all()
    with pytest.raises(SettingsError, match='"lac" or "raps", not "aps"'):
        predict_sets(p, "aps", 0.1)


def test_lac_sets_are_those_of_mapie() -> None:
    mapie = pytest.importorskip("mapie.classification", reason="needs MAPIE as the oracle")
    base = pytest.importorskip("sklearn.base")

    class Given(base.ClassifierMixin, base.BaseEstimator):  # type: ignore[misc, name-defined]
        """Says what it is asked about."""

        classes_ = np.arange(5)

        def fit(self, x: NDArray[np.float64], y: NDArray[np.int64]) -> Given:
            return self

        def predict_proba(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
            return x

        def predict(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
            return np.asarray(x.argmax(axis=1))

        def __sklearn_is_fitted__(self) -> bool:
            return True

    p, y = draw(np.random.default_rng(2), 400, 5)
    theirs = mapie.SplitConformalClassifier(Given(), confidence_level=0.9, conformity_score="lac", prefit=True)
    theirs.conformalize(p[:200], y[:200])
    _, expected = theirs.predict_set(p[200:])
    quantile = find_quantile(nonconformity(p[:200], "lac")[np.arange(200), y[:200]], 0.9)
    ours = nonconformity(p[200:], "lac") <= quantile
    assert np.array_equal(ours, expected[:, :, 0])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_sets_of_either_kind_are_those_of_crepes(method: str, coverage: float) -> None:
    crepes = pytest.importorskip("crepes", reason="needs crepes as the oracle")
    p, y = draw(np.random.default_rng(3), 700, 5)
    scores = nonconformity(p, method)
    known = scores[np.arange(700), y][:300]
    theirs = crepes.ConformalClassifier()
    theirs.fit(known)
    expected = theirs.predict_set(scores[300:], confidence=coverage, smoothing=False)
    ours = scores[300:] <= find_quantile(known, coverage)
    assert np.array_equal(ours, expected.astype(bool))

"""The numbers agree with scikit-learn, and mistakes in calling them are refused in plain words."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyebright import metrics
from eyebright.errors import DataError

oracle = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn as the oracle")


def drawn(seed: int, count: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, classes)) * 2
    labels = rng.integers(0, classes, count)
    logits[np.arange(count), labels] += 1.5
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize(("seed", "count", "classes"), [(0, 1, 2), (1, 37, 2), (2, 400, 5), (3, 999, 23), (4, 60, 40)])
def test_every_number_equals_scikit_learns(seed: int, count: int, classes: int) -> None:
    p, y = drawn(seed, count, classes)
    said = p.argmax(axis=1)
    every = np.arange(classes)
    confusion = metrics.confusion_matrix(said, y, num_classes=classes)
    assert (confusion == oracle.confusion_matrix(y, said, labels=every)).all()
    assert metrics.accuracy(p, y) == pytest.approx(oracle.accuracy_score(y, said))
    assert metrics.macro_f1(confusion) == pytest.approx(oracle.f1_score(y, said, average="macro", zero_division=0))
    expected = oracle.precision_recall_fscore_support(y, said, labels=every, zero_division=0)
    for ours, theirs in zip(metrics.per_class(confusion), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    assert metrics.log_loss(p, y) == pytest.approx(oracle.log_loss(y, p, labels=every), rel=1e-5)
    if classes > 2:
        theirs = oracle.top_k_accuracy_score(y, p, k=3, labels=every) if classes > 3 else 1.0
        assert metrics.top_k_accuracy(p, y, k=3) == pytest.approx(theirs)


def test_missed_samples_count_as_one_more_wrong_class_would() -> None:
    p, y = drawn(5, 200, 6)
    said = p.argmax(axis=1)
    said[::9] = 6  # a seventh answer, that no label has
    seen = said < 6
    confusion = metrics.confusion_matrix(said[seen], y[seen], num_classes=6)
    missed = np.bincount(y[~seen], minlength=6)
    every = list(range(6))
    assert metrics.macro_f1(confusion, missed) == pytest.approx(
        oracle.f1_score(y, said, labels=every, average="macro", zero_division=0)
    )
    ours = metrics.per_class(confusion, missed)
    theirs = oracle.precision_recall_fscore_support(y, said, labels=every, zero_division=0)
    np.testing.assert_allclose(ours.recall, theirs[1])
    np.testing.assert_allclose(ours.precision, theirs[0])
    assert ours.support.sum() == 200


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_the_interval_equals_the_published_ones(correct: int, total: int, low: float, high: float) -> None:
    found = metrics.wilson_interval(correct, total)
    assert found.low == pytest.approx(low, abs=5e-5)
    assert found.high == pytest.approx(high, abs=5e-5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_its_accuracy_and_mirrors(case: tuple[int, int]) -> None:
    correct, total = case
    low, high = metrics.wilson_interval(correct, total)
    assert 0 <= low <= correct / total <= high <= 1
    other = metrics.wilson_interval(total - correct, total)
    assert low == pytest.approx(1 - other.high, abs=1e-12)


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    draws = rng.binomial(250, 0.87, 4000)
    inside = [low <= 0.87 <= high for low, high in (metrics.wilson_interval(int(d), 250) for d in draws)]
    assert 0.935 < np.mean(inside) < 0.965


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (3, 9), (10, 10), (40, 71), (900, 1100)])
def test_mcnemar_equals_the_exact_binomial_sum(first: int, second: int) -> None:
    total, fewer = first + second, min(first, second)
    exact = min(1.0, 2 * sum(math.comb(total, i) for i in range(fewer + 1)) / 2**total)
    assert metrics.mcnemar_exact(first, second) == pytest.approx(exact, rel=1e-9)


def test_a_binomial_tail_is_what_scipy_says() -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs SciPy as the oracle")
    for count, total, share in ((0, 59, 0.05), (9, 300, 0.05), (30, 2000, 0.02), (5, 5, 0.3), (12, 20, 1 - 1e-9)):
        assert metrics.binomial_tail(count, total, share) == pytest.approx(
            stats.binom.cdf(count, total, share), rel=1e-9
        )


def test_of_equal_probabilities_the_first_class_is_the_answer() -> None:
    even = np.full((2, 4), 0.25)
    assert metrics.top_k_correct(even, [0, 1], k=1).tolist() == [True, False]
    assert metrics.top_k_correct(even, [1, 2], k=2).tolist() == [True, False]


def test_a_sure_classifier_that_is_right_half_the_time_is_off_by_half() -> None:
    p = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert metrics.expected_calibration_error(p, [0, 1]) == pytest.approx(0.5)
    assert metrics.expected_calibration_error(p, [0, 0]) == 0


def test_calibration_error_weighs_bins_by_what_they_hold() -> None:
    p = np.array([[0.9, 0.1]] * 3 + [[0.6, 0.4]])
    # three at 0.9 of which two are right, one at 0.6 that is wrong
    assert metrics.expected_calibration_error(p, [0, 0, 1, 1], num_bins=10) == pytest.approx(
        3 / 4 * (0.9 - 2 / 3) + 1 / 4 * 0.6
    )


def test_a_sure_mistake_costs_sixteen_and_not_infinity() -> None:
    assert metrics.log_loss([[1.0, 0.0]], [1]) == pytest.approx(15.942, abs=1e-3)


@pytest.mark.parametrize(
    ("probabilities", "labels", "words"),
    [
        ([[2.0, -1.0]], [0], "without a softmax"),
        ([[0.7, 0.7]], [0], "sum to 1.4"),
        ([[0.5, 0.5], [math.nan, math.nan]], [0, 1], "row 1 of the probabilities is not finite"),
        ([[0.5, 0.5]], [0, 1], "1 rows of probabilities do not belong to 2 labels"),
        ([[0.5, 0.5]], [2], r"class index 2 is outside \[0, 2\)"),
        ([[0.5, 0.5]], [-1], "class index -1"),
        ([[0.5, 0.5]], [0.0], "whole numbers"),
        ([0.5, 0.5], [0], r"not shape \(2,\)"),
        ([[0.5, 0.5]], [[0]], "one row of numbers"),
        (np.zeros((0, 3)), [], "no samples"),
    ],
)
def test_a_wrong_table_is_refused_in_plain_words(probabilities: object, labels: object, words: str) -> None:
    for measure in (metrics.accuracy, metrics.log_loss, metrics.expected_calibration_error):
        with pytest.raises(DataError, match=words):
            measure(probabilities, labels)  # type: ignore[arg-type]


def test_counts_that_make_no_sense_are_refused() -> None:
    with pytest.raises(DataError, match="square"):
        metrics.per_class(np.zeros((2, 3)))
    with pytest.raises(DataError, match="negative"):
        metrics.per_class([[1, 0], [0, -1]])
    with pytest.raises(DataError, match="2 classes need as many"):
        metrics.per_class([[1, 0], [0, 1]], [1])
    with pytest.raises(DataError, match="at least one sample"):
        metrics.macro_f1(np.zeros((2, 2), dtype=int))
    with pytest.raises(DataError, match="at least one sample"):
        metrics.wilson_interval(0, 0)
    with pytest.raises(DataError, match="3 of 2"):
        metrics.wilson_interval(3, 2)
    with pytest.raises(DataError, match="zero or more"):
        metrics.mcnemar_exact(-1, 2)
    with pytest.raises(DataError, match="3 predictions do not belong to 2 labels"):
        metrics.confusion_matrix([0, 1, 1], [0, 1], num_classes=2)
    with pytest.raises(DataError, match="k of at least 1"):
        metrics.top_k_correct([[0.5, 0.5]], [0], k=0)
    with pytest.raises(DataError, match="at least one bin"):
        metrics.expected_calibration_error([[0.5, 0.5]], [0], num_bins=0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 80), st.integers(2, 12))
def test_top_1_is_the_diagonal_of_the_confusion_matrix(seed: int, count: int, classes: int) -> None:
    p, y = drawn(seed, count, classes)
    confusion = metrics.confusion_matrix(p.argmax(axis=1), y, num_classes=classes)
    assert confusion.sum() == count
    assert metrics.top_k_correct(p, y, k=1).sum() == confusion.trace()
    assert metrics.top_k_accuracy(p, y, k=classes) == 1


@pytest.mark.parametrize("count", [2, 3, 10, 11, 30, 500])
def test_the_interval_of_a_mean_is_scipys(count: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(count).normal(0.2, 0.3, count)
    expected = stats.t.interval(0.95, count - 1, loc=values.mean(), scale=stats.sem(values))
    found = metrics.mean_interval(values)
    assert found.high - found.low == pytest.approx(expected[1] - expected[0], rel=2e-3)
    assert (found.high + found.low) / 2 == pytest.approx(values.mean())

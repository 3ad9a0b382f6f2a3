"""Differences, their intervals and their p-values, against the textbook and against what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from eyebright import metrics
from eyebright.evaluation.compare import Comparison
from eyebright.evaluation.pairs import difference, list_pairs
from eyebright.evaluation.report import EvaluationReport

Build = Callable[..., Comparison]


def answering(report: EvaluationReport, labels: list[int], predicted: list[int]) -> EvaluationReport:
    """The report of so many answers, -1 standing for none."""
    right = [label == said for label, said in zip(labels, predicted, strict=True)]
    return replace(
        report,
        num_samples=len(labels),
        num_correct=sum(right),
        accuracy=sum(right) / len(labels),
        correctness="".join("01"[hit] for hit in right),
        labels=" ".join(map(str, labels)),
        predicted=" ".join("-" if said < 0 else str(said) for said in predicted),
    )


def test_holm_is_the_textbooks() -> None:
    assert metrics.holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert metrics.holm([0.5, 0.9]) == (1.0, 1.0)
    assert metrics.holm([]) == ()


def test_an_exact_interval_is_scipys_and_agrees_with_the_exact_test() -> None:
    stats = pytest.importorskip("scipy.stats", reason="needs SciPy as the oracle")
    for successes, total in ((0, 5), (5, 5), (12, 17), (230, 900)):
        theirs = stats.binomtest(successes, total).proportion_ci(0.95, method="exact")
        assert metrics.exact_interval(successes, total) == pytest.approx((theirs.low, theirs.high), abs=1e-9)
    for total in range(1, 40):
        for successes in range(total + 1):
            low, high = metrics.exact_interval(successes, total)
            assert (low <= 0.5 <= high) == (metrics.mcnemar_exact(successes, total - successes) >= 0.05)


def test_so_many_images_show_the_difference_four_times_in_five() -> None:
    needed = metrics.samples_needed(12, 6, 120)
    assert needed is not None
    assert 300 < needed < 1000
    draws = np.random.default_rng(0).multinomial(needed, [0.1, 0.05, 0.85], 2000)
    shown = np.mean([metrics.mcnemar_exact(int(a), int(b)) < 0.05 and a > b for a, b, _ in draws])
    assert 0.74 < shown < 0.84  # the exact test is a little stricter than the formula
    assert metrics.samples_needed(5, 5, 100) is None
    stricter = metrics.samples_needed(12, 6, 120, comparisons=3)
    assert stricter is not None
    assert stricter > needed


def test_the_interval_of_points_holds_the_truth_about_as_often_as_it_says(build_comparison: Build) -> None:
    report = build_comparison(("a", "b"), skills=(3.0,)).contestants[0].report
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        kinds = rng.choice(3, 200, p=[0.12, 0.05, 0.83])
        first = replace(
            report,
            num_samples=200,
            num_correct=int((kinds != 1).sum()),
            labels="",
            predicted="",
            correctness="".join("01"[int(k != 1)] for k in kinds),
        )
        second = replace(
            first, num_correct=int((kinds != 0).sum()), correctness="".join("01"[int(k != 0)] for k in kinds)
        )
        found = difference(first, second)
        held += found.points_low <= 7 <= found.points_high
    assert 180 <= held <= 199


def test_macro_f1_differs_as_scikit_learn_says_and_an_equal_pair_is_no_different(build_comparison: Build) -> None:
    oracle = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn as the oracle")
    report = build_comparison(("a", "b", "c"), skills=(3.0,)).contestants[0].report
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 150)
    good = np.where(rng.random(150) < 0.9, labels, (labels + 1) % 3)
    poor = np.where(rng.random(150) < 0.6, labels, (labels + 1) % 3)
    poor[:5] = -1
    reports = [answering(report, labels.tolist(), said.tolist()) for said in (good, poor, good)]
    found = difference(reports[0], reports[1])
    scores = [oracle.f1_score(labels, said, average="macro", labels=[0, 1, 2]) for said in (good, poor)]
    assert found.f1_points == pytest.approx(100 * (scores[0] - scores[1]))
    assert found.f1_low is not None
    assert found.f1_high is not None
    assert found.f1_points is not None
    assert 0 < found.f1_low < found.f1_points < found.f1_high
    assert found.f1_p_value == pytest.approx(2 / 1001)
    pairs = list_pairs(reports)
    assert [(pair.first, pair.second) for pair in pairs] == [(0, 1), (0, 2), (1, 2)]
    assert pairs[0].difference.f1_p_value == pytest.approx(6 / 1001)
    assert pairs[1].difference.f1_p_value == 1
    assert (pairs[1].difference.points, pairs[1].difference.needed) == (0, None)
    assert pairs[0].difference.told_apart
    assert not pairs[1].difference.told_apart


def test_ten_images_that_set_nothing_apart_leave_much_open(build_comparison: Build) -> None:
    report = build_comparison().contestants[0].report
    same = answering(report, [0, 1] * 5, [0, 1] * 5)
    found = difference(same, same)
    assert found.points == 0
    # Were they apart on 30.8 % of all images, ten would show nothing 2.5 times in 100.
    assert found.points_high == pytest.approx(100 * (1 - 0.025 ** (1 / 10)), abs=1e-6)
    assert found.points_low == -found.points_high

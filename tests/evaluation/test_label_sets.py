from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.data.samples import SampleTable
from eyebright.errors import DataError, ImageError
from eyebright.evaluation import label_sets
from eyebright.evaluation.label_sets import LabelSetsReport, evaluate_label_sets, measure_precision
from eyebright.evaluation.resample import average_precision
from eyebright.evaluation.thresholds import choose_thresholds
from eyebright.progress import Progress

oracle = pytest.importorskip("sklearn.metrics")


def draw(count: int, num_classes: int, *, seed: int, ties: bool = False) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    present = random.random((count, num_classes)) < random.uniform(0.1, 0.6, num_classes)
    p = np.clip(0.35 * present + random.random((count, num_classes)) * 0.65, 0, 1)
    return (np.round(p, 1) if ties else p), present


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("count", [1, 2, 37, 500])
def test_average_precision_is_that_of_scikit_learn(count: int, ties: bool) -> None:
    p, present = draw(count, 6, seed=count, ties=ties)
    once = np.ones((1, count), dtype=np.float32)
    for k in range(6):
        if present[:, k].any():
            expected = oracle.average_precision_score(present[:, k], p[:, k])
            assert average_precision(once, p[:, k], present[:, k])[0] == pytest.approx(expected, abs=1e-12)
        else:
            assert np.isnan(average_precision(once, p[:, k], present[:, k])[0])


def test_an_interval_holds_the_average_that_most_samples_of_its_size_have() -> None:
    p, present = draw(20_000, 3, seed=1)
    once = np.ones((1, len(p)), dtype=np.float32)
    truth = np.concatenate([average_precision(once, p[:, k], present[:, k]) for k in range(3)])
    held = mean_held = 0
    for start in range(0, 20_000, 200):
        _, intervals, mean = measure_precision(p[start : start + 200], present[start : start + 200])
        held += int(((intervals[0] <= truth) & (truth <= intervals[1])).sum())
        assert mean is not None
        mean_held += mean.low <= truth.mean() <= mean.high
    assert 0.88 <= held / 300 <= 0.99
    assert 0.88 <= mean_held / 100 <= 1.0


def test_very_many_answers_are_measured_without_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    p, present = draw(50, 3, seed=2)
    wanted = measure_precision(p, present)
    monkeypatch.setattr(label_sets, "MOST_CELLS", 50 * 3 * label_sets.FEWEST_RESAMPLES)
    averages, intervals, mean = measure_precision(p, present)
    np.testing.assert_array_equal(averages, wanted[0])
    assert mean is not None
    assert not np.isnan(intervals).any()
    monkeypatch.setattr(label_sets, "MOST_CELLS", 50 * 3 * label_sets.FEWEST_RESAMPLES - 1)
    averages, intervals, mean = measure_precision(p, present)
    np.testing.assert_array_equal(averages, wanted[0])
    assert np.isnan(intervals).all()
    assert mean is None


def test_a_class_that_no_image_has_is_left_out_of_the_mean() -> None:
    p, present = draw(50, 3, seed=2)
    present[:, 1] = False
    averages, intervals, mean = measure_precision(p, present)
    assert np.isnan(averages[1])
    assert np.isnan(intervals[:, 1]).all()
    assert mean is not None
    assert measure_precision(p, np.zeros_like(present))[2] is None


def test_a_threshold_is_the_one_with_the_highest_f1() -> None:
    p, present = draw(200, 4, seed=5)
    chosen = choose_thresholds(p.astype(np.float32), present)
    for k, threshold in enumerate(chosen):
        reached = oracle.f1_score(present[:, k], p[:, k].astype(np.float32) >= np.float32(threshold))
        best = max(oracle.f1_score(present[:, k], p[:, k] >= other) for other in np.unique(p[:, k]))
        assert reached == pytest.approx(best)
        assert 0 < threshold < 1


def test_a_threshold_stays_in_the_middle_where_there_is_little_to_choose_by_or_no_reason_to_move() -> None:
    few = np.zeros((10, 1), dtype=np.bool_)
    few[:4] = True
    assert choose_thresholds(np.linspace(0, 0.2, 10, dtype=np.float32)[:, None], few) == (0.5,)
    apart = np.array([[0.9]] * 6 + [[0.2]] * 6, dtype=np.float32)
    (threshold,) = choose_thresholds(apart, np.array([[True]] * 6 + [[False]] * 6))
    assert 0.2 < threshold < 0.9


class Store:
    def read(self, name: str) -> bytes:
        raise AssertionError

    def locate(self, name: str) -> str:
        return f"place of {name}"


class Said:
    """A predictor that says what it was told to."""

    class_names = ("a", "b", "c")
    calibration = None
    novelty = None

    def __init__(self, p: NDArray[Any], failed: tuple[int, ...] = ()) -> None:
        self.probabilities = p.astype(np.float32)
        self.probabilities[list(failed)] = np.nan
        self.errors = {row: ImageError(f"{row}", "odd") for row in failed}
        self.images_per_second = 10.0

    def predict_samples(self, store: object, names: tuple[str, ...], *, progress: Progress) -> Said:
        return self


def table_of(present: NDArray[np.bool_]) -> SampleTable:
    count = len(present)
    return SampleTable(
        store=Store(),
        names=tuple(f"{row}" for row in range(count)),
        labels=present.argmax(axis=1).astype(np.int64),
        classes=("a", "b", "c"),
        splits=np.full(count, -1, dtype=np.int8),
        label_sets=present,
    )


def test_a_report_counts_as_scikit_learn_does() -> None:
    p, present = draw(300, 3, seed=7)
    present[~present.any(axis=1), 0] = True
    limits = (0.4, 0.5, 0.6)
    report = evaluate_label_sets(Said(p), table_of(present), limits)
    answers = p.astype(np.float32) >= np.asarray(limits, dtype=np.float32)
    scores = oracle.precision_recall_fscore_support(present, answers, zero_division=0)
    for k, result in enumerate(report.per_class):
        assert (result.precision, result.recall, result.f1) == pytest.approx([scores[i][k] for i in range(3)])
        assert result.support == scores[3][k]
    assert report.macro_f1 == pytest.approx(oracle.f1_score(present, answers, average="macro"))
    assert report.micro_f1 == pytest.approx(oracle.f1_score(present, answers, average="micro"))
    assert report.exact_match == pytest.approx(oracle.accuracy_score(present, answers))
    assert report.hamming_loss == pytest.approx(oracle.hamming_loss(present, answers))
    expected = oracle.average_precision_score(present, p.astype(np.float32), average="macro")
    assert report.mean_average_precision == pytest.approx(expected)
    each = [oracle.log_loss(present[:, k], p[:, k].astype(np.float32), labels=[False, True]) for k in range(3)]
    assert report.log_loss == pytest.approx(np.mean(each), abs=1e-6)
    assert LabelSetsReport.from_dict(report.to_dict()) == report
    surest = report.mistakes[0]
    doubts = np.where(present, p, 1 - p)[answers != present]
    assert (surest.probability if surest.present else 1 - surest.probability) == pytest.approx(doubts.min(), abs=1e-6)


def test_an_image_that_can_not_be_read_is_one_in_which_nothing_was_found() -> None:
    present = np.array([[True, False, True], [True, True, False], [False, False, True]])
    perfect = np.where(present, 0.9, 0.1)
    assert evaluate_label_sets(Said(perfect), table_of(present), (0.5,) * 3).num_exact == 3
    report = evaluate_label_sets(Said(perfect, failed=(1,)), table_of(present), (0.5,) * 3)
    assert report.num_exact == 2
    assert [result.recall for result in report.per_class] == [0.5, 0.0, 1.0]
    assert [result.precision for result in report.per_class] == [1.0, 0.0, 1.0]
    assert report.unreadable[0].name == "place of 1"
    assert report.mean_average_precision is not None
    assert report.mean_average_precision < 1
    assert "1 image could not be read" in str(report)


def test_nothing_to_measure_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the table has no images"):
        evaluate_label_sets(Said(np.zeros((0, 3))), table_of(np.zeros((0, 3), dtype=np.bool_)), (0.5,) * 3)

"""Every number equals the oracles' to 1e-6, intervals hold the truth about as often as they say, and gaps are named."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.evaluation.measures import RANKED_CELLS, measure

oracle = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn as the oracle")


def draw(seed: int, count: int, classes: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) * 2 + 2 * np.eye(classes)[labels]
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (p / p.sum(axis=1, keepdims=True)).astype(np.float32), labels


def names(classes: int) -> list[str]:
    return [f"c{i}" for i in range(classes)]


@pytest.mark.parametrize(("seed", "count", "classes"), [(0, 211, 7), (1, 60, 2), (2, 500, 25)])
def test_every_number_equals_scikit_learns(seed: int, count: int, classes: int) -> None:
    p, y = draw(seed, count, classes)
    p[::5] = np.round(p[::5], 1) + 0.01  # equal scores
    p /= p.sum(axis=1, keepdims=True)
    said = p.argmax(axis=1)
    found = measure(p, y, names(classes))
    one_hot = np.eye(classes)[y]
    expected = {"balanced_accuracy": oracle.balanced_accuracy_score(y, said)}
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = oracle.precision_recall_fscore_support(y, said, average=average, zero_division=0)
        expected |= {f"{average}_precision": precision, f"{average}_recall": recall, f"{average}_f1": f1}
    expected["roc_auc"] = oracle.roc_auc_score(one_hot, p, average="macro")
    expected["average_precision"] = oracle.average_precision_score(one_hot, p, average="macro")
    exact = p.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    expected["log_loss"] = oracle.log_loss(y, exact, labels=range(classes))
    expected["brier"] = float(((exact - one_hot) ** 2).sum(axis=1).mean())
    for name, value in expected.items():
        assert found.overall[name].value == pytest.approx(value, abs=1e-6), name
    assert found.roc_auc == pytest.approx(oracle.roc_auc_score(one_hot, p, average=None), abs=1e-6)
    assert found.average_precision == pytest.approx(oracle.average_precision_score(one_hot, p, average=None), abs=1e-6)
    f1_of_each = oracle.f1_score(y, said, average=None, labels=range(classes), zero_division=0)
    assert [one.value for one in found.f1] == pytest.approx(f1_of_each.tolist())
    for one in (*found.overall.values(), *found.f1):
        assert one.low is not None
        assert one.high is not None
        assert one.low <= one.value <= one.high


def test_numbers_of_probabilities_equal_those_of_torchmetrics() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pytest.importorskip("torchmetrics.functional", reason="needs torchmetrics as the oracle")
    import torch

    p, y = draw(3, 400, 5)
    found = measure(p, y, names(5)).overall
    given = torch.from_numpy(p.astype(np.float64)), torch.from_numpy(y)
    options = {"task": "multiclass", "num_classes": 5}
    expected = {
        "calibration_error": theirs.calibration_error(*given, n_bins=15, norm="l1", **options),
        "roc_auc": theirs.auroc(*given, average="macro", **options),
        "average_precision": theirs.average_precision(*given, average="macro", **options),
        "macro_f1": theirs.f1_score(*given, average="macro", **options),
        "balanced_accuracy": theirs.recall(*given, average="macro", **options),
        "weighted_precision": theirs.precision(*given, average="weighted", **options),
    }
    for name, value in expected.items():
        assert found[name].value == pytest.approx(float(value), abs=1e-6), name


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    p, y = draw(4, 60_000, 4)
    said = p.argmax(axis=1)
    truth = {
        "balanced_accuracy": oracle.balanced_accuracy_score(y, said),
        "macro_f1": oracle.f1_score(y, said, average="macro"),
        "roc_auc": oracle.roc_auc_score(np.eye(4)[y], p, average="macro"),
        "log_loss": -np.log(p[np.arange(len(y)), y].astype(np.float64)).mean(),
    }
    held = dict.fromkeys(truth, 0)
    rounds = 100
    for start in range(rounds):
        rows = slice(300 * start, 300 * start + 300)
        found = measure(p[rows], y[rows], names(4)).overall
        for name, value in truth.items():
            low, high = found[name].low, found[name].high
            assert low is not None
            assert high is not None
            held[name] += low <= value <= high
    for name, count in held.items():
        assert 88 <= count <= 100, name  # 95 less three standard errors


def test_the_same_answers_get_the_same_intervals() -> None:
    assert measure(*draw(5, 50, 3), names(3)) == measure(*draw(5, 50, 3), names(3))


def test_an_image_without_an_answer_is_wrong_and_says_nothing_of_probabilities() -> None:
    p, y = draw(6, 100, 3)
    gone = p.copy()
    gone[::10] = np.nan
    found = measure(gone, y, names(3)).overall
    said = np.where(np.isnan(gone[:, 0]), 3, np.nan_to_num(gone).argmax(axis=1))
    expected = oracle.recall_score(y, said, labels=range(3), average="macro")
    assert found["balanced_accuracy"].value == pytest.approx(expected)
    seen = ~np.isnan(gone[:, 0])
    assert found["log_loss"].value == pytest.approx(oracle.log_loss(y[seen], p[seen]), abs=1e-6)
    auc = oracle.roc_auc_score(np.eye(3)[y[seen]], p[seen], average="macro")
    assert found["roc_auc"].value == pytest.approx(auc, abs=1e-6)


def test_what_can_not_be_measured_is_named_and_the_rest_goes_on() -> None:
    p, _ = draw(7, 12, 3)
    one = measure(p, np.zeros(12, np.int64), names(3))
    assert "roc_auc" not in one.overall
    assert one.roc_auc == (None, None, None)
    assert any("one label" in remark for remark in one.remarks)
    assert any("no images of c1, c2" in remark for remark in one.remarks)
    two = measure(p[:2], np.array([0, 1]), names(3))
    assert any("Too few images to tell much about c0 (1), c1 (1)" in remark for remark in two.remarks)
    none = measure(np.full((2, 3), np.nan), np.array([0, 1]), names(3))
    assert none.overall["balanced_accuracy"].value == 0
    assert "log_loss" not in none.overall
    assert "No image could be read" in none.remarks[0]


def test_rank_measures_of_very_many_answers_come_without_intervals() -> None:
    classes = 40
    p, y = draw(8, RANKED_CELLS // classes + 1, classes)
    found = measure(p, y, names(classes)).overall
    assert found["roc_auc"].low is None
    assert found["roc_auc"].value == pytest.approx(oracle.roc_auc_score(np.eye(classes)[y], p), abs=1e-6)
    assert found["macro_f1"].low is not None

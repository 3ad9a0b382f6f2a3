from __future__ import annotations

import numpy as np
import pytest

from eyebright import metrics
from eyebright.calibration.calibrate import calibrate
from eyebright.calibration.calibration import Calibration
from eyebright.evaluation.trust import list_coverage, list_reliability, measure_trust


def draw(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are three times too sure, and labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 5)) * 2
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (p.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return logits * 3, labels


def build() -> tuple[Calibration, np.ndarray, np.ndarray]:
    logits, labels = draw(0, 2000)
    calibration = calibrate(logits, labels)
    tested, answers = draw(1, 2000)
    p = np.exp(tested / calibration.temperature)
    return calibration, (p / p.sum(axis=1, keepdims=True)).astype(np.float32), answers


def test_calibration_mends_what_it_says_was_broken() -> None:
    calibration, p, y = build()
    found = measure_trust(calibration, p, None, y)
    raw, _ = draw(1, 2000)
    plain = np.exp(raw - raw.max(axis=1, keepdims=True))
    plain /= plain.sum(axis=1, keepdims=True)
    assert found.error_before == pytest.approx(metrics.expected_calibration_error(plain, y), abs=1e-4)
    assert found.error_after == metrics.expected_calibration_error(p, y) < 0.2 * found.error_before
    assert found.temperature == pytest.approx(3, rel=0.1)


def test_promises_are_held_against_what_came_of_them() -> None:
    calibration, p, y = build()
    found = measure_trust(calibration, p, None, y)
    sure = p.max(axis=1) >= found.threshold
    assert found.num_answered == sure.sum()
    assert found.num_wrong == (p[sure].argmax(axis=1) != y[sure]).sum()
    assert found.num_low_confidence == 2000 - sure.sum()
    assert (found.num_unlike, found.novelty_measured) == (0, False)
    for result in found.sets:
        assert result.covered_low < 0.9 < result.covered_high
        assert 1 <= result.mean_size < 4
    assert [result.method for result in found.sets] == ["lac", "raps"]


def test_bins_hold_every_answer_once() -> None:
    confidence = np.array([0.05, 0.1, 0.1001, 0.95, 1.0])
    bins = list_reliability(confidence, np.array([True, False, True, True, False]))
    assert [(one.low, one.count) for one in bins] == [(0.0, 2), (0.1, 1), (0.9, 2)]
    assert bins[-1].accuracy == 0.5
    assert bins[-1].confidence == pytest.approx(0.975)


def test_answering_less_often_is_counted_from_the_surest() -> None:
    confidence = np.array([0.5, 0.9, 0.9, 0.7])
    points = list_coverage(confidence, np.array([False, True, False, True]))
    assert [(one.answered, one.threshold) for one in points] == [(0.5, 0.9), (0.75, 0.7), (1.0, 0.5)]
    assert [one.accuracy for one in points] == pytest.approx([0.5, 2 / 3, 0.5])

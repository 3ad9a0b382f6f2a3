from __future__ import annotations

import numpy as np
import pytest

from eyebright.exporting.answers import divergence, read_answers


def test_an_image_has_its_likeliest_class_or_all_that_reach_their_thresholds() -> None:
    logits = np.array([[2.0, 1.0, -3.0], [-1.0, -2.0, -3.0]], dtype=np.float32)
    assert read_answers(logits, None).tolist() == [[True, False, False], [True, False, False]]
    # A sigmoid of 0.73 at a logit of 1, 0.27 at -1.
    assert read_answers(logits, (0.5, 0.7, 0.5)).tolist() == [[True, True, False], [False, False, False]]
    assert read_answers(logits, (0.25, 0.75, 0.01)).tolist() == [[True, False, True], [True, False, True]]


def test_divergence_is_zero_for_equal_answers_and_grows_with_what_is_between() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    assert divergence(logits, logits + 7) == pytest.approx(0, abs=1e-9)
    near, far = divergence(logits, logits * 1.1), divergence(logits, logits * 2)
    assert 0 < near < far


def test_where_every_class_is_a_question_of_its_own_moving_all_of_them_is_a_difference() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    assert divergence(logits, logits, several_labels=True) == 0
    assert divergence(logits, logits + 7, several_labels=True) > 1
    # By hand: one class, 0.5 against sigmoid(log 3) = 0.75.
    half, more = np.zeros((1, 1), dtype=np.float32), np.full((1, 1), np.log(3), dtype=np.float32)
    by_hand = 0.5 * np.log(0.5 / 0.75) + 0.5 * np.log(0.5 / 0.25)
    assert divergence(half, more, several_labels=True) == pytest.approx(by_hand, abs=1e-6)
    huge = np.array([[900.0, -900.0]], dtype=np.float32)
    assert np.isfinite(divergence(huge, -huge, several_labels=True))

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from eyebright.embedding.linear import STRENGTHS, fit_linear_head
from eyebright.progress import SilentProgress

Samples = tuple[NDArray[np.float32], NDArray[np.int64]]


def draw(count: int, seed: int, width: int = 12, classes: int = 3) -> Samples:
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(99).normal(size=(classes, width))
    x = centres[labels] + random.normal(scale=1.5, size=(count, width))
    scale = np.logspace(-2, 2, width)  # embeddings are not standardised
    return (x * scale + 5 * scale).astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize("strength", [1.0, 0.03, 0.001])
def test_it_finds_the_minimum_that_scikit_learn_finds(strength: float) -> None:
    x, y = draw(300, 0)
    val, val_labels = draw(100, 1)
    head = fit_linear_head(x, y, val, val_labels, 3, strengths=[strength])
    mean, deviation = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    deviation = np.maximum(deviation, 1e-3 * deviation.mean())
    oracle = LogisticRegression(C=1 / (len(x) * strength), tol=1e-8, max_iter=10_000).fit((x - mean) / deviation, y)
    expected = oracle.predict_proba((val - mean) / deviation)
    logits = val @ head.weight.T + head.bias
    found = np.exp(logits - logits.max(axis=1, keepdims=True))
    found /= found.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_it_takes_the_strength_with_the_lowest_validation_loss_and_stops_when_it_only_rises() -> None:
    x, y = draw(60, 0)
    val, val_labels = draw(200, 1)
    head = fit_linear_head(x, y, val, val_labels, 3)
    losses = [tried.val_loss for tried in head.tried]
    assert head.strength == head.tried[int(np.argmin(losses))].strength
    assert len(head.tried) < 13
    assert losses[-3:] == sorted(losses[-3:])
    logits = val @ head.weight.T + head.bias
    shifted = logits - logits.max(axis=1, keepdims=True)
    loss = -(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))[np.arange(200), val_labels].mean()
    assert loss == pytest.approx(min(losses), abs=1e-3)  # standardisation is folded in


def test_it_is_the_same_twice() -> None:
    x, y = draw(90, 0)
    heads = [fit_linear_head(x, y, x, y, 3) for _ in range(2)]
    assert np.array_equal(heads[0].weight, heads[1].weight)
    assert heads[0].tried == heads[1].tried


def test_a_constant_dimension_does_no_harm() -> None:
    x, y = draw(90, 0)
    x[:, 3] = 7.0
    head = fit_linear_head(x, y, x, y, 3)
    assert np.isfinite(head.weight).all()
    assert ((x @ head.weight.T + head.bias).argmax(axis=1) == y).mean() > 0.8


def test_a_dimension_that_hardly_varies_in_training_does_no_harm_in_validation() -> None:
    x, y = draw(90, 0)
    val, val_labels = draw(90, 1)
    without = fit_linear_head(np.delete(x, 0, axis=1), y, np.delete(val, 0, axis=1), val_labels, 3)
    x[:, 0] = np.random.default_rng(5).normal(scale=1e-7, size=90)
    val[:, 0] = np.random.default_rng(6).normal(scale=1e-3, size=90)  # ten thousand times as much
    head = fit_linear_head(x, y, val, val_labels, 3)
    assert min(tried.val_loss for tried in head.tried) < min(tried.val_loss for tried in without.tried) + 1e-3


def test_a_request_to_stop_returns_the_best_so_far() -> None:
    class StopAfterTwo(SilentProgress):
        def advance(self, done: int, note: str = "") -> None:
            self.stop_requested = done >= 2

    x, y = draw(90, 0)
    head = fit_linear_head(x, y, x, y, 3, progress=StopAfterTwo())
    assert [tried.strength for tried in head.tried] == list(STRENGTHS[:2])
    assert head.strength == STRENGTHS[1]  # on the training samples weaker is better

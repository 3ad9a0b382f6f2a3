from __future__ import annotations

import pytest
import torch

from eyebright.training.validation import calibrated_loss


def test_the_loss_of_a_modest_network_counts_at_its_best_temperature() -> None:
    logits = torch.randn(400, 5, generator=torch.Generator().manual_seed(0)) * 2
    shares = torch.softmax(logits, dim=1)
    labels = torch.multinomial(shares, 1, generator=torch.Generator().manual_seed(1))[:, 0]
    plain = float(torch.nn.functional.cross_entropy(logits, labels))
    found = calibrated_loss(logits, labels)
    assert found <= plain
    assert found == pytest.approx(plain, rel=0.02)  # labels drawn from the network's own probabilities
    for factor in (0.2, 5.0):
        assert calibrated_loss(logits * factor, labels) == pytest.approx(found, rel=1e-4)
    shuffled = logits[:, [1, 2, 3, 4, 0]]
    assert calibrated_loss(shuffled, labels) > found + 0.3  # confusion can't be calibrated away


def test_a_perfect_network_and_a_single_sample_have_a_finite_loss() -> None:
    logits = torch.eye(3) * 50
    assert 0 <= calibrated_loss(logits, torch.arange(3)) < 1e-3
    assert 0 <= calibrated_loss(logits[:1], torch.tensor([2])) < 60

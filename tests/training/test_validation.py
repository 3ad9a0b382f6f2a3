from __future__ import annotations

import pytest
import torch

from eyebright.training.choice import Validation
from eyebright.training.validation import calibrated_losses


def calibrated_loss(logits: torch.Tensor, labels: torch.Tensor) -> float:
    losses = calibrated_losses(logits, labels)
    assert losses.shape == (len(logits),)
    return float(losses.mean())


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


def test_each_question_of_several_labels_counts_alike() -> None:
    logits = torch.tensor([[2.0, -1.0], [-3.0, 0.5]])
    present = torch.tensor([[1, 0], [0, 1]])
    plain = torch.nn.functional.binary_cross_entropy_with_logits(logits.double(), present.double())
    found = calibrated_losses(logits, present)
    assert found.shape == (2,)
    assert 0 < float(found.mean()) < float(plain)  # all four are right: the surer the better


def test_what_is_behind_by_less_than_a_standard_error_is_not_worse() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(400, generator=generator, dtype=torch.float64)
    noise = torch.randn(400, generator=generator, dtype=torch.float64)
    noise = (noise - noise.mean()) / noise.std()
    for behind, worse in ((0.9, False), (1.1, True), (-3.0, False)):  # in standard errors, which are 1 / 20 of noise
        losses = first + noise + behind / 20
        assert Validation(losses=losses, accuracy=0.5).is_worse_than(first) is worse
    single = torch.tensor([0.3], dtype=torch.float64)
    assert not Validation(losses=single, accuracy=1.0).is_worse_than(single)
    assert Validation(losses=single + 1e-9, accuracy=1.0).is_worse_than(single)

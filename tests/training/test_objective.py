from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from eyebright.training.objective import CrossEntropy

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
LABELS = torch.tensor([0, 1])


class Fixed(nn.Module):
    """Says the same whatever it sees."""

    def forward(self, images: Tensor) -> Tensor:
        return LOGITS


def by_hand(smoothing: float) -> float:
    """The mean of -sum q log p, where q gives the label all but `smoothing`, which is spread over all classes."""
    losses: list[float] = []
    for row, label in zip(LOGITS.tolist(), LABELS.tolist(), strict=True):
        log_sum = math.log(math.fsum(math.exp(logit) for logit in row))
        shares = [smoothing / 3 + (1 - smoothing) * (number == label) for number in range(3)]
        losses.append(math.fsum(share * (log_sum - logit) for share, logit in zip(shares, row, strict=True)))
    return math.fsum(losses) / len(losses)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_it_is_the_mean_negative_log_probability_of_smoothed_labels(smoothing: float) -> None:
    found = CrossEntropy(smoothing)(Fixed(), torch.zeros(2, 3, 4, 4), LABELS)
    assert found.shape == ()
    assert float(found) == pytest.approx(by_hand(smoothing), abs=1e-5)

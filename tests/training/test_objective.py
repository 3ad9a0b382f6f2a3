from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import log_loss
from torch import Tensor, nn

from eyebright.data.loader import Batch
from eyebright.training.objective import BinaryCrossEntropy, CrossEntropy, Distillation, weigh_classes

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


BATCH = Batch(images=torch.zeros(2, 3, 4, 4), targets=F.one_hot(LABELS, 3).float())


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_it_is_the_mean_negative_log_probability_of_smoothed_labels(smoothing: float) -> None:
    found = CrossEntropy(smoothing)(Fixed(), BATCH)
    assert found.shape == ()
    assert float(found) == pytest.approx(by_hand(smoothing), abs=1e-5)


def test_mixed_targets_cost_their_shares() -> None:
    mixed = replace(BATCH, targets=torch.tensor([[0.7, 0.3, 0.0], [0.0, 1.0, 0.0]]))
    logs = F.log_softmax(LOGITS, dim=1)
    expected = -(0.7 * logs[0, 0] + 0.3 * logs[0, 1] + logs[1, 1]) / 2
    assert float(CrossEntropy()(Fixed(), mixed)) == pytest.approx(float(expected), abs=1e-6)


def test_weighted_classes_cost_as_much_as_scikit_learn_says() -> None:
    weights = torch.tensor([0.5, 2.0, 1.0])
    probabilities = F.softmax(LOGITS.double(), dim=1).numpy()
    expected = log_loss(LABELS, probabilities, sample_weight=weights[LABELS], labels=[0, 1, 2])
    # scikit-learn divides by the sum of the weights, not by how many samples there are
    found = CrossEntropy(class_weights=weights)(Fixed(), BATCH) / weights[LABELS].mean()
    assert float(found) == pytest.approx(expected, abs=1e-6)


def test_class_weights_are_one_on_average_and_favour_the_rare() -> None:
    counts = torch.tensor([400, 100, 0])
    weights = weigh_classes(counts, 0.5)
    assert float((weights * counts).sum() / counts.sum()) == pytest.approx(1)
    assert float(weights[1] / weights[0]) == pytest.approx(2)
    assert float(weights[2]) == 0
    assert weigh_classes(counts, 0.0)[:2].tolist() == [1.0, 1.0]


def test_several_labels_are_questions_of_their_own() -> None:
    targets = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    p = torch.sigmoid(LOGITS)
    expected = -torch.where(targets > 0, p.log(), (1 - p).log()).mean()
    assert float(BinaryCrossEntropy()(Fixed(), replace(BATCH, targets=targets))) == pytest.approx(
        float(expected), abs=1e-6
    )


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_teacher_counts_by_its_share_and_softened(share: float) -> None:
    taught = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    found = Distillation(CrossEntropy(), share, 4.0)(Fixed(), replace(BATCH, taught=taught))
    soft = F.softmax(taught / 4, dim=1)
    teacher = -(soft * F.log_softmax(LOGITS / 4, dim=1)).sum(dim=1).mean() * 16
    assert float(found) == pytest.approx((1 - share) * by_hand(0.0) + share * float(teacher), abs=1e-4)

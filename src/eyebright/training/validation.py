"""How good a network is on the samples that training chooses by.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.data.sending import send_normalised
from eyebright.memory import with_fewer
from eyebright.training.choice import Validation
from eyebright.training.diverged import Suspect
from eyebright.training.work import Work

VALIDATION_BATCH = 64
HOTTEST = 2.0  # the logarithm of the highest temperature; its inverse is the lowest
TEMPERATURES_TRIED = 20


def validate(model: nn.Module, work: Work) -> Validation | None:
    """How good a network is on the validation samples; None if a stop was requested.

    Every rank takes whole batches, so the numbers are those of one process alone, bit for bit.
    """
    model.eval()
    rows, ranks = work.val_rows, work.ranks
    logits = torch.zeros(len(rows), work.num_classes)
    kind, bfloat16 = work.device.split(":")[0], work.settings.training.precision == "bfloat16"

    with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=bfloat16):
        for first in range(0, len(rows), VALIDATION_BATCH * ranks.size):
            (stop,) = ranks.any(work.progress.stop_requested)
            if stop:
                return None
            start = first + ranks.rank * VALIDATION_BATCH
            some = rows[start : start + VALIDATION_BATCH]
            if len(some):
                found, _ = with_fewer(partial(_ask, model, work, some), VALIDATION_BATCH, lambda _: None)
                logits[start : start + len(some)] = found
    ranks.add([logits])
    answers = torch.from_numpy(work.answers(rows))
    right = (logits > 0) == (answers > 0.5) if work.several_labels else logits.argmax(dim=1) == answers
    return Validation(losses=calibrated_losses(logits, answers), accuracy=float(right.double().mean()))


def _ask(model: nn.Module, work: Work, rows: NDArray[np.int64], size: int) -> Tensor:
    """(M, K) logits of some rows as they are, so many at once."""
    found = []
    for start in range(0, len(rows), size):
        squares = work.preprocessing.crop(work.squares[rows[start : start + size]])
        images = send_normalised(squares, work.preprocessing, work.device)
        found.append(model(images.contiguous(memory_format=torch.channels_last)).float().cpu())
    return torch.cat(found)


def rank_by_loss(model: nn.Module, work: Work, rows: NDArray[np.int64]) -> list[Suspect]:
    """Some training samples and their losses as they are, the highest first, and before them what is no number."""
    model.eval()
    with torch.inference_mode():
        found, _ = with_fewer(partial(_ask, model, work, rows), VALIDATION_BATCH, lambda _: None)
    losses = _losses(found.double(), torch.from_numpy(work.answers(rows)))
    suspects = [Suspect(name=work.table.names[row], loss=loss) for row, loss in zip(rows, losses.tolist(), strict=True)]
    return sorted(suspects, key=lambda one: math.inf if math.isnan(one.loss) else one.loss, reverse=True)


def _losses(logits: Tensor, answers: Tensor) -> Tensor:
    """(N,) each sample's cross-entropy; see `calibrated_losses`."""
    if answers.dim() == 2:
        return nn.functional.binary_cross_entropy_with_logits(logits, answers.double(), reduction="none").mean(dim=1)
    return nn.functional.cross_entropy(logits, answers, reduction="none")


def calibrated_losses(logits: Tensor, answers: Tensor) -> Tensor:
    """Each sample's cross-entropy with all logits divided by the one temperature that makes their mean lowest.

    Mixed images and smoothed labels teach a network modesty, for which plain cross-entropy would prefer the head that
    it started from, though it is wrong more often. How sure a network is can be put right afterwards; what it confuses
    can't.

    Args:
        logits: (N, K)
        answers: (N,) classes; or (N, K) zeros and ones, each a question of its own, of which the mean is taken.

    Returns:
        (N,) float64.

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599, section 4.2.
    """

    def losses_at(log_temperature: float) -> Tensor:
        return _losses(logits.double() / math.exp(log_temperature), answers)

    def loss(log_temperature: float) -> float:
        return float(losses_at(log_temperature).mean())

    # By golden section: cross-entropy has one minimum in the temperature.
    low, high, ratio = -HOTTEST, HOTTEST, (math.sqrt(5) - 1) / 2
    first, second = high - ratio * (high - low), low + ratio * (high - low)
    means = loss(first), loss(second)
    for _ in range(TEMPERATURES_TRIED):
        if means[0] <= means[1]:
            high, second = second, first
            first = high - ratio * (high - low)
            means = loss(first), means[0]
        else:
            low, first = first, second
            second = low + ratio * (high - low)
            means = means[1], loss(second)
    return losses_at(first if means[0] <= means[1] else second)

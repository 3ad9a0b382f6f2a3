"""One network trained several times: with other seeds on the same split, or on the folds of cross-validation.

N test samples, S trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eyebright.evaluation.crossed import mean_over_both, share_interval
from eyebright.evaluation.report import EvaluationReport


@dataclass(frozen=True, kw_only=True)
class Training:
    """One of the trainings."""

    number: int
    """The seed, or the fold from 1."""
    num_samples: int
    """How many test samples it answered: all, or those of its fold."""
    accuracy: float
    macro_f1: float
    log_loss: float | None
    train_seconds: float
    correctness: str = ""
    """As in `EvaluationReport`; empty for a fold, whose answers stand in the report of all."""
    predicted: str = ""


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """Several trainings of one network."""

    kind: Literal["seeds", "folds"]
    """"seeds": the same split, tested on the same samples. "folds": each sample tested by the training without it."""
    trainings: tuple[Training, ...]
    accuracy_mean: float
    accuracy_std: float | None
    """Of single trainings, with S - 1 in the denominator; None where there is one."""
    accuracy_low: float
    """The ends of a 95 % interval. For seeds that of the mean, if other images and other seeds were drawn; for folds
    that of the share of all samples that were answered right."""
    accuracy_high: float
    macro_f1_mean: float
    macro_f1_std: float | None


def describe_training(number: int, report: EvaluationReport, train_seconds: float, *, answers: bool) -> Training:
    """What a report says of one training.

    Args:
        number: the seed, or the fold from 1.
        report: on its test samples.
        train_seconds: how long it took.
        answers: whether to keep what it said of each sample.
    """
    return Training(
        number=number,
        num_samples=report.num_samples,
        accuracy=report.accuracy,
        macro_f1=report.macro_f1,
        log_loss=report.log_loss,
        train_seconds=train_seconds,
        correctness=report.correctness if answers else "",
        predicted=report.predicted if answers else "",
    )


def repeat_seeds(trainings: Sequence[Training]) -> Repeats:
    """Trainings that were all tested on the same samples."""
    right = right_answers([training.correctness for training in trainings])
    low = high = None
    if len(trainings) > 1 and len(right) > 1:
        low, high = share_interval(mean_over_both(right), len(right))
    return _summarise("seeds", trainings, low, high)


def repeat_folds(trainings: Sequence[Training], pooled: EvaluationReport) -> Repeats:
    """Trainings that were each tested on their own fold, and the report of all samples together."""
    return _summarise("folds", trainings, pooled.accuracy_low, pooled.accuracy_high)


def right_answers(correctness: Sequence[str]) -> NDArray[np.float64]:
    """(N, S) 1 where right and 0 where wrong, of S texts of N characters."""
    return np.array([[letter == "1" for letter in text] for text in correctness], dtype=np.float64).T


def _summarise(
    kind: Literal["seeds", "folds"], trainings: Sequence[Training], low: float | None, high: float | None
) -> Repeats:
    accuracies = [training.accuracy for training in trainings]
    f1 = [training.macro_f1 for training in trainings]
    mean = float(np.mean(accuracies))
    return Repeats(
        kind=kind,
        trainings=tuple(trainings),
        accuracy_mean=mean,
        accuracy_std=_spread(accuracies),
        accuracy_low=mean if low is None else low,
        accuracy_high=mean if high is None else high,
        macro_f1_mean=float(np.mean(f1)),
        macro_f1_std=_spread(f1),
    )


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None

"""Measure a classifier on labelled images that it has not seen.

N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eyebright import metrics
from eyebright.data.samples import ImageStore, SampleTable
from eyebright.errors import DataError, ImageError
from eyebright.evaluation.report import ClassResult, EvaluationReport, Mistake, Unreadable
from eyebright.progress import Progress, SilentProgress

MISTAKES_KEPT = 24
"""How many of the surest wrong answers a report names."""


class SamplePredictions(Protocol):
    """What a predictor says about N samples."""

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """(N, K); rows of images that could not be read are NaN."""
        ...

    @property
    def errors(self) -> Mapping[int, ImageError]:
        """Why, by row, for those that could not be read."""
        ...

    @property
    def images_per_second(self) -> float: ...


class SamplePredictor(Protocol):
    """A trained classifier."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names, in the order of its probabilities."""
        ...

    def predict_samples(
        self, store: ImageStore, names: tuple[str, ...], *, progress: Progress
    ) -> SamplePredictions: ...


def evaluate(predictor: SamplePredictor, table: SampleTable, *, progress: Progress | None = None) -> EvaluationReport:
    """Let the predictor classify every sample of the table and count what is right.

    Labels are matched by class name, so the order of the table's classes does not matter.
    Images that can't be read count as errors.

    Args:
        predictor: a trained classifier.
        table: the samples to measure on, usually the test split.
        progress: told how far it is.

    Raises:
        DataError: the table is empty, or has a class that the predictor does not know.
    """
    if len(table) == 0:
        raise DataError("there is nothing to evaluate: the table has no images")
    table = table.with_classes(predictor.class_names)
    said = predictor.predict_samples(table.store, table.names, progress=progress or SilentProgress())
    assert said.probabilities.shape == (len(table), len(table.classes))
    return _measured(table, said)


def _measured(table: SampleTable, said: SamplePredictions) -> EvaluationReport:
    count, num_classes = len(table), len(table.classes)
    readable = np.ones(count, dtype=np.bool_)
    readable[list(said.errors)] = False
    p, y = said.probabilities[readable], table.labels[readable]
    some = len(y) > 0
    correct = np.zeros(count, dtype=np.bool_)
    top5 = 0
    predicted = np.zeros(0, dtype=np.int64)
    if some:
        correct[readable] = metrics.top_k_correct(p, y, k=1)
        top5 = int(metrics.top_k_correct(p, y, k=5).sum())
        predicted = p.argmax(axis=1)
    confusion = metrics.confusion_matrix(predicted, y, num_classes=num_classes)
    missed = np.bincount(table.labels[~readable], minlength=num_classes)
    right = int(correct.sum())
    interval = metrics.wilson_interval(right, count)
    return EvaluationReport(
        class_names=table.classes,
        num_samples=count,
        num_correct=right,
        accuracy=right / count,
        accuracy_low=interval.low,
        accuracy_high=interval.high,
        top5_accuracy=top5 / count if num_classes > 5 else None,
        macro_f1=metrics.macro_f1(confusion, missed),
        log_loss=metrics.log_loss(p, y) if some else None,
        calibration_error=metrics.expected_calibration_error(p, y) if some else None,
        per_class=_per_class(table.classes, confusion, missed),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        unreadable_per_class=tuple(int(n) for n in missed),
        mistakes=_surest_mistakes(table, said.probabilities, np.flatnonzero(readable & ~correct)),
        unreadable=tuple(
            Unreadable(name=table.store.locate(table.names[row]), reason=error.reason)
            for row, error in sorted(said.errors.items())
        ),
        images_per_second=float(said.images_per_second),
        correctness="".join("1" if hit else "0" for hit in correct),
    )


def _per_class(
    classes: tuple[str, ...], confusion: NDArray[np.int64], missed: NDArray[np.integer[Any]]
) -> tuple[ClassResult, ...]:
    found = metrics.per_class(confusion, missed)
    predicted = confusion.sum(axis=0)
    return tuple(
        ClassResult(
            name=name,
            precision=float(found.precision[i]),
            recall=float(found.recall[i]),
            f1=float(found.f1[i]),
            support=int(found.support[i]),
            predicted=int(predicted[i]),
        )
        for i, name in enumerate(classes)
    )


def _surest_mistakes(
    table: SampleTable, probabilities: NDArray[np.float32], wrong: NDArray[np.int64]
) -> tuple[Mistake, ...]:
    confidence = probabilities[wrong].max(axis=1) if len(wrong) else np.zeros(0)
    # Stable, so that equally sure mistakes stay in the table's order and a report is the same twice.
    rows = wrong[np.argsort(-confidence, kind="stable")[:MISTAKES_KEPT]]
    return tuple(
        Mistake(
            name=table.names[row],
            place=table.store.locate(table.names[row]),
            label=table.classes[table.labels[row]],
            predicted=table.classes[int(probabilities[row].argmax())],
            confidence=float(probabilities[row].max()),
        )
        for row in rows
    )

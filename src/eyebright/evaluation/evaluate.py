"""Measure a classifier on labelled images that it has not seen.

N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eyebright import metrics
from eyebright.calibration.calibration import Calibration
from eyebright.data.samples import ImageStore, SampleTable
from eyebright.errors import DataError, ImageError
from eyebright.evaluation.columns import choose_columns, remark_on_columns
from eyebright.evaluation.measures import Measures, measure
from eyebright.evaluation.report import ClassResult, EvaluationReport, Example, Mistake, Unreadable
from eyebright.evaluation.slices import FEWEST, list_slices
from eyebright.evaluation.trust import list_coverage, list_reliability, measure_trust
from eyebright.progress import Progress, SilentProgress

MISTAKES_KEPT = 24
"""How many of the surest wrong answers a report names."""
EXAMPLES_KEPT = 12
"""How many of the least sure answers, and of the images most unlike the training images."""


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
    def novelty(self) -> NDArray[np.float32] | None:
        """(N,) how unlike the training images each is; None where that is not measured."""
        ...

    @property
    def images_per_second(self) -> float: ...


class SamplePredictor(Protocol):
    """A trained classifier."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names, in the order of its probabilities."""
        ...

    @property
    def calibration(self) -> Calibration | None:
        """What its confidences are worth; None where that was not measured."""
        ...

    def predict_samples(
        self, store: ImageStore, names: tuple[str, ...], *, progress: Progress
    ) -> SamplePredictions: ...


def evaluate(
    predictor: SamplePredictor,
    table: SampleTable,
    *,
    slices: Sequence[str] = (),
    progress: Progress | None = None,
) -> EvaluationReport:
    """Let the predictor classify every sample of the table and count what is right.

    Labels are matched by class name, so the order of the table's classes does not matter.
    Images that can't be read count as errors.

    Args:
        predictor: a trained classifier.
        table: the samples to measure on, usually the test split.
        slices: columns of the list of images for whose values to tell the accuracy; see `choose_columns`.
        progress: told how far it is.

    Raises:
        DataError: the table is empty, has a class that the predictor does not know, or no such column.
    """
    if len(table) == 0:
        raise DataError("there is nothing to evaluate: the table has no images")
    for column in slices:
        table.find_column(column)
    table = table.with_classes(predictor.class_names)
    said = predictor.predict_samples(table.store, table.names, progress=progress or SilentProgress())
    assert said.probabilities.shape == (len(table), len(table.classes))
    return _measured(table, said, predictor.calibration, slices)


def list_unreadable(table: SampleTable, said: SamplePredictions) -> tuple[Unreadable, ...]:
    """The images that the predictor could not read, in the table's order."""
    return tuple(
        Unreadable(name=table.store.locate(table.names[row]), reason=error.reason)
        for row, error in sorted(said.errors.items())
    )


def _measured(
    table: SampleTable, said: SamplePredictions, calibration: Calibration | None, columns: Sequence[str]
) -> EvaluationReport:
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
    found = measure(said.probabilities, table.labels, table.classes)
    answers = np.where(readable, np.nan_to_num(said.probabilities).argmax(axis=1), -1)
    confidence = said.probabilities.max(axis=1)  # NaN stays NaN
    novelty = None if said.novelty is None else said.novelty[readable]
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
        per_class=_per_class(table.classes, confusion, missed, found),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        unreadable_per_class=tuple(int(n) for n in missed),
        mistakes=_surest_mistakes(table, said.probabilities, np.flatnonzero(readable & ~correct)),
        unreadable=list_unreadable(table, said),
        images_per_second=float(said.images_per_second),
        correctness="".join("1" if hit else "0" for hit in correct),
        measures=found.overall,
        reliability=list_reliability(confidence[readable], correct[readable]) if some else (),
        coverage=list_coverage(confidence[readable], correct[readable]) if some else (),
        trust=measure_trust(calibration, p, novelty, y) if some and calibration is not None else None,
        slices=list_slices(table, correct, confidence, columns),
        least_sure=_least_sure(table, said),
        most_unlike=_most_unlike(table, said, calibration),
        labels=" ".join(map(str, table.labels.tolist())),
        predicted=" ".join("-" if answer < 0 else str(answer) for answer in answers.tolist()),
        confidences=" ".join(map(_spell_confidence, confidence.tolist())),
        remarks=(*found.remarks, *remark_on_columns(choose_columns(table, columns), FEWEST)),
    )


def _spell_confidence(value: float) -> str:
    """Four decimals, and 1 only for a certainty that was claimed; "-" for NaN."""
    if np.isnan(value):
        return "-"
    return f"{min(round(value, 4), 0.9999) if value < 1 else 1.0:g}"


def _per_class(
    classes: tuple[str, ...], confusion: NDArray[np.int64], missed: NDArray[np.integer[Any]], measures: Measures
) -> tuple[ClassResult, ...]:
    found = metrics.per_class(confusion, missed)
    predicted = confusion.sum(axis=0)
    hits = confusion.diagonal()

    def ends(total: int, i: int) -> tuple[float | None, float | None]:
        return metrics.wilson_interval(int(hits[i]), total) if total else (None, None)

    precision = [ends(int(predicted[i]), i) for i in range(len(classes))]
    recall = [ends(int(found.support[i]), i) for i in range(len(classes))]
    return tuple(
        ClassResult(
            name=name,
            precision=float(found.precision[i]),
            recall=float(found.recall[i]),
            f1=float(found.f1[i]),
            support=int(found.support[i]),
            predicted=int(predicted[i]),
            precision_low=precision[i][0],
            precision_high=precision[i][1],
            recall_low=recall[i][0],
            recall_high=recall[i][1],
            f1_low=measures.f1[i].low,
            f1_high=measures.f1[i].high,
            roc_auc=measures.roc_auc[i],
            average_precision=measures.average_precision[i],
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


def _least_sure(table: SampleTable, said: SamplePredictions) -> tuple[Example, ...]:
    confidence = said.probabilities.max(axis=1)
    rows = np.argsort(confidence, kind="stable")  # NaN goes last
    return _examples(table, said, rows[: np.count_nonzero(~np.isnan(confidence))][:EXAMPLES_KEPT])


def _most_unlike(table: SampleTable, said: SamplePredictions, calibration: Calibration | None) -> tuple[Example, ...]:
    if said.novelty is None or calibration is None:
        return ()
    above = np.flatnonzero(said.novelty > calibration.novelty_threshold)
    return _examples(table, said, above[np.argsort(-said.novelty[above], kind="stable")][:EXAMPLES_KEPT])


def _examples(table: SampleTable, said: SamplePredictions, rows: NDArray[np.int64]) -> tuple[Example, ...]:
    return tuple(
        Example(
            name=table.names[row],
            place=table.store.locate(table.names[row]),
            label=table.classes[table.labels[row]],
            predicted=table.classes[int(said.probabilities[row].argmax())],
            confidence=float(said.probabilities[row].max()),
            novelty=None if said.novelty is None else float(said.novelty[row]),
        )
        for row in rows
    )

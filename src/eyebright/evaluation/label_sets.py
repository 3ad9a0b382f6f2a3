"""Measure a classifier on images that may have several classes each.

N samples, K classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.data.samples import SampleTable
from eyebright.errors import DataError, printable
from eyebright.evaluation.evaluate import SamplePredictor, list_unreadable
from eyebright.evaluation.notebook import show_in_notebook
from eyebright.evaluation.plain import from_plain, to_plain
from eyebright.evaluation.report import EvaluationReport, Unreadable, percent
from eyebright.evaluation.resample import average_precision
from eyebright.metrics import Interval, wilson_interval
from eyebright.progress import Progress, SilentProgress

MISTAKES_KEPT = 24
RESAMPLES = 500
FEWEST_RESAMPLES = 200
MOST_CELLS = 200_000_000
"""Draws times samples times classes; beyond, fewer draws are made, and below `FEWEST_RESAMPLES` none: ten seconds."""
_CHUNK = 4_000_000  # numbers in memory at once, for resampling


@dataclass(frozen=True, kw_only=True)
class LabelResult:
    """How one class fared; fractions in [0, 1], 0 where there is nothing to divide by."""

    name: str
    average_precision: float | None
    """The area below precision over recall at every threshold; None where no image has the class."""
    average_precision_low: float | None
    """The lower end of its 95 % interval, by resampling the images."""
    average_precision_high: float | None
    threshold: float
    """From this probability on an image is said to have the class; the numbers below are at it."""
    precision: float
    """Of the images said to have it, the share that do."""
    recall: float
    """Of the images that have it, the share that was found; unreadable ones were not."""
    f1: float
    support: int
    """How many images have it, unreadable ones included."""
    predicted: int
    """How many images were said to have it."""


@dataclass(frozen=True, kw_only=True)
class LabelMistake:
    """One image about which one answer is wrong."""

    name: str
    """As the sample table names it."""
    place: str
    """As a user would look for it."""
    label: str
    """The class that was asked about."""
    present: bool
    """Whether the image has it."""
    probability: float
    """What the classifier gave it."""


@dataclass(frozen=True, kw_only=True)
class LabelSetsReport:
    """One classifier on one set of images that may have several classes each.

    An image that could not be read counts as one in which nothing was found.
    """

    class_names: tuple[str, ...]
    num_samples: int
    """N, unreadable images included."""
    mean_average_precision: float | None
    """The mean over the classes that an image has; None where there is none."""
    mean_average_precision_low: float | None
    """The lower end of its 95 % interval, by resampling the images."""
    mean_average_precision_high: float | None
    num_exact: int
    """Images of which every answer is right."""
    exact_match: float
    """num_exact / num_samples"""
    exact_match_low: float
    """The lower end of its 95 % Wilson interval."""
    exact_match_high: float
    macro_f1: float
    """The mean over the classes that an image has."""
    micro_f1: float
    """Over all answers together."""
    hamming_loss: float
    """The share of all answers, N x K, that are wrong."""
    log_loss: float | None
    """Mean over all answers on readable images; None where there is none."""
    per_class: tuple[LabelResult, ...]
    mistakes: tuple[LabelMistake, ...]
    """The surest wrong answers, surest first."""
    unreadable: tuple[Unreadable, ...]
    images_per_second: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LabelSetsReport:
        """The report that `to_dict` wrote.

        Raises:
            DataError: a key is unknown or absent, or a value has the wrong type.
        """
        return from_plain(cls, values, "report")

    def __str__(self) -> str:
        images = "1 image" if self.num_samples == 1 else f"{self.num_samples:,} images"
        lines = [
            f"mean average precision {self.precision_in_words()}, macro F1 {self.macro_f1:.3f}; every label right on "
            f"{self.num_exact:,} of {images}: {percent(self.exact_match)} "
            f"(95 % interval {self.exact_match_low * 100:.1f} to {self.exact_match_high * 100:.1f} %)"
        ]
        seen = [result for result in self.per_class if result.average_precision is not None]
        if len(seen) > 1:
            weakest = min(seen, key=lambda result: result.average_precision or 0.0)
            lines.append(
                f'hardest class: "{printable(weakest.name)}", average precision {weakest.average_precision:.3f} on '
                f"{weakest.support:,}"
            )
        if self.unreadable:
            count = len(self.unreadable)
            lines.append(f"{count:,} {'image' if count == 1 else 'images'} could not be read, counted as nothing found")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """What a notebook shows: the sentences, and a table of the classes."""
        head = ("class", "average precision", "threshold", "precision", "recall", "F1", "images")
        rows = [
            (
                r.name,
                "" if r.average_precision is None else f"{r.average_precision:.3f}",
                f"{r.threshold:.2f}",
                *(f"{value:.3f}" for value in (r.precision, r.recall, r.f1)),
                f"{r.support:,}",
            )
            for r in self.per_class
        ]
        return show_in_notebook(str(self), head, rows)

    def precision_in_words(self) -> str:
        """ "0.912 (95 % interval 0.893 to 0.930)"."""
        value, interval = self.precision_apart()
        return f"{value} (95 % interval {interval})" if interval else value

    def precision_apart(self) -> tuple[str, str]:
        """ "0.912" and "0.893 to 0.930"."""
        low, high = self.mean_average_precision_low, self.mean_average_precision_high
        if self.mean_average_precision is None:
            return "unknown, for no image has a class", ""
        return f"{self.mean_average_precision:.3f}", "" if low is None or high is None else f"{low:.3f} to {high:.3f}"


AnyReport = EvaluationReport | LabelSetsReport
"""What a classifier achieved on images of one class each, or of several."""


def evaluate_label_sets(
    predictor: SamplePredictor, table: SampleTable, thresholds: Sequence[float], *, progress: Progress | None = None
) -> LabelSetsReport:
    """Let the predictor say which classes every image of the table has, and count what is right.

    Args:
        predictor: a trained classifier.
        table: the samples to measure on; one label for each will do.
        thresholds: (K,) from which probability on an image is said to have each class.
        progress: told how far it is.

    Raises:
        DataError: the table is empty, or has a class that the predictor does not know.
    """
    if len(table) == 0:
        raise DataError("there is nothing to evaluate: the table has no images")
    table = table.with_classes(predictor.class_names)
    said = predictor.predict_samples(table.store, table.names, progress=progress or SilentProgress())
    failed = list(said.errors)
    p = said.probabilities.astype(np.float64)
    p[failed] = 0.0
    present = table.targets() > 0.5
    # Compared as the predictor does.
    answers = said.probabilities >= np.asarray(thresholds, dtype=np.float32)
    answers[failed] = False
    right = answers == present
    num_exact = int(right.all(axis=1).sum())
    exact = wilson_interval(num_exact, len(table))
    averages, intervals, mean_interval = measure_precision(p, present)
    known = averages[~np.isnan(averages)]
    readable = np.ones(len(table), dtype=np.bool_)
    readable[failed] = False
    per_class = tuple(
        _describe(name, k, averages, intervals, thresholds, answers, present) for k, name in enumerate(table.classes)
    )
    hits = int((answers & present).sum())
    return LabelSetsReport(
        class_names=table.classes,
        num_samples=len(table),
        mean_average_precision=float(known.mean()) if len(known) else None,
        mean_average_precision_low=None if mean_interval is None else mean_interval.low,
        mean_average_precision_high=None if mean_interval is None else mean_interval.high,
        num_exact=num_exact,
        exact_match=num_exact / len(table),
        exact_match_low=exact.low,
        exact_match_high=exact.high,
        macro_f1=float(np.mean([result.f1 for result in per_class if result.support] or [0.0])),
        micro_f1=_share(2 * hits, int(answers.sum() + present.sum())),
        hamming_loss=float(1 - right.mean()),
        log_loss=_log_loss(p[readable], present[readable]) if readable.any() else None,
        per_class=per_class,
        mistakes=_surest_mistakes(table, p, answers, present, readable),
        unreadable=list_unreadable(table, said),
        images_per_second=float(said.images_per_second),
    )


def measure_precision(
    p: NDArray[np.float64], present: NDArray[np.bool_], *, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64], Interval | None]:
    """Average precision of every class with 95 % intervals, by drawing N of N samples again and again.

    Args:
        p: (N, K)
        present: (N, K)
        seed: of the draws.

    Returns:
        (K,) average precision, NaN for classes of no sample; (2, K) the ends of their intervals; and the interval of
        their mean. Of more than a million answers N x K there are no intervals: NaN, and None.
    """
    count, num_classes = p.shape
    once = np.ones((1, count), dtype=np.float32)
    averages = np.concatenate([average_precision(once, p[:, k], present[:, k]) for k in range(num_classes)])
    intervals = np.full((2, num_classes), np.nan)
    draws = min(RESAMPLES, MOST_CELLS // p.size)
    if draws < FEWEST_RESAMPLES or np.isnan(averages).all():
        return averages, intervals, None
    random = np.random.default_rng(seed)
    drawn = np.full((draws, num_classes), np.nan)
    step = max(1, _CHUNK // count)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        weights = random.multinomial(count, np.full(count, 1 / count), size=size).astype(np.float32)
        for k in range(num_classes):
            drawn[start : start + size, k] = average_precision(weights, p[:, k], present[:, k])
    for k in np.flatnonzero(~np.isnan(averages)).tolist():
        intervals[:, k] = np.nanpercentile(drawn[:, k], (2.5, 97.5))
    # A draw without any sample of a class says nothing of that class.
    means = [float(np.nanmean(row)) for row in drawn if not np.isnan(row).all()]
    low, high = np.percentile(means, (2.5, 97.5)).tolist()
    return averages, intervals, Interval(low, high)


def _describe(
    name: str,
    k: int,
    averages: NDArray[np.float64],
    intervals: NDArray[np.float64],
    thresholds: Sequence[float],
    answers: NDArray[np.bool_],
    present: NDArray[np.bool_],
) -> LabelResult:
    hits = int((answers[:, k] & present[:, k]).sum())
    support, predicted = int(present[:, k].sum()), int(answers[:, k].sum())
    known, bounded = not np.isnan(averages[k]), not np.isnan(intervals[0, k])
    return LabelResult(
        name=name,
        average_precision=float(averages[k]) if known else None,
        average_precision_low=float(intervals[0, k]) if bounded else None,
        average_precision_high=float(intervals[1, k]) if bounded else None,
        threshold=float(thresholds[k]),
        precision=_share(hits, predicted),
        recall=_share(hits, support),
        f1=_share(2 * hits, support + predicted),
        support=support,
        predicted=predicted,
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _log_loss(p: NDArray[np.float64], present: NDArray[np.bool_]) -> float:
    tiny = float(np.finfo(np.float32).eps)
    own = np.where(present, p, 1 - p).clip(tiny, 1.0)
    return float(-np.log(own).mean())


def _surest_mistakes(
    table: SampleTable,
    p: NDArray[np.float64],
    answers: NDArray[np.bool_],
    present: NDArray[np.bool_],
    readable: NDArray[np.bool_],
) -> tuple[LabelMistake, ...]:
    rows, labels = np.nonzero((answers != present) & readable[:, None])
    doubt = np.where(present[rows, labels], p[rows, labels], 1 - p[rows, labels])
    # Stable, so that equally sure mistakes stay in the table's order and a report is the same twice.
    chosen = np.argsort(doubt, kind="stable")[:MISTAKES_KEPT].tolist()
    return tuple(
        LabelMistake(
            name=table.names[rows[i]],
            place=table.store.locate(table.names[rows[i]]),
            label=table.classes[labels[i]],
            present=bool(present[rows[i], labels[i]]),
            probability=float(p[rows[i], labels[i]]),
        )
        for i in chosen
    )

"""What a classifier achieved on a set of labelled images: numbers with intervals, and the mistakes behind them.

Images that could not be read count as errors: they are in the support of their class and in no predicted column.
K classes, N samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from eyebright.errors import DataError, printable
from eyebright.evaluation.measures import Measured
from eyebright.evaluation.notebook import show_in_notebook
from eyebright.evaluation.plain import from_plain, to_plain
from eyebright.evaluation.slices import Slice
from eyebright.evaluation.trust import CoveragePoint, ReliabilityBin, Trust


@dataclass(frozen=True, kw_only=True)
class ClassResult:
    """How one class fared; fractions in [0, 1], 0 where there is nothing to divide by."""

    name: str
    precision: float
    """Of the images said to be this class, the share that is."""
    recall: float
    """Of the images of this class, the share that was found; unreadable ones were not."""
    f1: float
    """The harmonic mean of the two."""
    support: int
    """How many images of this class there are, unreadable ones included."""
    predicted: int
    """How many images were said to be this class."""
    precision_low: float | None = None
    """The ends of 95 % intervals: Wilson's for precision and recall, the bootstrap's for F1. None where
    there is nothing to divide by, and in reports of older versions, as are all entries that follow."""
    precision_high: float | None = None
    recall_low: float | None = None
    recall_high: float | None = None
    f1_low: float | None = None
    f1_high: float | None = None
    roc_auc: float | None = None
    """This class against all others; None where there are only images of it, or none."""
    average_precision: float | None = None


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """One image that was given a wrong class."""

    name: str
    """As the sample table names it."""
    place: str
    """As a user would look for it: a full path, "archive.zip/cats/1.png", "row 17"."""
    label: str
    """The class it has."""
    predicted: str
    """The class it was given."""
    confidence: float
    """The probability of the class it was given."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One image that stands out."""

    name: str
    """As the sample table names it."""
    place: str
    """As a user would look for it."""
    label: str
    predicted: str
    confidence: float
    novelty: float | None
    """How unlike the training images it is, from 0 to 2; None where that was not measured."""


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """One image that could not be read."""

    name: str
    """As a user would look for it."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """One classifier on one set of images."""

    class_names: tuple[str, ...]
    """K names, in the order of the classifier's outputs."""
    num_samples: int
    """N, unreadable images included."""
    num_correct: int
    accuracy: float
    """num_correct / num_samples, a fraction."""
    accuracy_low: float
    """The lower end of its 95 % Wilson interval."""
    accuracy_high: float
    top5_accuracy: float | None
    """None where there are five classes or fewer."""
    macro_f1: float
    log_loss: float | None
    """Over the readable images; None where there is none."""
    calibration_error: float | None
    """Expected calibration error over the readable images, 15 bins; None where there is none."""
    per_class: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    """(K, K) counts; row = the label, column = what was predicted."""
    unreadable_per_class: tuple[int, ...]
    """(K,) how many images of each class could not be read."""
    mistakes: tuple[Mistake, ...]
    """The surest wrong answers, surest first."""
    unreadable: tuple[Unreadable, ...]
    images_per_second: float
    correctness: str
    """N characters, "1" where right and "0" where wrong, in the table's order: two classifiers' reports on the
    same table can be compared image by image."""
    measures: dict[str, Measured] = field(default_factory=dict)
    """Further numbers over all classes, by name; see `measures.Measures.overall`. Empty, as are all entries that
    follow, in reports of older versions."""
    reliability: tuple[ReliabilityBin, ...] = ()
    coverage: tuple[CoveragePoint, ...] = ()
    """From the surest answers to all."""
    trust: Trust | None = None
    """Whether what was promised was kept; None where the classifier has no calibration."""
    slices: tuple[Slice, ...] = ()
    """Parts of the images, those that are certainly bad first."""
    least_sure: tuple[Example, ...] = ()
    most_unlike: tuple[Example, ...] = ()
    """Of those above the threshold of novelty, the farthest first."""
    labels: str = ""
    """N class numbers with spaces between, in the table's order."""
    predicted: str = ""
    """The same for what was said; "-" for an image that could not be read."""
    confidences: str = ""
    """N probabilities of what was said, with spaces between; "-" for an image that could not be read."""
    remarks: tuple[str, ...] = ()
    """What could not be measured and why, and what is too small to tell; one sentence each."""

    def __post_init__(self) -> None:
        count = len(self.class_names)
        square = len(self.confusion) == count and all(len(row) == count for row in self.confusion)
        if not square or len(self.per_class) != count or len(self.unreadable_per_class) != count:
            raise DataError(f"the report's tables do not fit its {count} classes")
        if len(self.correctness) != self.num_samples or self.correctness.count("1") != self.num_correct:
            raise DataError(f"the report's list of right answers does not fit its {self.num_samples} images")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EvaluationReport:
        """The report that `to_dict` wrote.

        Raises:
            DataError: a key is unknown or absent, a value has the wrong type, or tables do not fit each other.
        """
        return from_plain(cls, values, "report")

    def __str__(self) -> str:
        images = "1 image" if self.num_samples == 1 else f"{self.num_samples:,} images"
        lines = [
            f"{self.num_correct:,} of {images} right: accuracy {percent(self.accuracy)} "
            f"(95 % interval {interval_in_words(self)}), macro F1 {self.macro_f1:.3f}"
            + (f", top-5 accuracy {percent(self.top5_accuracy)}" if self.top5_accuracy is not None else "")
        ]
        seen = [result for result in self.per_class if result.support]
        if len(seen) > 1:
            weakest = min(seen, key=lambda result: result.recall)
            lines.append(
                f'hardest class: "{printable(weakest.name)}", {percent(weakest.recall)} of its '
                f"{weakest.support:,} found"
            )
        if self.unreadable:
            count = len(self.unreadable)
            lines.append(f"{count:,} {'image' if count == 1 else 'images'} could not be read, counted as errors")
        if self.trust is not None:
            lines.append(trust_in_words(self.trust))
        lines += [printable(remark) for remark in self.remarks]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """What a notebook shows: the sentence, and a table of the classes."""
        head = ("class", "precision", "recall", "F1", "images")
        rows = [
            (r.name, f"{r.precision:.3f}", f"{r.recall:.3f}", f"{r.f1:.3f}", f"{r.support:,}") for r in self.per_class
        ]
        return show_in_notebook(str(self), head, rows)


def percent(share: float) -> str:
    """A fraction as a percentage with one decimal, never rounded up to a perfect 100: "91.2 %"."""
    value = round(share * 100, 1)
    if value == 100 and share < 1:
        value = 99.9
    if value == 0 and share > 0:
        value = 0.1
    return f"{value:.1f} %"


def interval_in_words(report: EvaluationReport) -> str:
    """The accuracy's 95 % interval in percent: "88.7 to 93.2 %"."""
    return f"{report.accuracy_low * 100:.1f} to {report.accuracy_high * 100:.1f} %"


def trust_in_words(trust: Trust) -> str:
    """What happens to answers that are unsure, and how right the others are; a sentence or two."""
    if trust.num_answered == 0:
        return "no answer is sure enough to be relied on: too few validation images, or too weak a classifier"
    total = trust.num_answered + trust.num_low_confidence + trust.num_unlike
    right = trust.num_answered - trust.num_wrong
    return (
        f"{percent(trust.num_answered / total)} of the answers are sure, and {percent(right / trust.num_answered)} of "
        f"these right ({percent(1 - trust.error_rate)} was {'promised' if trust.certain else 'aimed at'}); "
        f"calibration error {percent(trust.error_after)}"
    )

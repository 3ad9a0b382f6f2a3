"""Several classifiers on the same images, which may have several classes each: who is ahead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eyebright.errors import DataError
from eyebright.evaluation.compare import Comparison, Contestant
from eyebright.evaluation.facts import ComparisonFacts, NetworkFacts
from eyebright.evaluation.label_sets import LabelSetsReport
from eyebright.evaluation.plain import from_plain, to_plain


@dataclass(frozen=True, kw_only=True)
class LabelSetsContestant(NetworkFacts):
    """One trained network, what it cost and what it achieved."""

    report: LabelSetsReport
    """On the test split."""


@dataclass(frozen=True, kw_only=True)
class LabelSetsComparison(ComparisonFacts):
    """Contestants that trained on the same split with the same seed; one alone is a single run."""

    contestants: tuple[LabelSetsContestant, ...]

    def __post_init__(self) -> None:
        if not self.contestants:
            raise DataError("a comparison needs at least one trained network")
        if len({c.report.num_samples for c in self.contestants}) > 1:
            raise DataError("the networks were measured on different test images and can't be compared")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LabelSetsComparison:
        """The comparison that `to_dict` wrote.

        Raises:
            DataError: a key is unknown or absent, or a value has the wrong type.
        """
        return from_plain(cls, values, "comparison")


AnyContestant = Contestant | LabelSetsContestant
AnyComparison = Comparison | LabelSetsComparison
"""For images of one class each, or of several."""


def rank_label_sets(comparison: LabelSetsComparison) -> tuple[LabelSetsContestant, ...]:
    """The contestants, highest mean average precision first; of equal ones the higher macro F1, then the faster."""
    return tuple(
        sorted(
            comparison.contestants,
            key=lambda c: (
                -(c.report.mean_average_precision or 0.0),
                -c.report.macro_f1,
                -c.report.images_per_second,
            ),
        )
    )


def compare_label_sets_in_words(comparison: LabelSetsComparison) -> str:
    """What each reached, best first, and whether their intervals part them; a few sentences."""
    leader, *others = rank_label_sets(comparison)
    count = leader.report.num_samples
    images = "1 test image" if count == 1 else f"{count:,} test images"
    sentences = [f"{leader.title}: mean average precision {leader.report.precision_in_words()} on {images}."]
    low = leader.report.mean_average_precision_low
    for other in others:
        words = f"{other.title}: {other.report.precision_in_words()}"
        high = other.report.mean_average_precision_high
        if low is not None and high is not None and high < low:
            sentences.append(f"{words}, behind by more than both intervals.")
        else:
            sentences.append(f"{words}; the intervals overlap, so the distance may be chance.")
    return " ".join(sentences)


def label_sets_verdict(comparison: LabelSetsComparison) -> str:
    """The outcome in one short line, a title."""
    leader = rank_label_sets(comparison)[0]
    average = leader.report.mean_average_precision
    reached = "was measured" if average is None else f"reaches a mean average precision of {average:.3f}"
    return f"{leader.title} {reached}"

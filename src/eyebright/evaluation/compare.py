"""Several classifiers on the same images: who is ahead, and whether the difference means anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from eyebright.errors import DataError
from eyebright.evaluation.facts import ComparisonFacts, NetworkFacts
from eyebright.evaluation.plain import from_plain, to_plain
from eyebright.evaluation.report import EvaluationReport, interval_in_words, percent
from eyebright.metrics import mcnemar_exact

SIGNIFICANCE = 0.05
"""How often we accept to call equally good classifiers different, over all comparisons with the leader together."""


@dataclass(frozen=True, kw_only=True)
class Contestant(NetworkFacts):
    """One trained network, what it cost and what it achieved."""

    report: EvaluationReport
    """On the test split."""

    @property
    def images_per_second(self) -> float:
        """How fast it classified the test split, reading and decoding included."""
        return self.report.images_per_second


@dataclass(frozen=True, kw_only=True)
class Comparison(ComparisonFacts):
    """Contestants that trained on the same split with the same seed; one alone is a single run."""

    contestants: tuple[Contestant, ...]

    def __post_init__(self) -> None:
        if not self.contestants:
            raise DataError("a comparison needs at least one trained network")
        if len({len(c.report.correctness) for c in self.contestants}) > 1:
            raise DataError("the networks were measured on different test images and can't be compared")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Comparison:
        """The comparison that `to_dict` wrote.

        Raises:
            DataError: a key is unknown or absent, a value has the wrong type, or reports do not fit each other.
        """
        return from_plain(cls, values, "comparison")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How two contestants differ on the same images."""

    points: float
    """The first's accuracy less the second's, in percentage points."""
    only_first: int
    """Images that the first got right and the second wrong."""
    only_second: int
    p_value: float
    """McNemar's exact test, two-sided."""


def ranked(comparison: Comparison) -> tuple[Contestant, ...]:
    """The contestants, most accurate first; of equally accurate ones the higher macro F1, then the faster."""
    return tuple(
        sorted(comparison.contestants, key=lambda c: (-c.report.accuracy, -c.report.macro_f1, -c.images_per_second))
    )


def difference(first: EvaluationReport, second: EvaluationReport) -> Difference:
    """What separates two reports on the same images, image by image.

    Raises:
        DataError: the reports are about different numbers of images.
    """
    if len(first.correctness) != len(second.correctness):
        raise DataError("reports on different images can't be compared image by image")
    pairs = list(zip(first.correctness, second.correctness, strict=True))
    only_first, only_second = pairs.count(("1", "0")), pairs.count(("0", "1"))
    return Difference(
        points=100 * (first.accuracy - second.accuracy),
        only_first=only_first,
        only_second=only_second,
        p_value=mcnemar_exact(only_first, only_second),
    )


def level_with_leader(comparison: Comparison) -> tuple[Contestant, ...]:
    """Those behind the leader whose distance is within the uncertainty of the test images, best first.

    The more contestants, the stricter (Bonferroni), because one of many falls behind by chance more easily.
    """
    leader, *others = ranked(comparison)
    strictness = SIGNIFICANCE / max(1, len(others))
    return tuple(c for c in others if difference(leader.report, c.report).p_value >= strictness)


def verdict(comparison: Comparison) -> str:
    """The outcome in one short line, a title."""
    leader, *others = ranked(comparison)
    level = level_with_leader(comparison)
    if not others:
        return f"{leader.title} gets {percent(leader.report.accuracy)} of the test images right"
    if not level:
        return f"{leader.title} is ahead"
    names = _listed([leader.title, *(c.title for c in level)])
    if len(level) == len(others):
        return f"{names} can't be told apart yet"
    return f"{names} lead, too close to call"


def compare_in_words(comparison: Comparison) -> str:
    """Who is ahead, by how much, whether that is more than chance, and what it costs; a few sentences."""
    leader, *others = ranked(comparison)
    report = leader.report
    images = "1 test image" if report.num_samples == 1 else f"{report.num_samples:,} test images"
    accuracy = f"{percent(report.accuracy)} (95 % interval {interval_in_words(report)})"
    if not others:
        return f"{leader.title} is right on {report.num_correct:,} of {images}: {accuracy}."
    tied = [c for c in others if c.report.num_correct == report.num_correct]
    level = level_with_leader(comparison)
    names = _listed([leader.title, *(c.title for c in tied)])
    comes = "are both first" if len(tied) == 1 else "are all first" if tied else "comes first" if level else "is ahead"
    sentences = [f"{names} {comes}, right on {report.num_correct:,} of {images}: {accuracy}."]
    for other in others:
        if other in tied:
            continue
        gap = difference(report, other.report)
        theirs = f"{percent(other.report.accuracy)} ({interval_in_words(other.report)})"
        if other in level:
            sentences.append(f"{other.title} reaches {theirs}; the {gap.points:.1f} points between them may be chance.")
        else:
            sentences.append(f"{other.title} reaches {theirs}, {gap.points:.1f} points behind: more than chance.")
    sentences += _cheaper(leader, [*tied, *(c for c in level if c not in tied)])
    return " ".join(sentences)


def _cheaper(leader: Contestant, level: list[Contestant]) -> list[str]:
    """A word for the contestant that is as good within the uncertainty and much faster."""
    quicker = [c for c in level if c.images_per_second >= 1.5 * leader.images_per_second > 0]
    if not quicker:
        return []
    best = max(quicker, key=lambda c: c.images_per_second)
    times = best.images_per_second / leader.images_per_second
    return [f"For speed: {best.title} classifies {times:.1f} times as many images per second as {leader.title}."]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

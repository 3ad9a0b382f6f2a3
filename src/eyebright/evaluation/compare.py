"""Several classifiers on the same images: who is ahead, and whether the difference means anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eyebright.errors import DataError
from eyebright.evaluation.facts import ComparisonFacts, NetworkFacts
from eyebright.evaluation.pairs import Answers, Difference, Pair, list_pairs
from eyebright.evaluation.plain import from_plain, to_plain
from eyebright.evaluation.repeats import Repeats
from eyebright.evaluation.report import EvaluationReport, percent

REPORT_VERSION = 3
"""Of what is written now: 1 had no measures, no calibration and no costs beyond speed and size; 2 no columns in slices
and no confidence of every image."""


@dataclass(frozen=True, kw_only=True)
class Contestant(NetworkFacts):
    """One trained network, or the baseline without one; what it cost and what it achieved."""

    report: EvaluationReport
    """On the test split; of several seeds that of the first, of cross-validation that of all samples together."""
    repeats: Repeats | None = None
    """Where it was trained several times."""

    @property
    def accuracy(self) -> float:
        """On the test samples; of several seeds the mean."""
        return self.report.accuracy if self._seeds is None else self._seeds.accuracy_mean

    @property
    def _seeds(self) -> Repeats | None:
        return self.repeats if self.repeats is not None and self.repeats.kind == "seeds" else None

    @property
    def accuracy_ends(self) -> tuple[float, float]:
        """Of its 95 % interval."""
        if self.repeats is not None:
            return self.repeats.accuracy_low, self.repeats.accuracy_high
        return self.report.accuracy_low, self.report.accuracy_high

    @property
    def macro_f1(self) -> float:
        """On the test samples; of several seeds the mean."""
        return self.report.macro_f1 if self._seeds is None else self._seeds.macro_f1_mean

    @property
    def answers(self) -> tuple[Answers, ...]:
        """What each training said of the test samples; one of them, but for several seeds."""
        if self._seeds is not None:
            return tuple((training.correctness, training.predicted) for training in self._seeds.trainings)
        return ((self.report.correctness, self.report.predicted),)

    @property
    def images_per_second(self) -> float:
        """How fast it classified the test split, reading and decoding included."""
        return self.report.images_per_second

    @property
    def in_words(self) -> str:
        """Its title, as it stands within a sentence."""
        return self.title if self.is_network else "a classifier without a network"


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
            DataError: it is of a newer version, a key is unknown or absent, a value has the wrong type, or reports do
                not fit each other.
        """
        version = values.get("version", 1) if isinstance(values, Mapping) else 1
        if isinstance(version, int) and version > REPORT_VERSION:
            raise DataError(
                f"the report was written by a newer Eyebright (schema {version}; this one reads up to "
                f"{REPORT_VERSION}); update with: pip install --upgrade eyebright"
            )
        return from_plain(cls, values, "comparison")


def ranked(comparison: Comparison) -> tuple[Contestant, ...]:
    """The contestants, most accurate first; of equally accurate ones the higher macro F1, then the faster."""
    return ranked_contestants(comparison.contestants)


def ranked_contestants(contestants: Sequence[Contestant]) -> tuple[Contestant, ...]:
    """Some contestants in the same order."""
    return tuple(sorted(contestants, key=lambda c: (-c.accuracy, -c.macro_f1, -c.images_per_second)))


def networks_of(contestants: Sequence[Contestant]) -> tuple[Contestant, ...]:
    """Those that are networks, in the same order: what can be loaded, explained and gone on with."""
    return tuple(c for c in contestants if c.is_network)


def pairs_of(comparison: Comparison) -> tuple[Pair, ...]:
    """How every two contestants differ, in the order of `ranked`."""
    order = ranked(comparison)
    return list_pairs([c.report for c in order], [c.answers for c in order])


def level_with_leader(comparison: Comparison) -> tuple[Contestant, ...]:
    """Those behind the leader whom the test images can't tell from it, best first.

    The more contestants, the stricter (Holm), because one of many falls behind by chance more easily.
    """
    order = ranked(comparison)
    return tuple(
        order[pair.second] for pair in pairs_of(comparison) if pair.first == 0 and not pair.difference.told_apart
    )


def verdict(comparison: Comparison) -> str:
    """The outcome in one short line, a title."""
    leader, *others = ranked(comparison)
    level = level_with_leader(comparison)
    if not others:
        return f"{leader.title} gets {percent(leader.accuracy)} of the test images right"
    if not level:
        return _capital(f"{leader.in_words} is ahead")
    names = _capital(_listed([leader.in_words, *(c.in_words for c in level)]))
    if len(level) == len(others):
        return f"{names} can't be told apart yet"
    return f"{names} lead, too close to call"


def compare_in_words(comparison: Comparison) -> str:
    """Who is ahead, by how much, whether that is more than chance, and what it costs; a few sentences."""
    leader, *others = ranked(comparison)
    report = leader.report
    right = _right_in_words(leader)
    if not others:
        return " ".join([f"{leader.title} is {right}.", *_alike_for_every_seed(comparison)])
    tied = [c for c in others if c.accuracy == leader.accuracy]
    gaps = {pair.second: pair.difference for pair in pairs_of(comparison) if pair.first == 0}
    level = [c for place, c in enumerate(others, start=1) if not gaps[place].told_apart]
    names = _capital(_listed([leader.in_words, *(c.in_words for c in tied)]))
    comes = "are both first" if len(tied) == 1 else "are all first" if tied else "comes first" if level else "is ahead"
    sentences = [f"{names} {comes}, {right}."]
    for place, other in enumerate(others, start=1):
        if other not in tied:
            sentences.append(difference_in_words(leader.in_words, other.in_words, gaps[place], report.num_samples))
    several = max(len(c.answers) for c in comparison.contestants)
    if several > 1:
        sentences.append(
            f"Each network was trained with {several} seeds; what is called better here would be so with other images "
            "and other seeds."
        )
    sentences += _alike_for_every_seed(comparison)
    sentences += _network_or_not(comparison)
    sentences += _cheaper(leader, [*tied, *(c for c in level if c not in tied)])
    return " ".join(sentences)


def interval_of(contestant: Contestant) -> str:
    """Its accuracy's 95 % interval in percent: "88.7 to 93.2 %"."""
    low, high = contestant.accuracy_ends
    return f"{low * 100:.1f} to {high * 100:.1f} %"


def spread_in_words(contestant: Contestant) -> str:
    """How far single trainings lie from their mean, in points: "\u00b1 0.8"; empty for a network trained once."""
    if contestant.repeats is None or contestant.repeats.accuracy_std is None:
        return ""
    return f"\u00b1 {contestant.repeats.accuracy_std * 100:.1f}"


def _right_in_words(contestant: Contestant) -> str:
    """ "right on 366 of 406 test images: 90.1 % (95 % interval 86.9 to 92.7 %)"; of several trainings their mean."""
    report, repeats = contestant.report, contestant.repeats
    images = "1 test image" if report.num_samples == 1 else f"{report.num_samples:,} test images"
    accuracy = f"{percent(contestant.accuracy)} (95 % interval {interval_of(contestant)})"
    if repeats is None:
        return f"right on {report.num_correct:,} of {images}: {accuracy}"
    spread, count = spread_in_words(contestant), len(repeats.trainings)
    if repeats.kind == "seeds":
        return (
            f"right on {percent(contestant.accuracy)} {spread} of {images} (mean and spread of {count} seeds; 95 % "
            f"interval {interval_of(contestant)})"
        )
    return (
        f"right on {report.num_correct:,} of {report.num_samples:,} images, each tested by a training without it: "
        f"{accuracy}; {percent(repeats.accuracy_mean)} {spread} over {count} folds"
    )


def difference_in_words(first: str, second: str, gap: Difference, num_samples: int) -> str:
    """Which of two is better and by how much, or how many images could tell."""
    interval = f"{gap.points:.1f} points (95 %: {_signed(gap.points_low)} to {_signed(gap.points_high)})"
    if gap.told_apart:
        return _capital(f"{first} is better than {second} by {interval}.")
    images = "This 1 test image" if num_samples == 1 else f"These {num_samples:,} test images"
    could = f"; about {about(gap.needed):,} could" if gap.needed is not None else ""
    if gap.trainings > 1:
        images += f" and {gap.trainings} trainings of each"
        could = f"; about {about(gap.needed):,} images could" if gap.needed is not None else ""
        if gap.needed is None and gap.points:
            could = "; trainings differ so much from one another that only more of them could"
    return f"{images} can't tell {first} and {second} apart: {interval}{could}."


def _alike_for_every_seed(comparison: Comparison) -> list[str]:
    """A word where seeds could show no spread, because nothing in the training is left to chance."""
    alike = [c.in_words for c in ranked(comparison) if len(c.answers) > 1 and len({said for _, said in c.answers}) == 1]
    if not alike:
        return []
    verb = "answers" if len(alike) == 1 else "answer"
    return [f"{_capital(_listed(alike))} {verb} alike for every seed, so that no spread can be seen."]


def _network_or_not(comparison: Comparison) -> list[str]:
    """A word where no network can be shown to be better than the baseline."""
    order = ranked(comparison)
    better = any(
        pair.difference.told_apart and not order[pair.second].is_network and order[pair.first].is_network
        for pair in pairs_of(comparison)
    )
    if better or all(c.is_network for c in order):
        return []
    return ["That a network is worth its cost is not shown by these images."]


def _signed(points: float) -> str:
    """With a real minus sign, and no sign before a zero."""
    text = f"{points:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "\u2212")


def about(count: int) -> int:
    """A number of images to two digits, upwards: 873 becomes 880."""
    step = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // step) * step


def _cheaper(leader: Contestant, level: list[Contestant]) -> list[str]:
    """A word for the contestant that is as good within the uncertainty and much faster."""
    quicker = [c for c in level if c.images_per_second >= 1.5 * leader.images_per_second > 0]
    if not quicker:
        return []
    best = max(quicker, key=lambda c: c.images_per_second)
    times = best.images_per_second / leader.images_per_second
    return [f"For speed: {best.in_words} classifies {times:.1f} times as many images per second as {leader.in_words}."]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"

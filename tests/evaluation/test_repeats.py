"""Networks that were trained several times: means and spread in words, pairs, JSON and page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from eyebright.evaluation.compare import Comparison, Contestant, compare_in_words, pairs_of, ranked, spread_in_words
from eyebright.evaluation.pairs import difference
from eyebright.evaluation.render import render_comparison
from eyebright.evaluation.repeats import describe_training, repeat_folds, repeat_seeds
from eyebright.evaluation.report import EvaluationReport

Build = Callable[..., Comparison]


def answered(report: EvaluationReport, share: float, seed: int) -> EvaluationReport:
    """The same images, this share of them right; which are hard is the same for all."""
    generator = np.random.default_rng(seed)
    labels = np.array(report.labels.split(), dtype=int)
    hard = np.linspace(0, 1, len(labels)) + generator.normal(size=len(labels)) * 0.1
    right = hard <= np.quantile(hard, share)
    said = np.where(right, labels, (labels + 1) % len(report.class_names))
    confusion = np.zeros((len(report.class_names),) * 2, dtype=int)
    np.add.at(confusion, (labels, said), 1)
    return replace(
        report,
        num_correct=int(right.sum()),
        accuracy=float(right.mean()),
        correctness="".join("01"[int(hit)] for hit in right),
        predicted=" ".join(map(str, said)),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def with_seeds(contestant: Contestant, shares: tuple[float, ...], start: int) -> Contestant:
    reports = [answered(contestant.report, share, start + i) for i, share in enumerate(shares)]
    trainings = [describe_training(i, one, 10.0, answers=True) for i, one in enumerate(reports)]
    return replace(contestant, report=reports[0], repeats=repeat_seeds(trainings))


@pytest.fixture
def seeded(build_comparison: Build) -> Comparison:
    """Two networks of three seeds: the first seeds' accuracies are the other way round than the means."""
    drawn = build_comparison(skills=(5.0, 4.0))
    first, second = drawn.contestants
    contestants = (with_seeds(first, (0.80, 0.90, 0.91), 10), with_seeds(second, (0.84, 0.82, 0.83), 20))
    return replace(drawn, contestants=contestants, seeds=(0, 1, 2))


def test_mean_and_spread_are_those_of_single_trainings(seeded: Comparison) -> None:
    repeats = seeded.contestants[0].repeats
    assert repeats is not None
    accuracies = [training.accuracy for training in repeats.trainings]
    assert repeats.accuracy_mean == pytest.approx(np.mean(accuracies))
    assert repeats.accuracy_std == pytest.approx(np.std(accuracies, ddof=1))
    assert repeats.accuracy_low < min(accuracies)
    assert spread_in_words(seeded.contestants[0]) == f"\u00b1 {100 * np.std(accuracies, ddof=1):.1f}"


def test_the_mean_ranks_and_the_words_tell_of_seeds(seeded: Comparison) -> None:
    assert [c.title for c in ranked(seeded)] == ["ResNet-50", "VGG-16"]
    words = compare_in_words(seeded)
    assert "right on 87.0 % \u00b1 6.1 of 300 test images (mean and spread of 3 seeds; 95 % interval" in words
    assert "Each network was trained with 3 seeds" in words


def test_seeds_that_differ_make_a_difference_less_certain(seeded: Comparison) -> None:
    (pair,) = pairs_of(seeded)
    assert pair.difference.trainings == 3
    assert pair.difference.points == pytest.approx(4, abs=0.1)
    assert not pair.difference.told_apart
    assert pair.difference.points_low < 0 < pair.difference.points_high
    assert pair.difference.f1_points is not None
    steady = [with_seeds(seeded.contestants[0], (0.87, 0.87, 0.87), 10), seeded.contestants[1]]
    (sure,) = pairs_of(replace(seeded, contestants=tuple(steady)))
    assert sure.difference.points == pytest.approx(4, abs=0.1)
    assert sure.difference.p_value < pair.difference.p_value / 3
    assert pair.difference.needed is None
    assert "trainings differ so much from one another that only more of them could" in compare_in_words(seeded)


def test_where_no_seed_changes_anything_one_training_is_tested(seeded: Comparison) -> None:
    alike = []
    for contestant in seeded.contestants:
        assert contestant.repeats is not None
        first = contestant.repeats.trainings[0]
        alike.append(replace(contestant, repeats=repeat_seeds([replace(first, number=i) for i in range(3)])))
    comparison = replace(seeded, contestants=tuple(alike))
    (pair,) = pairs_of(comparison)
    order = ranked(comparison)
    assert replace(pair.difference, trainings=1) == difference(order[0].report, order[1].report)
    assert "answer alike for every seed, so that no spread can be seen." in compare_in_words(comparison)


def test_a_network_of_one_training_stands_beside_each_of_the_others(seeded: Comparison) -> None:
    once = replace(seeded.contestants[1], repeats=None)
    (pair,) = pairs_of(replace(seeded, contestants=(seeded.contestants[0], once)))
    assert pair.difference.trainings == 3
    assert pair.difference.points == pytest.approx(100 * (seeded.contestants[0].accuracy - once.report.accuracy))


def test_folds_count_all_answers_together(build_comparison: Build) -> None:
    drawn = build_comparison(skills=(5.0,))
    report = drawn.contestants[0].report
    parts = [replace(answered(report, share, i), num_samples=300) for i, share in enumerate((0.7, 0.9))]
    repeats = repeat_folds([describe_training(i, one, 5.0, answers=False) for i, one in enumerate(parts, 1)], report)
    contestant = replace(drawn.contestants[0], repeats=repeats)
    assert contestant.accuracy == report.accuracy
    assert contestant.accuracy_ends == (report.accuracy_low, report.accuracy_high)
    assert all(not training.predicted for training in repeats.trainings)
    words = compare_in_words(replace(drawn, contestants=(contestant,), folds=2))
    assert "each tested by a training without it" in words
    assert "80.0 % \u00b1 14.1 over 2 folds" in words


def test_json_and_page_hold_every_training(seeded: Comparison) -> None:
    plain = json.loads(json.dumps(seeded.to_dict()))
    assert Comparison.from_dict(plain) == seeded
    assert len(plain["contestants"][0]["repeats"]["trainings"]) == 3
    page = render_comparison(seeded, lambda name: None)
    assert 'id="trainings"' in page
    section = page.split('<section id="trainings"')[1].split("</section>")[0]
    for contestant in seeded.contestants:
        assert contestant.repeats is not None
        for training in contestant.repeats.trainings:
            assert f"{training.accuracy * 100:.1f}&#160;%" in section or f"{training.accuracy * 100:.1f} %" in section
    assert "0 for the split; 0, 1, 2 for the trainings" in page
    assert 'id="trainings"' not in render_comparison(
        replace(seeded, contestants=tuple(replace(c, repeats=None) for c in seeded.contestants)), lambda name: None
    )

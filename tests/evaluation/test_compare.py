"""Who is ahead is said only where the test images bear it out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from eyebright.errors import DataError
from eyebright.evaluation.compare import (
    Comparison,
    Contestant,
    compare_in_words,
    level_with_leader,
    networks_of,
    ranked,
    verdict,
)
from eyebright.evaluation.facts import BASELINE
from eyebright.evaluation.pairs import difference
from eyebright.metrics import wilson_interval

Build = Callable[..., Comparison]


def answering(contestant: Contestant, correctness: str, *, images_per_second: float = 10.0) -> Contestant:
    """The same contestant, had it been right on these images."""
    right = correctness.count("1")
    interval = wilson_interval(right, len(correctness))
    report = replace(
        contestant.report,
        correctness=correctness,
        labels="",
        predicted="",
        num_samples=len(correctness),
        num_correct=right,
        accuracy=right / len(correctness),
        accuracy_low=interval.low,
        accuracy_high=interval.high,
        images_per_second=images_per_second,
    )
    return replace(contestant, report=report)


def among(comparison: Comparison, answers: dict[str, str], **speeds: float) -> Comparison:
    """The comparison, with the named contestants right on these images."""
    by_title = {c.title: c for c in comparison.contestants}
    return replace(
        comparison,
        contestants=tuple(
            answering(by_title[title], given, images_per_second=speeds.get(by_title[title].model, 10.0))
            for title, given in answers.items()
        ),
    )


def test_a_comparison_survives_json(build_comparison: Build) -> None:
    comparison = build_comparison(notes=("one image was left out",))
    assert Comparison.from_dict(json.loads(json.dumps(comparison.to_dict(), allow_nan=False))) == comparison


def test_the_most_accurate_comes_first_whatever_the_order_of_training(build_comparison: Build) -> None:
    answers = {"Plain CNN": "1000", "ResNet-50": "1110", "VGG-16": "1100"}
    assert [c.title for c in ranked(among(build_comparison(), answers))] == ["ResNet-50", "VGG-16", "Plain CNN"]


def test_a_difference_counts_images_that_one_alone_got_right(build_comparison: Build) -> None:
    pair = among(build_comparison(), {"ResNet-50": "1" * 8 + "00", "VGG-16": "0" * 4 + "11111" + "0"}).contestants
    found = difference(pair[0].report, pair[1].report)
    assert (found.only_first, found.only_second) == (4, 1)
    assert found.points == pytest.approx(30)
    assert found.p_value == pytest.approx(2 * (1 + 5) / 32)


def test_a_small_lead_is_called_chance_and_a_large_one_is_not(build_comparison: Build) -> None:
    comparison = among(
        build_comparison(),
        {"ResNet-50": "1" * 92 + "0" * 8, "VGG-16": "1" * 90 + "0" * 10, "Plain CNN": "1" * 60 + "0" * 40},
    )
    assert [c.title for c in level_with_leader(comparison)] == ["VGG-16"]
    words = compare_in_words(comparison)
    assert words.startswith(
        "ResNet-50 comes first, right on 92 of 100 test images: 92.0 % (95 % interval 85.0 to 95.9 %)."
    )
    assert (
        "These 100 test images can't tell ResNet-50 and VGG-16 apart: 2.0 points (95 %: \u22121.4 to 5.0); about "
        in words
    )
    assert "ResNet-50 is better than Plain CNN by 32.0 points (95 %: 23.0 to 41.0)." in words
    assert verdict(comparison) == "ResNet-50 and VGG-16 lead, too close to call"


def test_more_contestants_make_the_test_stricter(build_comparison: Build) -> None:
    # 6 images against 0: p = 0.031, below 5 % alone and above it as one of two pairs that differ as much.
    alone = among(build_comparison(), {"ResNet-50": "1" * 16, "VGG-16": "1" * 10 + "0" * 6})
    assert not level_with_leader(alone)
    assert verdict(alone) == "ResNet-50 is ahead"
    assert compare_in_words(alone).startswith("ResNet-50 is ahead, right on 16 of 16")
    both = among(
        build_comparison(), {"ResNet-50": "1" * 16, "VGG-16": "1" * 10 + "0" * 6, "Plain CNN": "1" * 10 + "0" * 6}
    )
    assert [c.title for c in level_with_leader(both)] == ["VGG-16", "Plain CNN"]
    # Holm: where one pair differs beyond doubt, it no longer counts against the others.
    far = among(build_comparison(), {"ResNet-50": "1" * 16, "VGG-16": "1" * 10 + "0" * 6, "Plain CNN": "0" * 16})
    assert not level_with_leader(far)


def test_equal_contestants_are_first_together_and_speed_is_told(build_comparison: Build) -> None:
    comparison = among(
        build_comparison(), {"ResNet-50": "1101", "VGG-16": "1110"}, resnet50=10.0, vgg16=10.0, plaincnn=10.0
    )
    assert "are both first, right on 3 of 4" in compare_in_words(comparison)
    assert "can't be told apart yet" in verdict(comparison)
    assert "speed" not in compare_in_words(comparison)
    faster = among(build_comparison(), {"ResNet-50": "1111", "VGG-16": "1110"}, resnet50=10.0, vgg16=40.0)
    assert "VGG-16 classifies 4.0 times as many images per second as ResNet-50." in compare_in_words(faster)


def test_what_a_network_adds_is_said_in_words(build_comparison: Build) -> None:
    drawn = build_comparison()
    network, other = drawn.contestants[:2]
    baseline = replace(other, model=BASELINE, title="Without a network")

    def between(first: str, second: str) -> Comparison:
        return replace(drawn, contestants=(answering(network, first), answering(baseline, second)))

    ahead = between("1" * 90 + "0" * 10, "1" * 60 + "0" * 40)
    assert "ResNet-50 is better than a classifier without a network by 30.0 points" in compare_in_words(ahead)
    assert "worth its cost" not in compare_in_words(ahead)
    level = between("1" * 90 + "0" * 10, "1" * 89 + "0" * 11)
    assert verdict(level) == "ResNet-50 and a classifier without a network can't be told apart yet"
    assert "can't tell ResNet-50 and a classifier without a network apart" in compare_in_words(level)
    assert "That a network is worth its cost is not shown by these images." in compare_in_words(level)
    behind = between("1" * 60 + "0" * 40, "1" * 90 + "0" * 10)
    assert verdict(behind) == "A classifier without a network is ahead"
    assert compare_in_words(behind).startswith("A classifier without a network is ahead, right on 90 of 100")
    assert "A classifier without a network is better than ResNet-50 by 30.0 points" in compare_in_words(behind)
    assert networks_of(ranked(behind)) == (behind.contestants[0],)


def test_a_single_run_says_what_it_reached(build_comparison: Build) -> None:
    run = build_comparison(("a", "b"), skills=(3.0,))
    right = run.contestants[0].report.num_correct
    assert compare_in_words(run).startswith(f"ResNet-50 is right on {right} of 60 test images: ")
    assert verdict(run).startswith("ResNet-50 gets ")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"contestants": []}, "at least one trained network"),
        ({"seed": "0"}, "comparison.seed should be int"),
        ({"sead": 0}, "did you mean"),
        ({"version": 99}, "written by a newer Eyebright .schema 99"),
    ],
)
def test_an_edited_comparison_is_refused(build_comparison: Build, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Comparison.from_dict({**build_comparison().to_dict(), **changes})


def test_networks_measured_on_different_images_are_refused(build_comparison: Build) -> None:
    with pytest.raises(DataError, match="different test images"):
        among(build_comparison(), {"ResNet-50": "111", "VGG-16": "1101"})
    first, second = build_comparison().contestants[:2]
    with pytest.raises(DataError, match="can't be compared image by image"):
        difference(first.report, answering(second, "110").report)

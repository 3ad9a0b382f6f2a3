"""What the page says of confidence is what the report says."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from eyebright.calibration.calibrate import calibrate
from eyebright.evaluation.compare import Comparison, Contestant
from eyebright.evaluation.confidence import render_confidence
from eyebright.evaluation.evaluate import evaluate
from eyebright.evaluation.render import render_run
from eyebright.evaluation.report import percent

Build = Callable[..., Comparison]


@pytest.fixture
def calibrated(build_comparison: Build, drawn: Any) -> Contestant:
    """A network whose answers went through calibration, two of the images unlike the training images."""
    contestant = build_comparison(("a", "b", "c"), skills=(3.0,)).contestants[0]
    labels = np.repeat(np.arange(3), 60)
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 3)) + 3 * np.eye(3)[rng.integers(0, 3, 200)]
    calibration = calibrate(
        logits,
        logits.argmax(axis=1),
        embeddings=rng.normal(size=(200, 4)) + 5,
        references=rng.normal(size=(50, 4)) + 5,
    )
    said = drawn.draw_predictions(labels, 3, skill=3.0, seed=1, unreadable=(7,))
    novelty = np.full(180, 0.001, dtype=np.float32)
    novelty[[3, 9]] = (0.9, 1.5)
    novelty[7] = np.nan
    predictor = drawn.DrawnPredictor(("a", "b", "c"), replace(said, novelty=novelty), calibration)
    return replace(contestant, report=evaluate(predictor, drawn.build_table(("a", "b", "c"), labels)))


def test_every_promise_stands_beside_what_came_of_it(calibrated: Contestant) -> None:
    page = render_confidence([calibrated]).replace("&#160;", " ")
    trust = calibrated.report.trust
    assert trust is not None
    assert trust.num_answered + trust.num_low_confidence + trust.num_unlike == 179
    assert f"{percent(1 - trust.num_wrong / trust.num_answered)} (" in page
    for result in trust.sets:
        assert f"{percent(result.covered)} ({result.covered_low * 100:.1f} to " in page
        assert f"mean size {result.mean_size:.2f}" in page
    assert "2 images looked unlike the training images" in page
    assert f"{percent(trust.error_before)} before calibration" in page
    bottom, top = (float(y) for y in re.findall(r'class="rule" d="M0\.0 ([\d.]+)', page)[:5:4])
    bars = re.findall(r'class="area bin" style="--shade:[\d.]+" d="M[\d.]+ [\d.]+ L[\d.]+ [\d.]+ [\d.]+ ([\d.]+)', page)
    assert [(bottom - float(y)) / (bottom - top) for y in bars] == pytest.approx(
        [one.accuracy for one in calibrated.report.reliability], abs=0.003
    )


def test_a_promise_that_was_not_kept_is_called_so(calibrated: Contestant) -> None:
    trust = calibrated.report.trust
    assert trust is not None
    pages = []
    for wrong in (0, trust.num_answered // 2):
        changed = replace(calibrated.report, trust=replace(trust, num_wrong=wrong))
        pages.append(render_confidence([replace(calibrated, report=changed)]))
    assert pages[1].count("not kept") == pages[0].count("not kept") + 1


def test_the_images_most_unlike_are_named_farthest_first(calibrated: Contestant, build_comparison: Build) -> None:
    report = calibrated.report
    assert [example.name for example in report.most_unlike] == ["a/0009.png", "a/0003.png"]
    confidences = [example.confidence for example in report.least_sure]
    assert confidences == sorted(confidences)
    run = build_comparison(("a", "b", "c"), skills=(3.0,))
    page = render_run(replace(run, contestants=(calibrated,)), lambda name: None)
    assert "most unlike" in page
    assert Comparison.from_dict(replace(run, contestants=(calibrated,)).to_dict()).contestants[0] == calibrated


def test_a_report_of_an_older_version_says_that_this_was_not_measured(build_comparison: Build) -> None:
    contestant = build_comparison(("a", "b"), skills=(3.0,)).contestants[0]
    older = replace(contestant, report=replace(contestant.report, reliability=(), coverage=()))
    assert "This was not measured." in render_confidence([older])

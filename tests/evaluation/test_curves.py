"""Curves are drawn from whatever was kept: many points, one, none, or gaps."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Literal
from xml.etree import ElementTree

import pytest

from eyebright.evaluation.compare import Comparison
from eyebright.evaluation.curves import kept_point, render_curves
from eyebright.evaluation.facts import CurvePoint

Build = Callable[..., Comparison]


def point(x: float, accuracy: float | None, loss: float | None = None) -> CurvePoint:
    return CurvePoint(x=x, train_loss=loss, val_loss=loss, val_accuracy=accuracy)


def drawn_curves(
    build: Build, curve: tuple[CurvePoint, ...], kind: Literal["epochs", "regularisation"] = "epochs"
) -> str:
    contestant = build().contestants[2]
    return render_curves([replace(contestant, curve=curve, curve_kind=kind)])


def test_of_older_reports_the_lowest_validation_loss_was_kept_and_of_equal_ones_the_first() -> None:
    assert kept_point([point(1, 0.5), point(2, 0.95, 0.4), point(3, 0.9, 0.3), point(4, 0.9, 0.3)]) == 2
    assert kept_point([point(1, None), point(2, 0.9, float("nan"))]) is None
    assert kept_point([]) is None


def test_what_was_kept_is_marked_and_not_the_lowest_loss() -> None:
    points = [point(1, 0.5, 0.4), replace(point(2, 0.95, 0.5), kept=True), point(3, 0.9, 0.6)]
    assert kept_point(points) == 1


@pytest.mark.parametrize("kind", ["epochs", "regularisation"])
@pytest.mark.parametrize(
    "curve",
    [
        (),
        (point(1, 0.5, 0.7),),
        (point(1, None, None),),
        (point(1, 0.0, 0.0), point(2, 1.0, 0.0)),
        (point(1, 0.5, 1e9), point(2, 0.6, float("inf")), point(3, float("nan"), 1e-9)),
        tuple(point(i, 0.3 + i / 1000, 5 / (i + 1)) for i in range(1, 301)),
        (point(0, 0.9999, 1e-4), point(1e-6, 0.98, 2e-4)),
    ],
)
def test_every_curve_gives_well_formed_drawings_inside_their_frame(
    build_comparison: Build, curve: tuple[CurvePoint, ...], kind: Literal["epochs", "regularisation"]
) -> None:
    shown = drawn_curves(build_comparison, curve, kind)
    assert ("No learning curve was kept" in shown) == (not curve)
    for drawing in re.findall(r"<svg.*?</svg>", shown):
        ElementTree.fromstring(drawing)
        assert "nan" not in drawing
        assert "inf" not in drawing
        for x, y in re.findall(r"[ML]([-\d.]+) ([-\d.]+)", drawing):
            assert 0 <= float(x) <= 340
            assert 0 <= float(y) <= 190


def test_a_gap_lifts_the_pen(build_comparison: Build) -> None:
    shown = drawn_curves(build_comparison, (point(1, 0.5), point(2, None), point(3, 0.7), point(4, 0.8)))
    lines = re.findall(r'class="line val" d="([^"]+)"', shown)
    assert [line.count(" ") for line in lines] == [3]  # of the last two points alone
    assert shown.count('class="dot val"') == 3


def test_strengths_stand_in_rising_order_and_evenly(build_comparison: Build) -> None:
    curve = (point(1, 0.6, 0.9), point(1e-6, 0.5, 1.2), point(0.01, 0.7, 0.8))
    shown = drawn_curves(build_comparison, curve, "regularisation")
    assert shown.index(">1e-6<") < shown.index(">0.01<") < shown.index(">1<")
    assert "strength 0.01 kept: 70.0 %" in shown.replace("&#160;", " ")
    xs = [float(x) for x in re.findall(r'class="dot val" cx="([\d.]+)"', shown)]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)


def test_accuracy_axes_are_shared_so_that_equal_heights_mean_equal_accuracies(build_comparison: Build) -> None:
    first, second, _ = build_comparison().contestants
    shown = render_curves(
        [
            replace(first, curve=(point(1, 0.40), point(2, 0.80)), curve_kind="epochs"),
            replace(second, curve=(point(1, 0.80), point(2, 0.95)), curve_kind="epochs"),
        ]
    )
    heights = re.findall(r'class="dot val" cx="[\d.]+" cy="([\d.]+)"', shown)
    assert heights[1] == heights[2]

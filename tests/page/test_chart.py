"""Charts are well formed, say their values, look the same twice, and carry nothing of pygal's own."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from eyebright.page.chart import Axis, Curve, Shape, draw_chart

X = Axis(low=0.0, high=10.0, ticks=(0.0, 5.0, 10.0), label=lambda value: f"{value:g}", name="epoch")
Y = Axis(low=0.0, high=1.0, ticks=(0.0, 0.5, 1.0), label=lambda value: f"{100 * value:g} %")


def draw(*curves: Curve, title: str = "A chart") -> str:
    return draw_chart(title, X, Y, curves)


def heights(drawn: str) -> list[float]:
    return [float(y) for y in re.findall(r'<circle[^>]* cy="([-\d.]+)"', drawn)]


def test_values_stand_at_their_height_between_the_ticks() -> None:
    drawn = draw(Curve(points=[(0.0, 0.0), (5.0, 0.25), (10.0, 1.0)], style="val", shape="dots"))
    rules = [float(y) for y in re.findall(r'class="rule" d="M0.0 ([\d.]+)', drawn)]
    bottom, middle, top = rules
    low, quarter, high = heights(drawn)
    assert low == pytest.approx(bottom, abs=0.2)
    assert quarter == pytest.approx((bottom + middle) / 2, abs=0.2)
    assert high == pytest.approx(top, abs=0.2)


def test_a_point_says_what_it_is_and_what_lies_beyond_stands_at_the_end() -> None:
    drawn = draw(Curve(points=[(2.0, 0.5), (3.0, 7.0), (4.0, float("inf"))], style="val", shape="dotted line"))
    assert re.findall(r"<title>(.*?)</title>", drawn) == ["A chart", "2: 50&#160;%", "3: 100&#160;%"]
    assert 'class="line val"' in drawn


def test_an_area_reaches_down_to_the_axis_and_has_its_shade() -> None:
    drawn = draw(Curve(points=[(2.0, 0.5), (3.0, 0.5)], style="bin", shape="area", shade=0.4))
    found = re.search(r'<path class="area bin" style="--shade:0.40" d="(.*?)"', drawn)
    assert found is not None
    ys = [float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", found[1])]
    bottom = float(re.findall(r'class="rule" d="M0.0 ([\d.]+)', drawn)[0])
    assert ys[0] == ys[-1] == bottom
    assert min(ys) < bottom


def test_a_gap_parts_the_line() -> None:
    values = [0.1, 0.2, None, 0.3, 0.4]
    parted = draw(Curve(points=[(float(x), value) for x, value in enumerate(values)], style="val"))
    whole = draw(Curve(points=[(float(x), value) for x, value in enumerate(values) if value], style="val"))
    assert parted.count('class="line val"') == 2
    assert whole.count('class="line val"') == 1


@pytest.mark.parametrize(
    "points", [[], [(1.0, None)], [(1.0, 0.5)], [(0.0, 0.0)] * 3, [(-5.0, 0.5), (50.0, float("nan"))]]
)
@pytest.mark.parametrize("shape", ["line", "dotted line", "dots", "area"])
def test_any_points_give_a_well_formed_drawing(points: list[tuple[float, float | None]], shape: Shape) -> None:
    drawn = draw(Curve(points=points, style="val", shape=shape))
    ElementTree.fromstring(drawn.replace("&#160;", " "))
    assert "nan" not in drawn
    assert "epoch" in drawn


def test_long_labels_are_not_cut() -> None:
    values = [1e-5, 0.000125, 0.001, 0.0125, 0.1, 1.25, 10.0]
    x = Axis(low=0.0, high=6.0, ticks=[float(i) for i in range(7)], label=lambda place: f"{values[int(place)]:g}")
    drawn = draw_chart("Rates", x, Y, [Curve(points=[(0.0, 0.5), (6.0, 0.5)], style="val")])
    assert [f"{value:g}" for value in values] == re.findall(r'class="tick mid"[^>]*>(.*?)<', drawn)


def test_it_is_the_same_twice_and_inert() -> None:
    curve = Curve(points=[(1.0, 0.1), (2.0, 0.2)], style="val", shape="dotted line")
    drawn = draw(curve, title='<script>alert("1")</script>')
    assert drawn == draw(curve, title='<script>alert("1")</script>')
    assert "<script" not in drawn
    assert "<style" not in drawn
    assert "http" not in drawn
    assert "pygal" not in drawn.lower()
    assert len(drawn) < 2000

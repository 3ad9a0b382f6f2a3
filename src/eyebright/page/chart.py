"""Charts of lines, dots and areas as inline SVG: drawn by pygal, coloured by the page's style sheet.

Pygal places what is drawn, scales and labels; its own colours, fonts and scripts are left out, so that a chart follows
the page into the dark, works without scripts and is the same twice.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from eyebright.page import markup

_FONT = 11
_NAMESPACES = re.compile(r' xmlns(?::\w+)?="[^"]*"')
_LONG = re.compile(r"\d+\.\d{2,}")


Shape = Literal["line", "dotted line", "dots", "area"]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One of the two scales."""

    low: float
    high: float
    ticks: Sequence[float]
    label: Callable[[float], str]
    """A value, in words: of a tick, and of a point that is pointed at."""
    name: str = ""
    """What it counts, written below; of the horizontal one only."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Points that belong together."""

    points: Sequence[tuple[float, float | None]]
    """Of rising x; None leaves a gap."""
    style: str
    """Classes of the style sheet."""
    shape: Shape = "line"
    """Areas reach down to the horizontal axis."""
    radius: float = 2.2
    """Of its dots, in the drawing's units."""
    shade: float | None = None
    """How strong its colour is, for style sheets that ask for `--shade`."""


def as_percent(share: float) -> str:
    """A share as an axis of percent labels it: "92.59 %"."""
    return f"{share * 100:.4g} %"


def draw_chart(title: str, x: Axis, y: Axis, curves: Sequence[Curve], *, width: int = 340, height: int = 190) -> str:
    """The chart as an SVG element for an HTML page.

    Args:
        title: what it shows, for those who do not see it.
        x, y: the scales; what lies beyond them is drawn at their ends.
        curves: from the lowest to the topmost.
        width, height: of the drawing; the page scales it.
    """
    chart_of_points, style = _import_pygal()
    chart = chart_of_points(
        width=width,
        height=height,
        xrange=(x.low, x.high),
        range=(y.low, y.high),
        x_labels=list(x.ticks),
        y_labels=list(y.ticks),
        x_value_formatter=x.label,
        value_formatter=y.label,
        x_title=x.name or None,
        margin=4,
        margin_right=14,
        show_legend=False,
        truncate_label=-1,
        allow_interruptions=True,
        js=[],
        css=[],
        style=style(label_font_size=_FONT, title_font_size=_FONT),
    )
    for curve in curves:
        points = [(min(max(across, x.low), x.high), _within(value, y)) for across, value in curve.points]
        if curve.shape == "area" and points:
            points = [(points[0][0], y.low), *points, (points[-1][0], y.low)]
        chart.add(
            None,
            points,
            stroke=curve.shape != "dots",
            show_dots=curve.shape in ("dots", "dotted line"),
            fill=curve.shape == "area",
            dots_size=curve.radius,
        )
    drawn = ElementTree.fromstring(_NAMESPACES.sub("", chart.render(is_unicode=True, disable_xml_declaration=True)))
    parts = []
    for group in drawn.findall("./g/g"):
        kind = group.get("class")
        if kind == "titles":
            parts += [_text(text, "tick mid") for text in group.findall("text")]
        elif kind in ("plot", "plot overlay"):
            inner = "".join([*_list_axes(group), *_list_series(group, curves)])
            parts.append(f'<g transform="{group.get("transform")}">{inner}</g>')
    head = f'<svg class="curve" viewBox="0 0 {width} {height}" role="img"><title>{markup.text(title)}</title>'
    return head + "".join(parts) + "</svg>"


def _import_pygal() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Its chart of points and its style. Imported when a chart is drawn: the command line starts without it."""
    is_new = "pygal" not in sys.modules
    from pygal import XY
    from pygal.style import Style

    if is_new:
        # It leaves a finder for maps, in a form that Python 3.11 warns of at every later import.
        sys.meta_path[:] = [finder for finder in sys.meta_path if not type(finder).__module__.startswith("pygal")]
    return XY, Style


def _within(value: float | None, axis: Axis) -> float | None:
    """The value, or the end of the axis that it lies beyond; None where there is none."""
    return None if value is None or not math.isfinite(value) else min(max(value, axis.low), axis.high)


def _list_axes(plot: Element) -> Iterator[str]:
    """Ticks, and a line across for each of the vertical axis."""
    for name, style in (("y", "tick end"), ("x", "tick mid")):
        for axis in plot.findall("./g"):
            if _classes(axis)[:2] != ["axis", name]:
                continue
            for guide in axis.findall("./g"):
                for path in guide.findall("path") if name == "y" else []:
                    yield f'<path class="rule" d="{_number(path, "d")}"/>'
                for text in guide.findall("text"):
                    yield _text(text, style)


def _list_series(plot: Element, curves: Sequence[Curve]) -> Iterator[str]:
    """Lines and areas of the plot, or dots of what lies over it."""
    for group in plot.findall("./g"):
        number = next((int(name[6:]) for name in _classes(group) if name.startswith("serie-")), None)
        if number is None:
            continue
        curve = curves[number]
        kind = "area" if curve.shape == "area" else "line"
        shade = "" if curve.shade is None else f' style="--shade:{curve.shade:.2f}"'
        for path in group.findall("path"):
            yield f'<path class="{kind} {curve.style}"{shade} d="{_number(path, "d")}"/>'
        for dot in group.findall("./g"):
            for circle in dot.findall("circle"):
                places = " ".join(f'{name}="{_number(circle, name)}"' for name in ("cx", "cy", "r"))
                says = "".join(desc.text or "" for desc in dot.findall("desc") if desc.get("class") == "value")
                yield f'<circle class="dot {curve.style}" {places}><title>{markup.text(says)}</title></circle>'


def _text(element: Element, style: str) -> str:
    places = f'x="{_number(element, "x")}" y="{_number(element, "y")}"'
    return f'<text class="{style}" {places}>{markup.text(element.text or "")}</text>'


def _number(element: Element, name: str) -> str:
    """An attribute of coordinates, with one digit of a unit."""
    return _LONG.sub(lambda found: f"{float(found[0]):.1f}", element.get(name, ""))


def _classes(element: Element) -> list[str]:
    return element.get("class", "").split()

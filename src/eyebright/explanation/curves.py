"""Deletion and insertion as a small chart. No torch here."""

from __future__ import annotations

from eyebright.explanation.attribution import Faithfulness
from eyebright.page.chart import Axis, Curve, as_percent, draw_chart


def render_faithfulness(faithfulness: Faithfulness) -> str:
    """The class's probability while the image is covered (deletion) and uncovered (insertion), as SVG."""
    ways = {
        "way deletion random": faithfulness.random_deletion,
        "way insertion random": faithfulness.random_insertion,
        "way deletion": faithfulness.deletion,
        "way insertion": faithfulness.insertion,
    }
    curves = [
        Curve(points=list(zip(faithfulness.fractions, values, strict=True)), style=style)
        for style, values in ways.items()
    ]
    return draw_chart(
        "The class's probability as the image is covered and uncovered in the map's order",
        Axis(low=0.0, high=1.0, ticks=(0.0, 0.5, 1.0), label=as_percent, name="of the image"),
        Axis(low=0.0, high=1.0, ticks=(0.0, 0.5, 1.0), label=as_percent),
        curves,
        width=250,
        height=140,
    )

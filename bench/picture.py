"""Bars side by side as a drawing: images a second from file to label, of several networks. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eyebright.drawing.scene import Outline, Part, Scene, Text, line, rectangle
from eyebright.page.markup import rate

WIDTH, MARGIN, LABELS = 760.0, 24.0, 210.0
ROW, BAR = 26.0, 16.0
FULL = WIDTH - 2 * MARGIN - LABELS - 130  # of the longest bar; the number stands behind it


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One way, with its quartiles."""

    name: str
    low: float
    median: float
    high: float
    times: float | None = None
    """How many times the plain way it is, round by round; None for the plain way itself."""


def draw_bars(title: str, groups: Sequence[tuple[str, Sequence[Bar]]], note: str) -> Scene:
    """Groups of horizontal bars, each group with a scale of its own that begins at zero.

    Args:
        title: above all of it.
        groups: a heading and its bars.
        note: below: what was measured where, and when.
    """
    parts: list[Part] = [Text(MARGIN, 34, title, 17, is_bold=True)]
    y = 56.0
    for heading, bars in groups:
        parts.append(Text(MARGIN, y + 16, heading, 13, "quiet"))
        y += 28
        parts.append(line("rule", (MARGIN + LABELS, y), (MARGIN + LABELS, y + ROW * len(bars))))
        most = max(bar.high for bar in bars)
        for bar in bars:
            parts += _draw_bar(bar, y, FULL / most)
            y += ROW
        y += 16
    parts.append(Text(MARGIN, y + 6, note, 11, "quiet"))
    words = "; ".join(
        f"{heading}: " + ", ".join(f"{b.name} {rate(b.median)}" for b in bars) for heading, bars in groups
    )
    return Scene(width=WIDTH, height=y + 22, title=title, description=words, parts=tuple(parts))


def _draw_bar(bar: Bar, y: float, scale: float) -> list[Outline | Text]:
    """The bar to the median, a line between the quartiles, the number, and how many times the plain way it is."""
    left, middle = MARGIN + LABELS, y + ROW / 2
    end = left + scale * bar.high
    times = "" if bar.times is None else f"  ({bar.times:.1f} times)"
    return [
        Text(left - 10, middle + 4, bar.name, 12, anchor="end"),
        rectangle(
            "quiet" if bar.times is None else "accent", left, middle - BAR / 2, scale * bar.median, BAR, radius=2
        ),
        line("strong-rule", (left + scale * bar.low, middle), (end, middle)),
        Text(end + 8, middle + 4, f"{rate(bar.median)}{times}", 12, is_bold=bar.times is not None),
    ]

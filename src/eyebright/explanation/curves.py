"""Deletion and insertion as a small drawing, coloured by the page's style sheet. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from eyebright.explanation.attribution import Faithfulness

_WIDTH, _HEIGHT = 300, 132
_LEFT, _RIGHT, _TOP, _BOTTOM = 36, 8, 8, 30


def render_faithfulness(faithfulness: Faithfulness) -> str:
    """The class's probability while the image is covered (deletion) and uncovered (insertion), as SVG."""
    parts = [
        f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        "<title>The class's probability as the image is covered and uncovered in the map's order</title>"
    ]
    for tick in (0, 0.5, 1):
        y = _height(tick)
        parts.append(f'<path class="rule" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{y + 3.5:.1f}">{100 * tick:.0f}&#160;%</text>')
    for share, style in ((0.0, ""), (0.5, " mid"), (1.0, " end")):
        x = _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
        words = f"{100 * share:.0f}&#160;% of the image" if share == 0.5 else f"{100 * share:.0f}&#160;%"
        parts.append(f'<text class="tick{style}" x="{x:.0f}" y="{_HEIGHT - 10}">{words}</text>')
    for style, curve in (
        ("deletion random", faithfulness.random_deletion),
        ("insertion random", faithfulness.random_insertion),
        ("deletion", faithfulness.deletion),
        ("insertion", faithfulness.insertion),
    ):
        parts.append(f'<path class="way {style}" d="{_path(faithfulness.fractions, curve)}"/>')
    parts.append("</svg>")
    return "".join(parts)


def _path(fractions: Sequence[float], curve: Sequence[float]) -> str:
    points = (
        f"{_LEFT + x * (_WIDTH - _LEFT - _RIGHT):.1f} {_height(y):.1f}" for x, y in zip(fractions, curve, strict=True)
    )
    return "M" + "L".join(points)


def _height(share: float) -> float:
    return _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)

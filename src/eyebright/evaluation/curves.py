"""Learning curves as small inline SVG drawings, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eyebright.evaluation.facts import CurvePoint, NetworkFacts
from eyebright.evaluation.report import percent
from eyebright.page import markup

_WIDTH, _HEIGHT = 340, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 14, 40


@dataclass(frozen=True)
class _Line:
    style: str
    """A class of the style sheet: "train" or "val"."""
    values: tuple[float | None, ...]
    """One per x; a gap where there is none."""


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    ticks: tuple[float, ...]
    label: Callable[[float], str]

    def place(self, value: float) -> float:
        """The height in the drawing at which a value stands."""
        share = (value - self.low) / (self.high - self.low)
        return _TOP + (1 - min(1.0, max(0.0, share))) * (_HEIGHT - _TOP - _BOTTOM)


def render_curves(contestants: Sequence[NetworkFacts]) -> str:
    """One card per contestant: validation accuracy, and the losses below it. Accuracy axes are shared."""
    accuracies = [p.val_accuracy for c in contestants for p in c.curve if _known(p.val_accuracy)]
    axis = _accuracy_axis([a for a in accuracies if a is not None])
    return '<div class="cards">' + "".join(_card(c, axis) for c in contestants) + "</div>"


def render_rate_curve(title: str, rates: Sequence[float], losses: Sequence[float], marked: int | None) -> str:
    """The loss at each of some learning rates that rise by equal factors, one of them marked; an SVG drawing."""
    rounded = [float(f"{rate:.0e}") for rate in rates]
    points = [CurvePoint(x=rate, train_loss=None, val_loss=None, val_accuracy=None) for rate in rounded]
    return _drawing(title, points, "learning rate", False, _loss_axis(losses), [_Line("val", tuple(losses))], marked)


def kept_point(points: Sequence[CurvePoint]) -> int | None:
    """The index of what was kept; in older reports, which do not tell, of the lowest validation loss."""
    kept = [i for i, point in enumerate(points) if point.kept]
    if kept:
        return kept[-1]
    losses = {i: p.val_loss for i, p in enumerate(points) if p.val_loss is not None and math.isfinite(p.val_loss)}
    return min(losses, key=losses.__getitem__) if losses else None


def _card(contestant: NetworkFacts, accuracy_axis: _Axis) -> str:
    title = f"<h3>{markup.text(contestant.title)}</h3>"
    points = contestant.curve
    if contestant.curve_kind == "regularisation":
        points = tuple(sorted(points, key=lambda point: point.x))
        what = "A linear head on a frozen backbone, fitted once for each strength of regularisation."
        x_name = "L2 strength tried"
    else:
        count = markup.plural(sum(point.x > 0 for point in points), "epoch")  # 0: before the first
        what = f"Trained for {count}." if points else ""
        x_name = "epoch"
    if not points:
        return f'<article class="card">{title}<p class="quiet">No learning curve was kept.</p></article>'
    kept = kept_point(points)
    accuracy = _drawing(
        f"Validation accuracy of {contestant.title} by {x_name}",
        points,
        x_name,
        contestant.curve_kind == "epochs",
        accuracy_axis,
        [_Line("val", tuple(p.val_accuracy for p in points))],
        kept,
    )
    lines = [_Line("train", tuple(p.train_loss for p in points)), _Line("val", tuple(p.val_loss for p in points))]
    losses = [value for line in lines for value in line.values if value is not None and math.isfinite(value)]
    loss = _drawing(
        f"Training and validation loss of {contestant.title} by {x_name}",
        points,
        x_name,
        contestant.curve_kind == "epochs",
        _loss_axis(losses),
        lines,
        kept,
    )
    told = ""
    if kept is not None:
        at = f"epoch {_short(points[kept].x)}" if x_name == "epoch" else f"strength {_short(points[kept].x)}"
        value = points[kept].val_accuracy
        told = f", {at} kept" + ("" if value is None or not math.isfinite(value) else f": {percent(value)}")
    keys = '<span class="key train">training</span> <span class="key val">validation</span>'
    return (
        f'<article class="card">{title}<p class="quiet">{what}</p>'
        f'<div class="charts"><figure><figcaption>Validation accuracy{told}</figcaption>{accuracy}</figure>'
        f"<figure><figcaption>Loss {keys}</figcaption>{loss}</figure></div></article>"
    )


def _drawing(
    title: str,
    points: Sequence[CurvePoint],
    x_name: str,
    to_scale: bool,
    axis: _Axis,
    lines: Sequence[_Line],
    marked: int | None,
) -> str:
    """An SVG drawing; `to_scale` places x by its value, otherwise evenly, one after the other."""
    xs = _places([p.x for p in points] if to_scale else [float(i) for i in range(len(points))])
    parts = [f'<svg class="curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{markup.text(title)}</title>']
    for tick in axis.ticks:
        y = axis.place(tick)
        parts.append(f'<path class="rule" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{y + 3.5:.1f}">{markup.text(axis.label(tick))}</text>')
    for i in _spread(len(points), 7):
        label = markup.text(_short(points[i].x))
        parts.append(f'<text class="tick mid" x="{xs[i]:.1f}" y="{_HEIGHT - _BOTTOM + 15}">{label}</text>')
    parts.append(
        f'<text class="tick mid" x="{(_LEFT + _WIDTH - _RIGHT) / 2:.1f}" y="{_HEIGHT - 6}">{markup.text(x_name)}</text>'
    )
    for line in lines:
        parts.append(_stroke(line, xs, axis))
    if marked is not None:
        value = lines[-1].values[marked]
        if value is not None and math.isfinite(value):
            parts.append(f'<circle class="mark" cx="{xs[marked]:.1f}" cy="{axis.place(value):.1f}" r="4.5"/>')
    return "".join(parts) + "</svg>"


def _stroke(line: _Line, xs: Sequence[float], axis: _Axis) -> str:
    """One line with gaps where values are missing; points are dotted where there are few."""
    path, pen_down, dots = [], False, []
    known = sum(1 for value in line.values if _known(value))
    for x, value in zip(xs, line.values, strict=True):
        if value is None or not math.isfinite(value):
            pen_down = False
            continue
        y = axis.place(value)
        path.append(f"{'L' if pen_down else 'M'}{x:.1f} {y:.1f}")
        pen_down = True
        if known <= 12:
            dots.append(f'<circle class="dot {line.style}" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>')
    if not path:
        return ""
    return f'<path class="line {line.style}" d="{"".join(path)}"/>{"".join(dots)}'


def _places(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    inner = _WIDTH - _LEFT - _RIGHT - 16
    if high == low:
        return [_LEFT + 8 + inner / 2] * len(values)
    return [_LEFT + 8 + inner * (value - low) / (high - low) for value in values]


def _spread(count: int, most: int) -> list[int]:
    """At most so many indices, evenly stepped from the first."""
    step = max(1, math.ceil(count / most))
    return list(range(0, count, step))


def _accuracy_axis(values: Sequence[float]) -> _Axis:
    low = min(values, default=0.0)
    step = 0.02 if low >= 0.93 else 0.05 if low >= 0.8 else 0.1 if low >= 0.55 else 0.2
    # Down to the next tick below the lowest value; a hair lower, so that a point on a tick is not cut.
    start = round(max(0.0, math.floor((low - 1e-9) / step) * step), 2)
    count = round((1 - start) / step)
    ticks = tuple(round(1 - i * step, 2) for i in range(count + 1))
    return _Axis(min(start, ticks[-1]), 1.0, ticks, lambda share: f"{share * 100:.0f} %")


def _loss_axis(values: Sequence[float]) -> _Axis:
    top = max([*values, 1e-6])
    raw = top / 3
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(m * scale for m in (1, 2, 2.5, 5, 10) if m * scale >= raw)
    ticks = tuple(i * step for i in range(math.ceil(top / step - 1e-9) + 1))
    return _Axis(0.0, ticks[-1], ticks, lambda loss: f"{loss:.6g}")


def _short(value: float) -> str:
    """ "3", "0.001", "1e-6"."""
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)

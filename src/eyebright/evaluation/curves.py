"""Learning curves as charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from eyebright.evaluation.facts import CurvePoint, NetworkFacts
from eyebright.evaluation.report import percent
from eyebright.page import markup
from eyebright.page.chart import Axis, Curve, as_percent, draw_chart

_FEW = 12
"""Up to so many points are dotted."""
_MANY = 200
_LABELS = 7


def render_curves(contestants: Sequence[NetworkFacts]) -> str:
    """One card per contestant: validation accuracy, and the losses below it. Accuracy axes are shared."""
    accuracies = [p.val_accuracy for c in contestants for p in c.curve if _known(p.val_accuracy)]
    axis = _accuracy_axis([a for a in accuracies if a is not None])
    return '<div class="cards">' + "".join(_card(c, axis) for c in contestants) + "</div>"


def render_rate_curve(title: str, rates: Sequence[float], losses: Sequence[float], marked: int | None) -> str:
    """The loss at each of some learning rates that rise by equal factors, one of them marked; an SVG drawing."""
    rounded = [float(f"{rate:.0e}") for rate in rates]
    points = [
        CurvePoint(x=rate, train_loss=None, val_loss=loss, val_accuracy=None)
        for rate, loss in zip(rounded, losses, strict=True)
    ]
    return _draw(title, points, "learning rate", False, _loss_axis(losses), {"val": losses}, marked)


def kept_point(points: Sequence[CurvePoint]) -> int | None:
    """The index of what was kept; in older reports, which do not tell, of the lowest validation loss."""
    kept = [i for i, point in enumerate(points) if point.kept]
    if kept:
        return kept[-1]
    losses = {i: p.val_loss for i, p in enumerate(points) if p.val_loss is not None and math.isfinite(p.val_loss)}
    return min(losses, key=losses.__getitem__) if losses else None


def _card(contestant: NetworkFacts, accuracy_axis: Axis) -> str:
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
    to_scale = contestant.curve_kind == "epochs"
    accuracy = _draw(
        f"Validation accuracy of {contestant.title} by {x_name}",
        points,
        x_name,
        to_scale,
        accuracy_axis,
        {"val": [point.val_accuracy for point in points]},
        kept,
    )
    lines = {"train": [point.train_loss for point in points], "val": [point.val_loss for point in points]}
    losses = [value for line in lines.values() for value in line if value is not None and math.isfinite(value)]
    loss = _draw(
        f"Training and validation loss of {contestant.title} by {x_name}",
        points,
        x_name,
        to_scale,
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


def _draw(
    title: str,
    points: Sequence[CurvePoint],
    x_name: str,
    to_scale: bool,
    y: Axis,
    lines: Mapping[str, Sequence[float | None]],
    marked: int | None,
) -> str:
    """A chart; `to_scale` places points by their x, otherwise evenly, one after the other.

    Args:
        lines: by class of the style sheet, one value for each point.
        marked: which point of the last line gets a ring.
    """
    xs = [point.x for point in points] if to_scale else [float(i) for i in range(len(points))]
    names = dict(zip(xs, (_short(point.x) for point in points), strict=True))
    room = 0.03 * (xs[-1] - xs[0]) or 1.0  # beside the first and the last
    x = Axis(
        low=xs[0] - room,
        high=xs[-1] + room,
        ticks=[xs[i] for i in _spread(len(points), _LABELS)],
        label=lambda value: names.get(value, _short(value)),
        name=x_name,
    )
    curves = []
    for style, values in lines.items():
        few = sum(map(_known, values)) <= _FEW
        # Dots that are not seen still tell their value where they are pointed at.
        curves.append(
            Curve(
                points=list(zip(xs, values, strict=True)),
                style=style if few else f"{style} unseen",
                shape="dotted line" if len(points) <= _MANY else "line",
                radius=2.2 if few else 4,
            )
        )
        if marked is not None and style == list(lines)[-1]:
            curves.append(Curve(points=[(xs[marked], values[marked])], style="mark", shape="dots", radius=4.5))
    return draw_chart(title, x, y, curves)


def _spread(count: int, most: int) -> list[int]:
    """At most so many indices, evenly stepped from the first."""
    step = max(1, math.ceil(count / most))
    return list(range(0, count, step))


def _accuracy_axis(values: Sequence[float]) -> Axis:
    low = min(values, default=0.0)
    step = 0.02 if low >= 0.93 else 0.05 if low >= 0.8 else 0.1 if low >= 0.55 else 0.2
    # Down to the next tick below the lowest value; a hair lower, so that a point on a tick is not cut.
    start = round(max(0.0, math.floor((low - 1e-9) / step) * step), 2)
    count = round((1 - start) / step)
    ticks = tuple(round(1 - i * step, 2) for i in range(count + 1))
    return Axis(low=min(start, ticks[-1]), high=1.0, ticks=ticks, label=as_percent)


def _loss_axis(values: Sequence[float]) -> Axis:
    top = max([*values, 1e-6])
    raw = top / 3
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(m * scale for m in (1, 2, 2.5, 5, 10) if m * scale >= raw)
    ticks = tuple(i * step for i in range(math.ceil(top / step - 1e-9) + 1))
    return Axis(low=0.0, high=ticks[-1], ticks=ticks, label=lambda loss: f"{loss:.4g}")


def _short(value: float) -> str:
    """ "3", "0.001", "1e-6"."""
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)

"""Parts of the atlas's pages: numbers as tables, curves, bars, claims. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyebright.drawing.scene import Scene
from eyebright.drawing.svg import write_svg
from eyebright.lessons.words import Claim
from eyebright.page import markup
from eyebright.page.chart import Axis, Curve, as_percent, draw_chart

_WIDTH, _HEIGHT = 460, 250


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve of a chart."""

    name: str
    style: str
    """A class of the style sheet."""
    values: tuple[float, ...]
    """One for each epoch."""


def spell(value: float, digits: int = 2) -> str:
    """A number with a true minus; never "-0.00"."""
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−")


def number_grid(values: NDArray[np.float32] | NDArray[np.uint8], caption: str, *, digits: int = 2) -> str:
    """(H, W) numbers as a small table, each cell shaded by how large its value is, violet above zero, orange below."""
    strongest = float(np.abs(values).max()) or 1.0
    rows = []
    for row in values:
        cells = []
        for value in row:
            kind = "below" if value < 0 else "above"
            shade = abs(float(value)) / strongest
            cells.append(f'<td class="{kind}" style="--shade:{shade:.2f}">{spell(float(value), digits)}</td>')
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="grid"><caption>{caption}</caption><tbody>{"".join(rows)}</tbody></table>'


def unit_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text; the first cell is the row's name, the others are numbers."""
    head = "".join(
        f'<th scope="col"{_number(column)}>{markup.text(heading)}</th>' for column, heading in enumerate(headings)
    )
    body = []
    for first, *rest in rows:
        cells = "".join(f'<td class="number">{markup.text(cell)}</td>' for cell in rest)
        body.append(f'<tr><th scope="row">{markup.text(first)}</th>{cells}</tr>')
    table = f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{"".join(body)}</tbody></table>'
    return markup.scroll_box(headings[0], table)


def _number(column: int) -> str:
    return ' class="number"' if column else ""


def bars(names: Sequence[str], shares: Sequence[float]) -> str:
    """Names with shares in [0, 1] and a bar each."""
    items = "".join(
        f"<li><span>{markup.name(name)}</span><b>{markup.text(f'{100 * share:.1f} %')}</b>"
        f'<i style="width:{max(0.5, 100 * share):.1f}%"></i></li>'
        for name, share in zip(names, shares, strict=True)
    )
    return f'<ol class="answers">{items}</ol>'


def claims(said: Sequence[Claim]) -> str:
    """What is often told, what is so, and where that stands."""
    items = "".join(
        f'<article class="card claim"><p class="heard"><span>Often told</span> “{markup.text(claim.heard)}”</p>'
        f"<p>{markup.text(claim.fact)}</p>"
        f'<p class="quiet">Source: {markup.text(claim.source)}.</p></article>'
        for claim in said
    )
    return f'<section><h2>Often told otherwise</h2><div class="cards middle">{items}</div></section>'


def drawing(scene: Scene) -> str:
    """A drawing in a box that scrolls where the page is narrow."""
    box = markup.scroll_box(scene.title, write_svg(scene))
    return f'<div class="canvas" style="--natural:{scene.width:.0f}px">{box}</div>'


def chart(title: str, lines: Sequence[Line], *, top: float, ticks: Sequence[float], is_percent: bool = False) -> str:
    """Curves over epochs, coloured by the style sheet; values above `top` are drawn at it."""
    epochs = len(lines[0].values)
    return draw_chart(
        title,
        Axis(
            low=1.0,
            high=max(2.0, float(epochs)),
            ticks=[float(epoch) for epoch in range(1, epochs + 1, max(1, epochs // 5))],
            label=lambda epoch: f"{epoch:g}",
            name="epoch",
        ),
        Axis(
            low=0.0,
            high=top,
            ticks=ticks,
            label=as_percent if is_percent else "{:.3g}".format,
        ),
        [
            Curve(
                points=[(float(epoch), value) for epoch, value in enumerate(line.values, start=1)],
                style=f"{line.style} unseen",
                shape="dotted line",
                radius=4,
            )
            for line in lines
        ],
        width=_WIDTH,
        height=_HEIGHT,
    )


def chart_keys(lines: Sequence[Line]) -> str:
    keys = "".join(f'<span class="key {line.style}">{markup.text(line.name)}</span>' for line in lines)
    return f'<p class="legend">{keys}</p>'

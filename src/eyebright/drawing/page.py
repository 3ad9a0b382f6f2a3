"""The drawings as one HTML page: layers to point at, zoom, and an image on its way through. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from eyebright.drawing.activations import Activation
from eyebright.drawing.scene import Scene
from eyebright.drawing.summary import Summary, operation_cells
from eyebright.drawing.svg import write_svg
from eyebright.page import markup
from eyebright.page.document import build_page
from eyebright.page.thumbnail import thumbnail


@dataclass(frozen=True, kw_only=True)
class Flowing:
    """An image on its way through the network."""

    name: str
    """What the user calls the image."""
    image: NDArray[np.uint8]
    """(S, S, 3), as the network sees it."""
    activations: Mapping[str, Activation]
    """By the key of the layer, stage or block, in the order of computation."""
    answers: tuple[tuple[str, float], ...]
    """The likeliest classes with their probabilities in [0, 1]; empty where the network gives none."""
    weights: str
    """Where the weights are from."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class View:
    """One picture of the page."""

    title: str
    about: str
    scene: Scene


def render_drawing(
    summary: Summary,
    views: Sequence[View],
    *,
    sentence: str = "",
    flowing: Flowing | None = None,
    stages: Sequence[str],
) -> str:
    """The page as HTML, to be written as UTF-8.

    Args:
        summary: the network in numbers.
        views: its pictures, the most important first.
        sentence: what the network is, in one sentence.
        flowing: an image on its way through.
        stages: keys of `flowing.activations` that get a card of their own, in order.
    """
    style, script = (
        resources.files("eyebright.drawing").joinpath(f"page.{kind}").read_text(encoding="utf-8")
        for kind in ("css", "js")
    )
    sections = [_view(number, view) for number, view in enumerate(views)]
    if flowing is not None:
        sections.insert(1, _flowing(flowing, stages))
    sections.append(_layers(summary))
    body = (
        f'<main><header><p class="kicker">How it is built</p><h1>{markup.text(summary.title)}</h1>'
        f'<p class="lead">{markup.text(sentence or summary.facts)}</p>{_facts(summary)}</header>'
        f'<div id="tabs" hidden></div>{"".join(sections)}</main>'
        '<aside id="about" aria-live="polite" hidden></aside>'
        f"{_pictures(flowing)}"
    )
    return build_page(f"{summary.title}: how it is built", body, style=style, script=script)


def _facts(summary: Summary) -> str:
    said = [
        f"{summary.parameters:,} parameters",
        f"{summary.multiply_adds:,} multiply-adds for one input",
        f"{markup.size(summary.size_bytes)} for all results of one input",
    ]
    return '<ul class="facts">' + "".join(f"<li>{markup.text(words)}</li>" for words in said) + "</ul>"


def _view(number: int, view: View) -> str:
    drawing = write_svg(view.scene, inside_page=True)
    buttons = "".join(
        f'<button type="button" data-zoom="{step}" aria-label="{label}">{sign}</button>'
        for step, label, sign in (("-1", "smaller", "−"), ("0", "as wide as the page", "fit"), ("1", "larger", "+"))
    )
    return (
        f'<section class="view" id="view{number}" data-title="{markup.text(view.title)}">'
        f"<h2>{markup.text(view.title)}</h2>"
        f'<p class="quiet">{markup.text(view.about)}</p><div class="zoom" hidden>{buttons}</div>'
        '<div class="scroll canvas" role="region" tabindex="0" '
        f'aria-label="{markup.text(view.scene.title)}">{drawing}</div></section>'
    )


def _flowing(flowing: Flowing, stages: Sequence[str]) -> str:
    image = thumbnail(flowing.image, flowing.name, side=224)
    answers = "".join(
        f"<li><span>{markup.name(name)}</span><b>{100 * share:.1f}&#160;%</b>"
        f'<i style="width:{max(0.5, 100 * share):.1f}%"></i></li>'
        for name, share in flowing.answers
    )
    cards = "".join(
        f'<figure class="card"><h3>{markup.text(found.title)}</h3><img src="{found.picture}" width="{found.width}" '
        f'height="{found.height}" alt="{markup.text(found.caption)}">'
        f"<figcaption>{markup.text(found.caption)}</figcaption></figure>"
        for key in stages
        if (found := flowing.activations.get(key)) is not None
    )
    note = f'<p class="quiet">{markup.text(flowing.note)}</p>' if flowing.note else ""
    said = f'<h3>What it answers</h3><ol class="answers">{answers}</ol>' if answers else ""
    return (
        '<section class="view" id="flowing" data-title="An image on its way"><h2>An image on its way through</h2>'
        f'<p class="quiet">What each layer answers to {markup.name(flowing.name)}, computed with '
        f"{markup.text(flowing.weights)}. Each channel is coloured from its lowest value (dark) to its highest "
        f'(light); channels that answer strongest come first.</p>{note}<div class="river">'
        f'<figure class="card"><h3>the image</h3>{image}'
        f"<figcaption>as the network sees it</figcaption></figure>{cards}"
        f"{f'<div class=card>{said}</div>' if said else ''}</div></section>"
    )


def _layers(summary: Summary) -> str:
    headings, rows, totals = operation_cells(summary)
    head = "".join(f'<th{_number(column)} scope="col">{markup.text(h)}</th>' for column, h in enumerate(headings))
    lines = []
    for row in (*rows, totals):
        first, *rest = row
        cells = "".join(f"<td{_number(column + 1)}>{markup.text(text)}</td>" for column, text in enumerate(rest))
        lines.append(f'<tr><th scope="row">{markup.text(first)}</th>{cells}</tr>')
    table = f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    return (
        '<section class="view" id="layers" data-title="Every layer"><h2>Every layer in numbers</h2>'
        '<p class="quiet">Shapes are height x width x channels. Memory is that of the results for one input. '
        "A value of a layer sees a square of so many input pixels, its receptive field.</p>"
        f"{markup.scroll_box('Every layer in numbers', table)}</section>"
    )


def _number(column: int) -> str:
    return ' class="number"' if column >= 3 else ""


def _pictures(flowing: Flowing | None) -> str:
    """The activations that the panel shows beside a layer's words, kept out of sight."""
    if flowing is None:
        return ""
    images = "".join(
        f'<img data-for="{markup.text(key)}" src="{found.picture}" width="{found.width}" height="{found.height}" '
        f'alt="{markup.text(found.caption)}">'
        for key, found in flowing.activations.items()
    )
    return f'<div id="pictures" hidden>{images}</div>'

"""Explanations as one HTML page. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.explanation.attribution import TITLES, Attribution, Explanation, Faithfulness, JudgedMap, Method
from eyebright.explanation.curves import render_faithfulness
from eyebright.explanation.overlay import tint
from eyebright.metrics import mean_interval
from eyebright.page import markup
from eyebright.page.document import build_page
from eyebright.page.thumbnail import data_uri, is_tiny, shrink, thumbnail

SIDE = 224
"""Of a picture in CSS pixels."""
_TINT_SIDE = 56  # maps are smooth: the browser enlarges them again
_NEXT = 2
_NUMBER = ' class="number"'


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was asked."""

    run: str
    network: str
    layer: str
    """The layer of Grad-CAM's maps, in words."""
    command: str = ""
    notes: tuple[str, ...] = ()


def render_explanations(explanations: Sequence[Explanation], subject: Subject) -> str:
    """The page as HTML, to be written as UTF-8."""
    style, script = (
        resources.files("eyebright.explanation").joinpath(f"page.{kind}").read_text(encoding="utf-8")
        for kind in ("css", "js")
    )
    readable = [found for found in explanations if found.image is not None]
    unreadable = [found for found in explanations if found.image is None]
    backgrounds = "".join(
        f".seen{number}{{background-image:url({_encode(found.image)})}}"
        for number, found in enumerate(readable)
        if found.image is not None
    )
    title = _title(explanations)
    body = (
        f'<main><header><p class="kicker">Eyebright explain</p><h1>{title}</h1>{_lead(readable, subject)}'
        f"{_facts(explanations, subject)}</header>{_notes(subject, unreadable)}{_desk(readable)}"
        f"{_overview(readable)}{''.join(_article(number, found) for number, found in enumerate(readable))}"
        f"{_reading(subject)}</main>"
    )
    one = explanations[0] if len(explanations) == 1 else None
    plain = "Why these answers" if one is None else f"{_question(one)} {one.label or 'no answer'}"
    return build_page(f"{plain} – {subject.run}", body, style=style + backgrounds, script=script)


def _title(explanations: Sequence[Explanation]) -> str:
    if len(explanations) == 1 and explanations[0].image is not None:
        return f"{_question(explanations[0])} {markup.name(explanations[0].label)}?"
    return f"Why these answers? {markup.plural(len(explanations), 'image')}"


def _question(found: Explanation) -> str:
    """What is asked about the explained class, which need not be an answer."""
    return "Why" if found.image is None or found.label in found.prediction.labels else "What speaks for"


def _lead(readable: Sequence[Explanation], subject: Subject) -> str:
    drawn = any(judged.attribution.layer for found in readable for judged in found.maps)
    layer = f" The maps are drawn from {markup.text(subject.layer)}." if drawn else ""
    return (
        '<p class="lead">Bright parts of a map speak for the class it explains. Beside every map stands how '
        f"faithful it is, measured on the network itself and against random maps.{layer}</p>"
    )


def _facts(explanations: Sequence[Explanation], subject: Subject) -> str:
    facts = [
        f"<li>{markup.name(subject.run)}</li>",
        f"<li>{markup.text(subject.network)}</li>",
        f"<li>{markup.plural(len(explanations), 'image')}</li>",
    ]
    return f'<ul class="facts">{"".join(facts)}</ul>'


def _notes(subject: Subject, unreadable: Sequence[Explanation]) -> str:
    said = [markup.text(note) for note in subject.notes]
    said += [f"{markup.name(found.name)}: {markup.text(found.prediction.error or '')}" for found in unreadable]
    if not said:
        return ""
    items = "".join(f"<li>{words}</li>" for words in said)
    return f'<aside class="notes"><h2>Good to know</h2><ul>{items}</ul></aside>'


def _desk(readable: Sequence[Explanation]) -> str:
    if not readable:
        return ""
    return (
        '<div id="desk" hidden><label for="strength">Strength of the maps</label>'
        '<input id="strength" type="range" min="0" max="100" value="100"></div>'
    )


def _overview(readable: Sequence[Explanation]) -> str:
    """Over all images: is each kind of map better than a random one?"""
    if len(readable) < 2:
        return ""
    methods: dict[Method, list[Faithfulness]] = {}
    for found in readable:
        for judged in found.maps:
            methods.setdefault(judged.attribution.method, []).append(judged.faithfulness)
    rows = "".join(_overview_row(TITLES[method], measured) for method, measured in methods.items())
    head = "".join(
        f'<th scope="col"{kind}>{title}</th>'
        for title, kind in (
            ("method", ""),
            ("insertion − deletion", _NUMBER),
            ("random maps", _NUMBER),
            ("difference (95&#160;% interval)", _NUMBER),
            ("verdict", ""),
        )
    )
    table = f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    links = "".join(
        f'<li><a href="#image{number}"><span class="seen seen{number}{_tiny(found)}"></span>'
        f"<span>{markup.name(markup.end_of_place(found.name))}"
        f"<small>{markup.name(found.label)} {_percent(found)}</small></span></a></li>"
        for number, found in enumerate(readable)
    )
    return (
        f'<section aria-labelledby="all"><h2 id="all">Are the maps to be trusted?</h2>'
        f'{markup.scroll_box("Faithfulness of each method", table)}<ul class="index">{links}</ul></section>'
    )


def _overview_row(title: str, measured: Sequence[Faithfulness]) -> str:
    """One method over all images: its mean, that of random maps, and whether the difference may be chance."""
    score = sum(found.score for found in measured) / len(measured)
    random = sum(found.random_score for found in measured) / len(measured)
    low, high = mean_interval([found.score - found.random_score for found in measured])
    verdict = "better than random"
    if low <= 0:
        verdict = "<strong>can't be told from random</strong>" if high >= 0 else "<strong>worse than random</strong>"
    return (
        f'<tr><th scope="row">{title}</th><td class="number">{score:.2f}</td><td class="number">{random:.2f}</td>'
        f'<td class="number">{score - random:.2f} ({low:.2f} to {high:.2f})</td><td>{verdict}</td></tr>'
    )


def _article(number: int, found: Explanation) -> str:
    probabilities = found.prediction.top(_NEXT + 1)
    following = ", ".join(
        f"{markup.name(name)} {100 * share:.1f}&#160;%" for name, share in probabilities if name != found.label
    )
    figures = [
        f'<figure class="card"><h3>What it sees</h3><div class="seen seen{number}{_tiny(found)}" role="img" '
        f'aria-label="{markup.text(markup.end_of_place(found.name))}"></div><figcaption>{markup.name(found.label)} '
        f"<b>{_percent(found)}</b>{_standing(found)}<br>{following and f'then {following}'}</figcaption></figure>"
    ]
    figures += [_map(number, found, judged) for judged in found.maps]
    if found.contrast is not None:
        figures.append(_contrast(number, found, found.contrast))
    return (
        f'<section id="image{number}" class="image"><h2>{markup.name(markup.end_of_place(found.name))}</h2>'
        f'<div class="maps">{"".join(figures)}</div>{_similar(found)}</section>'
    )


def _standing(found: Explanation) -> str:
    """Why this class is explained, where it is not an answer."""
    prediction = found.prediction
    if found.label in prediction.labels:
        return ""
    if not prediction.labels and found.label == next(iter(prediction.probabilities)):
        return " (none of the classes is likely enough; the likeliest is explained)"
    return " (asked for; not its answer)"


def _map(number: int, found: Explanation, judged: JudgedMap) -> str:
    attribution = judged.attribution
    where = f"{attribution.layer}, {attribution.grid[0]} x {attribution.grid[1]}" if attribution.layer else ""
    subtitle = f" <small>{markup.text(where)}</small>" if where else ""
    return (
        f'<figure class="card"><h3>{TITLES[attribution.method]}{subtitle}</h3>{_stack(number, found, attribution)}'
        f"<figcaption>{faithfulness_in_words(judged.faithfulness, attribution.label)}</figcaption>"
        f"{render_faithfulness(judged.faithfulness)}"
        '<p class="legend"><span class="key insertion">uncovered</span> <span class="key deletion">covered</span> '
        '<span class="key random">random maps</span></p></figure>'
    )


def faithfulness_in_words(found: Faithfulness, label: str) -> str:
    """What covering the brightest quarter does, as HTML."""
    quarter = next(place for place, share in enumerate(found.fractions) if share >= 0.25)
    lowest, highest = min(found.random_scores), max(found.random_scores)
    verdict = "<strong>no better</strong> than the best"
    if not lowest <= found.score <= highest:
        verdict = "better than each" if found.score > highest else "<strong>worse</strong> than each"
    return (
        f"Covering its brightest {100 * found.fractions[quarter]:.0f}&#160;% takes {markup.name(label)} from "
        f"{100 * found.deletion[0]:.0f} to <b>{100 * found.deletion[quarter]:.0f}&#160;%</b>; covering as much at "
        f"random, to {100 * found.random_deletion[quarter]:.0f}&#160;%. Insertion − deletion: "
        f"<b>{found.score:.2f}</b>, {verdict} of {markup.plural(len(found.random_scores), 'random map')} "
        f"({lowest:.2f} to {highest:.2f})."
    )


def _contrast(number: int, found: Explanation, contrast: Attribution) -> str:
    label, against = markup.name(contrast.label), markup.name(contrast.against or "")
    is_answer = contrast.against in found.prediction.labels
    title = f"{label} rather than {against}?" if is_answer else f"Why not {against}?"
    return (
        f'<figure class="card"><h3>{title}</h3>{_stack(number, found, contrast)}<figcaption>'
        f'<span class="key for">speaks for {label}</span><br><span class="key other">speaks for {against}</span>'
        f"<br>By the difference of the two logits, in {markup.text(contrast.layer)}.</figcaption></figure>"
    )


def _stack(number: int, found: Explanation, attribution: Attribution) -> str:
    """The image in grey with a map over it."""
    what = f"what speaks for {attribution.label}"
    if attribution.against is not None:
        what += f" rather than {attribution.against}"
    return (
        f'<div class="stack"><div class="seen grey seen{number}{_tiny(found)}"></div>'
        f'<img class="tint" src="{_encode_tint(attribution)}" width="{SIDE}" height="{SIDE}" '
        f'alt="{markup.text(what)}"></div>'
    )


def _similar(found: Explanation) -> str:
    if not found.similar:
        return ""
    figures = "".join(
        f'<figure class="mistake">{thumbnail(other.image, place)}<figcaption>{markup.name(other.label)}'
        f"<small>likeness {other.similarity:.2f}<br>{markup.name(place)}</small></figcaption></figure>"
        for other, place in ((other, markup.end_of_place(other.name)) for other in found.similar)
    )
    return (
        '<div class="strip"><h3>The most similar training images</h3><p class="quiet">By the cosine of what the head '
        f'looks at.</p><div class="thumbs">{figures}</div></div>'
    )


def _reading(subject: Subject) -> str:
    typed = ""
    if subject.command:
        line = f"<pre><code>{markup.text(subject.command)}</code></pre>"
        typed = markup.scroll_box("Command", line)
    return (
        '<section id="reading"><h2>How to read this</h2>'
        "<p>A map says <em>where</em> in the image an answer came from, not what the network saw there. A bright "
        "background is a warning: the network may have learned the place instead of the thing.</p>"
        "<p>Deletion covers the image with its mean colour, the brightest parts of the map first; the sooner the "
        "probability falls, the better. Insertion starts from a blurred image and uncovers the brightest parts first; "
        "the sooner it rises, the better. The areas under the two curves make the score (Petsiuk et al., RISE, 2018). "
        f"Random maps are as coarse as the map beside them.</p>{typed}</section>"
    )


def _percent(found: Explanation) -> str:
    return f"{100 * found.prediction.probabilities[found.label]:.1f}&#160;%"


def _tiny(found: Explanation) -> str:
    return " tiny" if found.image is not None and is_tiny(found.image) else ""


def _encode(image: NDArray[np.uint8]) -> str:
    return data_uri(shrink(image, 2 * SIDE), as_photo=not is_tiny(image))


def _encode_tint(attribution: Attribution) -> str:
    colours = Image.fromarray(tint(attribution), "RGBA")
    if colours.width > _TINT_SIDE:
        colours = colours.resize((_TINT_SIDE, _TINT_SIDE), Image.Resampling.BOX)
    return data_uri(colours)

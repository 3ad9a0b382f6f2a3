"""What a network has learned, from edges to parts to objects, as one HTML page. No torch here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib import resources

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from eyebright.page import markup
from eyebright.page.document import build_page
from eyebright.page.thumbnail import data_uri, is_tiny, thumbnail

_FILTER = 44
"""Of a filter's picture in CSS pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Exciting:
    """An image that excites a channel, and where."""

    name: str
    labels: tuple[str, ...]
    """Its class, or several."""
    image: NDArray[np.uint8]
    """(S, S, 3), as the network sees it."""
    box: tuple[int, int, int, int]
    """Left, top, right and bottom in its pixels."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownChannel:
    """One channel of a stage."""

    number: int
    painted: NDArray[np.uint8] | None
    """(S, S, 3), a picture painted to excite it, or None."""
    exciting: tuple[Exciting, ...]
    """Strongest first."""
    is_deaf: bool = False
    """It was to be painted for, but answers to no noise that painting could start from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShownStage:
    """One stage of the network."""

    name: str
    channels: int
    height: int
    width: int
    maps: str
    """The chosen image's strongest channels, a data: URI; empty without an image."""
    maps_about: str
    maps_size: tuple[int, int]
    shown: tuple[ShownChannel, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """Everything on the page."""

    subject: str
    """What was looked into, such as "ResNet-50 of photos-resnet50"."""
    filters_of: str
    filters: NDArray[np.float32]
    """(O, C, k, k)"""
    image_name: str
    image: NDArray[np.uint8] | None
    data: str
    """What the exciting images are from; empty without data."""
    num_images: int
    stages: tuple[ShownStage, ...]
    notes: tuple[str, ...] = ()


def picture_filters(filters: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """(O, C, k, k) weights -> O pictures (k, k, 3): grey is zero, each filter by its own largest weight."""
    strongest = np.abs(filters).max(axis=(1, 2, 3), keepdims=True)
    share = np.divide(filters, strongest, out=np.zeros_like(filters), where=strongest > 0)
    pixels = np.rint(127.5 + 127.5 * share).astype(np.uint8).transpose(0, 2, 3, 1)
    return list(pixels if pixels.shape[-1] == 3 else pixels.repeat(3, axis=3))


def draw_outline(image: NDArray[np.uint8], box: tuple[int, int, int, int], side: int = 100) -> NDArray[np.uint8]:
    """(S, S, 3) -> a picture of that side with the box outlined, white within black, seen on any ground."""
    method = Image.Resampling.NEAREST if is_tiny(image) else Image.Resampling.LANCZOS
    picture = Image.fromarray(image).resize((side, side), method)
    left, top, right, bottom = (round(edge * side / image.shape[0]) for edge in box)
    right, bottom = min(right, side) - 1, min(bottom, side) - 1
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, right, bottom), outline=(0, 0, 0), width=3)
    if right - left > 4 and bottom - top > 4:
        draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=(255, 255, 255), width=1)
    return np.asarray(picture)


def render_features(features: Features) -> str:
    """The page as HTML, to be written as UTF-8."""
    style = resources.files("eyebright.explanation").joinpath("features.css").read_text(encoding="utf-8")
    stages = features.stages
    links = "".join(f'<a href="#{markup.text(stage.name)}">{markup.text(stage.name)}</a>' for stage in stages)
    notes = "".join(f"<li>{markup.text(note)}</li>" for note in features.notes)
    aside = f'<aside class="notes"><h2>Good to know</h2><ul>{notes}</ul></aside>' if notes else ""
    body = (
        '<main><header><p class="kicker">What it learned</p>'
        f"<h1>{markup.name(features.subject)}</h1>"
        '<p class="lead">From edges to parts to objects: each stage looks at what the one before has found. Deeper '
        "stages see more of the image at once, at fewer positions, and answer to more particular things.</p>"
        f'{_facts(features)}</header>{aside}<nav><a href="#filters">first filters</a>{links}</nav>{_filters(features)}'
        f"{''.join(_stage(number, stage, features) for number, stage in enumerate(stages))}</main>"
    )
    return build_page(f"What it learned – {features.subject}", body, style=style)


def _facts(features: Features) -> str:
    facts = [f"{len(features.stages)} stages, {sum(stage.channels for stage in features.stages):,} channels"]
    if features.image is not None:
        facts.append(f"the image {markup.name(features.image_name)}")
    if features.num_images:
        facts.append(f"{markup.plural(features.num_images, 'image')} of {markup.name(features.data)}")
    return f'<ul class="facts">{"".join(f"<li>{fact}</li>" for fact in facts)}</ul>'


def _filters(features: Features) -> str:
    pictures = picture_filters(features.filters)
    count, colours, height, width = features.filters.shape
    images = "".join(
        f'<img src="{data_uri(Image.fromarray(picture))}" width="{_FILTER}" height="{_FILTER}" alt="filter {number}">'
        for number, picture in enumerate(pictures)
    )
    seen = "in colour" if colours == 3 else "in grey"
    image = ""
    if features.image is not None:
        picture = thumbnail(features.image, features.image_name, side=224)
        image = f'<figure class="chosen">{picture}<figcaption>the image, as the network sees it</figcaption></figure>'
    return (
        f'<section id="filters"><h2>First filters <small>{markup.text(features.filters_of)}</small></h2>'
        f"<p>The {count} patterns of {height} x {width} pixels {seen} that the image is compared with first. Grey is "
        "zero; light weights add, dark ones take off. Trained well, they are edges, spots and colours; noise would be "
        f'a sign of too little training.</p><div class="first">{image}<div class="filters">{images}</div></div>'
        "</section>"
    )


def _stage(number: int, stage: ShownStage, features: Features) -> str:
    maps = ""
    if stage.maps:
        width, height = stage.maps_size
        maps = (
            f'<figure class="card maps"><h3>Its answer to the image</h3><img src="{stage.maps}" width="{width}" '
            f'height="{height}" alt="{markup.text(stage.maps_about)}"><figcaption>{markup.text(stage.maps_about)}; '
            "dark is its lowest value, light its highest</figcaption></figure>"
        )
    told = [channel for channel in stage.shown if channel.painted is not None or channel.exciting or channel.is_deaf]
    cards = "".join(_channel(channel) for channel in told)
    where = ("early: edges, colours, simple textures", "late: objects, or what goes with them")
    middle = "in between: textures, repeated patterns, parts"
    hint = where[0] if number == 0 else where[1] if number == len(features.stages) - 1 else middle
    return (
        f'<section id="{markup.text(stage.name)}"><h2>{markup.text(stage.name)} <small>{stage.height} x {stage.width} '
        f'positions, {stage.channels:,} channels</small></h2><p class="quiet">Usually {hint}.</p>'
        f'<div class="stage">{maps}{cards}</div></section>'
    )


def _channel(channel: ShownChannel) -> str:
    painted = ""
    if channel.painted is not None:
        picture = thumbnail(channel.painted, f"painted to excite channel {channel.number}", side=208)
        painted = f'<figure class="painted">{picture}<figcaption>painted to excite it</figcaption></figure>'
    figures = "".join(
        f'<figure title="{markup.text(found.name)}">'
        f"{thumbnail(draw_outline(found.image, found.box), markup.end_of_place(found.name), side=100)}"
        f"<figcaption>{', '.join(map(markup.name, found.labels))}</figcaption></figure>"
        for found in channel.exciting
    )
    labels = Counter(label for found in channel.exciting for label in found.labels)
    said = ", ".join(f"{markup.name(label)} {count}" for label, count in labels.most_common(3))
    most = f'<p class="quiet">Most excited by: {said}</p>' if said else ""
    if channel.is_deaf:
        most += '<p class="quiet">No picture was painted: it answers to no noise that one could start from.</p>'
    pictures = f'<div class="exciting">{figures}</div>' if figures else ""
    return (
        f'<article class="card"><h3>channel {channel.number}</h3>{most}<div class="pair">{painted}{pictures}</div>'
        "</article>"
    )

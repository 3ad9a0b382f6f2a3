"""A drawing as SVG: valid XML that needs nothing else, the same bytes for the same drawing. No torch here."""

from __future__ import annotations

from typing import Literal

from eyebright.drawing.scene import PAINTS, Group, Outline, Paint, Scene, Text, escape, rectangle
from eyebright.errors import printable

Theme = Literal["auto", "light", "dark"]
FONT = "Helvetica Neue,Helvetica,Arial,Liberation Sans,sans-serif"


def write_svg(scene: Scene, *, theme: Theme = "auto", inside_page: bool = False) -> str:
    """A drawing as SVG.

    Args:
        scene: what to draw.
        theme: "auto" follows the reader's light or dark mode (paper is light).
        inside_page: for an HTML page, which has a background and whose script finds each layer by `data-layer`.
    """
    writer = _Writer(inside_page)
    parts = scene.parts if inside_page else (rectangle("page", 0, 0, scene.width, scene.height), *scene.parts)
    body = "".join(writer.part(part) for part in parts)
    style = _style(writer.used, theme)
    width, height = _short(scene.width), _short(scene.height)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="{"group" if inside_page else "img"}" class="drawing" font-family="{FONT}">'
        f"<title>{_words(scene.title)}</title><desc>{_words(scene.description)}</desc><style>{style}</style>"
    )
    return f"{head}{body}</svg>" + ("" if inside_page else "\n")


class _Writer:
    def __init__(self, inside_page: bool) -> None:
        self._inside_page = inside_page
        self.used: set[str] = set()

    def part(self, part: Outline | Text | Group) -> str:
        if isinstance(part, Group):
            inner = "".join(self.part(inside) for inside in part.parts)
            if not self._inside_page:
                return f"<g><title>{_words(part.words)}</title>{inner}</g>"
            return (
                f'<g class="layer" tabindex="0" role="button" data-layer="{_words(part.key)}" '
                f'data-name="{_words(part.name)}" data-does="{_words(part.does)}" '
                f'data-figures="{_words(part.figures)}" aria-label="{_words(part.words)}">{inner}</g>'
            )
        self.used.add(part.paint)
        if isinstance(part, Outline):
            return f'<path class="d-{part.paint}" d="{_path(part)}"/>'
        anchor = "" if part.anchor == "start" else f' text-anchor="{part.anchor}"'
        bold = ' font-weight="700"' if part.is_bold else ""
        place = f'x="{_short(part.x)}" y="{_short(part.y)}" font-size="{_short(part.size)}"'
        return f'<text class="d-{part.paint}" {place}{anchor}{bold}>{_words(part.words)}</text>'


def _words(text: str) -> str:
    return escape(printable(text))


def _path(outline: Outline) -> str:
    written = []
    for command, *numbers in outline.steps:
        written.append(str(command) + " ".join(_short(float(number)) for number in numbers))
    return "".join(written)


def _short(number: float) -> str:
    """At most two decimals, none that say nothing; never "-0"."""
    text = f"{number:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _style(used: set[str], theme: Theme) -> str:
    names = sorted(used)
    rules = "".join(_rule(name, PAINTS[name], int(theme == "dark"), whole=True) for name in names)
    if theme != "auto":
        return rules
    dark = "".join(_rule(name, PAINTS[name], 1, whole=False) for name in names)
    return f"{rules}@media screen and (prefers-color-scheme:dark){{{dark}}}"


def _rule(name: str, paint: Paint, page: int, *, whole: bool) -> str:
    """A class; for the dark page only what differs there."""
    said = []
    for key, colours in (("fill", paint.fill), ("stroke", paint.stroke)):
        if colours is None:
            if key == "fill" and whole:
                said.append("fill:none")
        elif whole or colours[0] != colours[1]:
            said.append(f"{key}:{colours[page]}")
    if whole and paint.stroke is not None:
        said.append(f"stroke-width:{_short(paint.width)};stroke-linejoin:round")
        if paint.dash:
            said.append("stroke-dasharray:" + " ".join(_short(length) for length in paint.dash))
    return f".d-{name}{{{';'.join(said)}}}" if said else ""

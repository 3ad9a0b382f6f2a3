"""A drawing as a value: outlines, texts and groups, before it becomes SVG, PDF or pixels. No torch here.

Colours are named by what they mean; `PAINTS` says what each is on a light and on a dark page. Lengths are CSS pixels,
x to the right, y down. Text is measured with the widths of Helvetica, which Arial, Liberation Sans and PDF's own
sans-serif share; what has room for a wider typeface in reserve multiplies by `RESERVE`.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]
RESERVE = 1.16
"""How much wider a page's text gets where only DejaVu Sans or Verdana is there."""


@dataclass(frozen=True)
class Paint:
    """A fill and a stroke, each for a light and for a dark page; None: not painted."""

    fill: tuple[str, str] | None = None
    stroke: tuple[str, str] | None = None
    width: float = 1.0
    dash: tuple[float, ...] = ()


def _solid(name: str, front: str, top: str, side: str, edges: tuple[str, str]) -> dict[str, Paint]:
    """The three faces of a box that can be seen; both pages show the same, but for the edges."""
    return {
        f"{name}-{face}": Paint((colour, colour), edges, 0.8)
        for face, colour in (("front", front), ("top", top), ("side", side))
    }


INK, QUIET, RULE, FAINT = ("#1f1d24", "#ebe9f0"), ("#625e6b", "#a5a0b0"), ("#d9d5df", "#3b3944"), ("#f1eff4", "#25232c")
PAINTS: dict[str, Paint] = {
    "page": Paint(("#ffffff", "#1c1b22")),
    "card": Paint(("#faf9fb", "#24232b"), RULE),
    "mark": Paint(("#efebff", "#2b2548")),
    "ink": Paint(INK),
    "quiet": Paint(QUIET),
    "accent": Paint(("#5b46b0", "#b3a4ff")),
    "on-dark": Paint(("#ffffff", "#ffffff")),
    "on-light": Paint(("#1f1d24", "#1f1d24")),
    "rule": Paint(None, RULE),
    "strong-rule": Paint(None, INK, 1.2),
    "bracket": Paint(None, INK, 1.1),
    "leader": Paint(None, ("#b9b4c2", "#55525f"), 1.0),
    "wire": Paint(None, ("#8b8695", "#8b8695"), 1.4),
    "head": Paint(("#8b8695", "#8b8695")),
    "identity": Paint(None, ("#5b46b0", "#b3a4ff"), 1.8),
    "identity-head": Paint(("#5b46b0", "#b3a4ff")),
    "projection": Paint(None, ("#b3540e", "#f0a05c"), 1.8, (5, 3)),
    "projection-head": Paint(("#b3540e", "#f0a05c")),
    "projection-text": Paint(("#a34c0c", "#f0a05c")),
    "plus": Paint(("#ffffff", "#1c1b22"), INK, 1.4),
    "plus-sign": Paint(None, INK, 1.6),
    "veil": Paint(None, ("#15899d", "#5fd0e2"), 1.2, (3, 2.5)),
    # Black on a black page: darker than the page there, so that the boxes look filled.
    "convolution-front": Paint(("#1d1c21", "#08070a"), ("#8d8996", "#a9a5b3"), 0.8),
    "convolution-top": Paint(("#403e48", "#403e48"), ("#8d8996", "#a9a5b3"), 0.8),
    "convolution-side": Paint(("#0c0b0f", "#000000"), ("#8d8996", "#a9a5b3"), 0.8),
    **_solid("max", "#d5342b", "#ee7a6f", "#a3201a", ("#7c1712", "#ffb9b1")),
    **_solid("dense", "#2bb8cf", "#86dfea", "#15899d", ("#0b5f6e", "#c9f4fa")),
    **_solid("softmax", "#f2c230", "#fae08a", "#c79812", ("#86660a", "#fff0bd")),
    **_solid("mean", "#b874c9", "#d8aee3", "#8d4c9f", ("#62306f", "#f0d5f7")),
    **_solid("block", "#3c4496", "#6e75c2", "#282e6c", ("#b4b8e6", "#c4c8f2")),
    **_solid("input", "#e4e1ea", "#f4f2f7", "#cfcad8", ("#8d8996", "#6d6a76")),
    **_solid("up", "#3f9d63", "#84c79c", "#2a7447", ("#1c5132", "#c6ecd3")),
    **_solid("join", "#8f97a8", "#bcc2cd", "#6b7384", ("#4a5160", "#dfe3ea")),
    **_solid("other", "#a8a3b0", "#cac6d1", "#817c8a", ("#5b5763", "#e3e0e8")),
}


@dataclass(frozen=True)
class Outline:
    """A path: ("M", x, y), ("L", x, y), ("C", x1, y1, x2, y2, x, y) and ("Z",) in turn."""

    paint: str
    steps: tuple[tuple[str | float, ...], ...]


@dataclass(frozen=True)
class Text:
    """One line of text; y is its baseline."""

    x: float
    y: float
    words: str
    size: float = 12.0
    paint: str = "ink"
    anchor: Anchor = "start"
    is_bold: bool = False

    @property
    def width(self) -> float:
        return text_width(self.words, self.size, is_bold=self.is_bold)

    @property
    def left(self) -> float:
        return self.x - {"start": 0.0, "middle": 0.5, "end": 1.0}[self.anchor] * self.width


@dataclass(frozen=True)
class Group:
    """Parts that belong to one layer, which a page can point to."""

    key: str
    """What a page calls it: the name of the layer, or of the stage."""
    name: str
    """As a reader sees it."""
    does: str
    """What it does, in a sentence."""
    figures: str
    """Its shape and numbers."""
    parts: tuple[Outline | Text, ...]

    @property
    def words(self) -> str:
        """All of it, shown when a pointer rests on it and read out by a screen reader."""
        return f"{self.name}: {self.does} {self.figures}"


Part = Outline | Text | Group


@dataclass(frozen=True)
class Scene:
    """A whole drawing."""

    width: float
    height: float
    title: str
    description: str
    parts: tuple[Part, ...]

    def flat(self) -> Iterator[Outline | Text]:
        for part in self.parts:
            if isinstance(part, Group):
                yield from part.parts
            else:
                yield part


def polygon(paint: str, points: Sequence[Point]) -> Outline:
    """Straight edges, closed."""
    first, *rest = points
    return Outline(paint, (("M", *first), *(("L", *point) for point in rest), ("Z",)))


def line(paint: str, *points: Point) -> Outline:
    """Straight edges, open."""
    first, *rest = points
    return Outline(paint, (("M", *first), *(("L", *point) for point in rest)))


def rectangle(paint: str, x: float, y: float, width: float, height: float, *, radius: float = 0.0) -> Outline:
    """A rectangle, its corners rounded if asked."""
    right, bottom, r = x + width, y + height, min(radius, width / 2, height / 2)
    if not r:
        return polygon(paint, [(x, y), (right, y), (right, bottom), (x, bottom)])
    k = r * 0.448  # where the handles of a quarter circle stand, from the corner
    return Outline(paint, (
        ("M", x + r, y), ("L", right - r, y), ("C", right - k, y, right, y + k, right, y + r),
        ("L", right, bottom - r), ("C", right, bottom - k, right - k, bottom, right - r, bottom),
        ("L", x + r, bottom), ("C", x + k, bottom, x, bottom - k, x, bottom - r),
        ("L", x, y + r), ("C", x, y + k, x + k, y, x + r, y), ("Z",),
    ))  # fmt: skip


def circle(paint: str, x: float, y: float, radius: float) -> Outline:
    return rectangle(paint, x - radius, y - radius, 2 * radius, 2 * radius, radius=radius)


def arrow_head(paint: str, tip: Point, direction: Literal["right", "down", "left", "up"], size: float = 6.0) -> Outline:
    """A filled triangle."""
    x, y = tip
    half = size * 0.5
    back = {"right": (-size, 0.0), "left": (size, 0.0), "down": (0.0, -size), "up": (0.0, size)}[direction]
    across = (half, 0.0) if back[0] == 0 else (0.0, half)
    left = (x + back[0] + across[0], y + back[1] + across[1])
    right = (x + back[0] - across[0], y + back[1] - across[1])
    return polygon(paint, [tip, left, right])


def plus_sign(x: float, y: float) -> list[Outline]:
    """The circle of an addition."""
    return [
        circle("plus", x, y, 8),
        line("plus-sign", (x - 4, y), (x + 4, y)),
        line("plus-sign", (x, y - 4), (x, y + 4)),
    ]


def text_paint(paint: str) -> str:
    """Black or white, whichever is read better on a box's front of that paint."""
    if paint == "veil":
        return "ink"
    return "on-dark" if paint in ("convolution", "max", "block") else "on-light"


# Thousandths of the size -> the characters that are so wide: Helvetica's, as Adobe's font metrics have them.
_PLAIN = {
    191: "'",
    222: "ijl",
    260: "|",
    278: " !,./:;I[\\]ft",
    333: "()-`r",
    334: "{}",
    355: '"',
    389: "*",
    469: "^",
    500: "Jcksvxyz",
    556: "#$0123456789?L_abdeghnopqu",
    584: "+<=>~",
    611: "FTZ",
    667: "&ABEKPSVXY",
    722: "CDHNRUw",
    778: "GOQ",
    833: "Mm",
    889: "%",
    944: "W",
    1015: "@",
}
_BOLD = {
    238: "'",
    278: " ,./I\\ijl",
    280: "|",
    333: "!()-:;[]`ft",
    389: "*r{}",
    474: '"',
    500: "z",
    556: "#$0123456789J_aceksvxy",
    584: "+<=>^~",
    611: "?FLTZbdghnopqu",
    667: "EPSVXY",
    722: "&ABCDHKNRU",
    778: "GOQw",
    833: "M",
    889: "%m",
    944: "W",
    975: "@",
}
_WIDTHS = {
    is_bold: {character: width for width, characters in table.items() for character in characters}
    for is_bold, table in ((False, _PLAIN), (True, _BOLD))
}


def text_width(words: str, size: float, *, is_bold: bool = False) -> float:
    """How wide a line of text is, in pixels; a character that is not ASCII counts as a wide one."""
    widths = _WIDTHS[is_bold]
    return sum(widths.get(character, 700) for character in words) * size / 1000


def escape(words: str) -> str:
    return html.escape(words, quote=True)

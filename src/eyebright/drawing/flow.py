"""The way through a residual network: its stages row by row, each block with its shortcut, and one block opened.

After Figure 3 and Figure 5 of He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385, but
folded to blocks, so that 152 layers fit a screen. No torch here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from eyebright.drawing.blocks import Block, Stage, find_stages
from eyebright.drawing.boxes import PAINT_OF_KIND
from eyebright.drawing.graph import Graph, across
from eyebright.drawing.layers import Layer, find_layers
from eyebright.drawing.opened import draw_opened, opened_size
from eyebright.drawing.receptive import receptive_fields
from eyebright.drawing.scene import (
    RESERVE,
    Group,
    Outline,
    Part,
    Scene,
    Text,
    arrow_head,
    line,
    plus_sign,
    rectangle,
    text_paint,
    text_width,
)
from eyebright.drawing.words import block_numbers, block_sentence, facts_in_words, numbers, sentence, short
from eyebright.errors import SettingsError

_MARGIN = 32.0
_NAMES = 158.0
"""Room for a row's name and shape."""
_BLOCK_WIDTH, _BLOCK_HEIGHT, _STEP = 38.0, 26.0, 76.0
_LINE = 70.0
"""From one line of blocks to the next."""
_PER_LINE = 8
_TOP = 116.0


@dataclass
class _Row:
    name: str
    shape: tuple[int, ...]
    about: str
    stage: Stage | None = None
    layers: list[Layer] = field(default_factory=list)

    @property
    def takes(self) -> tuple[str, ...]:
        """The layers whose results its first part takes."""
        return (self.stage.blocks[0].start,) if self.stage else self.layers[0].inputs

    @property
    def last(self) -> str:
        """The layer that it ends with."""
        return self.stage.blocks[-1].addition.name if self.stage else self.layers[-1].name


def draw_flow(graph: Graph) -> Scene:
    """Stages, blocks and shortcuts of a residual network.

    Raises:
        SettingsError: it has no residual blocks.
    """
    layered = find_layers(graph)
    stages = find_stages(layered)
    if not stages:
        raise SettingsError(f"{graph.title} has no shortcuts whose flow could be shown; --view volumes shows all of it")
    rows = _rows(layered.layers, stages)
    per_line = min(_PER_LINE, max(len(stage.blocks) for stage in stages))
    widest = max(_NAMES + per_line * _STEP, *(_NAMES + _plain_width(row.layers) for row in rows if not row.stage))
    fields = receptive_fields(graph)
    parts: list[Part] = []
    y, way_out, before = _TOP, None, ""
    for row in rows:
        if way_out is not None and before in row.takes:
            parts += _turn(way_out, (_MARGIN + _NAMES, y))
        parts += _row_name(row, y)
        if row.stage:
            drawn, way_out, lines = _stage_row(row.stage, y, per_line)
        else:
            drawn, way_out, lines = _plain_row(row.layers, before, y, fields)
        parts += drawn
        y += lines * _LINE
        before = row.last
    opened = [(block, across(layered.by_name[block.start].shape)) for block in _to_open(stages)]
    opened_left = _MARGIN + widest + 56
    width, height = opened_size(opened)
    parts += draw_opened(opened, opened_left, _TOP - 30)
    bottom = max(y - _LINE / 2 + 24, _TOP - 30 + height + 20)
    after = stages[-1].blocks[-1].addition.followers
    kinds = {"projection" if block.shortcut else "identity" for stage in stages for block in stage.blocks}
    legend, right = _legend(bottom + 14, kinds, ", then ".join(["addition", *after]))
    right = max(right, opened_left + width, _MARGIN + text_width(facts_in_words(graph), 13) * RESERVE)
    head = [
        Text(_MARGIN, 42, graph.title, 22, "ink", is_bold=True),
        Text(_MARGIN, 63, facts_in_words(graph), 13, "quiet"),
    ]
    words = f"{graph.title}: " + "; ".join(f"{row.name} {across(row.shape)}, {row.about}" for row in rows)
    return Scene(
        round(right + _MARGIN), round(bottom + 50), f"{graph.title}, its flow", words, (*head, *parts, *legend)
    )


def _rows(layers: Sequence[Layer], stages: Sequence[Stage]) -> list[_Row]:
    """A row for each stage, and rows for what comes before, between and after them."""
    stage_of = {layer.name: stage for stage in stages for block in stage.blocks for layer in block.layers}
    rows: list[_Row] = []
    done: list[Stage] = []
    for layer in layers:
        stage = stage_of.get(layer.name)
        if stage is not None:
            if stage not in done:
                done.append(stage)
                count = len(stage.blocks)
                about = f"{count} {stage.blocks[-1].words}{'s' * (count > 1)}"
                rows.append(_Row(stage.name, stage.shape, about, stage))
            continue
        if not rows or rows[-1].stage is not None:
            rows.append(
                _Row("stem" if not done else "head" if len(done) == len(stages) else "between", layer.shape, "")
            )
        rows[-1].layers.append(layer)
        rows[-1].shape = layer.shape
    return rows


def _row_name(row: _Row, y: float) -> list[Part]:
    return [
        Text(_MARGIN, y - 6, row.name, 13.5, "ink", is_bold=True),
        Text(_MARGIN, y + 10, across(row.shape), 11.5, "ink"),
        *([Text(_MARGIN, y + 25, row.about, 11, "quiet")] if row.about else []),
    ]


def _turn(start: tuple[float, float], end: tuple[float, float]) -> list[Part]:
    """From the end of one row or line to the beginning of the next: down, back to the left, and in."""
    (x, y), (left, below) = start, end
    middle = below - _LINE * 0.5 + 1
    r = 7.0
    way = (
        ("M", x, y), ("L", x + 8, y), ("C", x + 8 + r * 0.6, y, x + 8 + r, y + r * 0.4, x + 8 + r, y + r),
        ("L", x + 8 + r, middle - r), ("C", x + 8 + r, middle - r * 0.4, x + 8 + r * 0.6, middle, x + 8, middle),
        ("L", left - 14, middle),
        ("C", left - 14 - r * 0.6, middle, left - 14 - r, middle + r * 0.4, left - 14 - r, middle + r),
        ("L", left - 14 - r, below - r),
        ("C", left - 14 - r, below - r * 0.4, left - 14 - r * 0.6, below, left - 14, below),
        ("L", left - 4, below),
    )  # fmt: skip
    return [Outline("wire", way), arrow_head("head", (left + 1, below), "right", 6)]


def _stage_row(stage: Stage, y: float, per_line: int) -> tuple[list[Part], tuple[float, float], int]:
    """Its blocks in lines; the parts, where it ends, and how many lines there are."""
    parts: list[Part] = []
    left = _MARGIN + _NAMES
    end = (left, y)
    lines = 1
    for number, block in enumerate(stage.blocks):
        at_line, at = divmod(number, per_line)
        if at == 0 and number:
            lines += 1
            parts += _turn(end, (left, y + at_line * _LINE))
        x, row_y = left + at * _STEP, y + at_line * _LINE
        parts.append(_block(block, number + 1, x, row_y, is_first=at == 0))
        end = (x + _BLOCK_WIDTH + 26, row_y)
        if at < per_line - 1 and number < len(stage.blocks) - 1:
            parts += [line("wire", end, (x + _STEP - 4, row_y)), arrow_head("head", (x + _STEP + 1, row_y), "right", 6)]
    return parts, end, lines


def _block(block: Block, number: int, x: float, y: float, *, is_first: bool) -> Group:
    """A box for its layers, the circle of its addition, and the shortcut from before the one to the other."""
    kind = "projection" if block.shortcut else "identity"
    plus = x + _BLOCK_WIDTH + 18
    start = x - (13 if is_first else 9)
    top = y - _BLOCK_HEIGHT / 2 - 15
    arc = (("M", start, y), ("C", start, top - 2, x - 2, top, x + 10, top), ("L", plus - 14, top),
           ("C", plus - 3, top, plus, top + 4, plus, y - 14))  # fmt: skip
    inner: list[Outline | Text] = [
        line("wire", (x + _BLOCK_WIDTH, y), (plus - 8, y)),
        Outline(kind, arc),
        arrow_head(f"{kind}-head", (plus, y - 8.5), "down", 7),
        rectangle("block-front", x, y - _BLOCK_HEIGHT / 2, _BLOCK_WIDTH, _BLOCK_HEIGHT, radius=4),
        Text(x + _BLOCK_WIDTH / 2, y + 4.5, str(number), 12, "on-dark", "middle", is_bold=True),
        *plus_sign(plus, y),
    ]
    name = block.scope or block.addition.name
    return Group(block.addition.name, name, block_sentence([block]), block_numbers([block]), tuple(inner))


def _plain_width(layers: Sequence[Layer]) -> float:
    return sum(text_width(short(layer), 11.5) * RESERVE + 46 for layer in layers)


def _plain_row(
    layers: Sequence[Layer], before: str, y: float, fields: Mapping[str, int | None]
) -> tuple[list[Part], tuple[float, float], int]:
    """Layers side by side; one that does not take its neighbour's result says whose it takes."""
    parts: list[Part] = []
    x = end = _MARGIN + _NAMES
    for number, layer in enumerate(layers):
        words = short(layer)
        width = text_width(words, 11.5) * RESERVE + 18
        paint = PAINT_OF_KIND.get(layer.kind, "other")
        box: list[Outline | Text] = [
            rectangle("veil" if paint == "veil" else f"{paint}-front", x, y - 13, width, 26, radius=4),
            Text(x + width / 2, y + 4, words, 11.5, text_paint(paint), "middle"),
        ]
        if number and before in layer.inputs:
            parts += [line("wire", (end, y), (x - 4, y)), arrow_head("head", (x, y), "right", 6)]
        elsewhere = [name for name in layer.inputs if name != before]
        if elsewhere:
            said = "from " + ", ".join(elsewhere)
            box.append(Text(x, y - 19, said, 10.5, "quiet"))
            width = max(width, text_width(said, 10.5) * RESERVE)
        figures = numbers(layer, fields[layer.nodes[-1].name])
        parts.append(Group(layer.name, layer.name, sentence(layer), figures, tuple(box)))
        end = x + width
        x = end + 28
        before = layer.name
    return parts, (end, y), 1


def _to_open(stages: Sequence[Stage]) -> list[Block]:
    """The first block of each kind of shortcut, the identity first; a projection that also halves is preferred."""
    blocks = [block for stage in stages for block in stage.blocks]
    identity = next((block for block in blocks if not block.shortcut), None)
    projections = [block for block in blocks if block.shortcut]
    halving = [block for block in projections if max(block.shortcut[0].main.stride or (1,)) > 1]
    projection = next(iter(halving or projections), None)
    return [block for block in (identity, projection) if block is not None]


def _legend(y: float, kinds: Collection[str], addition: str) -> tuple[list[Part], float]:
    """What the signs mean, on one line; and how far to the right it goes."""
    parts: list[Part] = []
    x = _MARGIN
    for kind, words in (
        ("block", "block, numbered in its stage"),
        ("identity", "identity shortcut: what came in is added as it is"),
        ("projection", "projection shortcut: a layer of its own makes the shapes agree"),
        ("plus", addition),
    ):
        if kind in ("identity", "projection") and kind not in kinds:
            continue
        if kind == "block":
            parts.append(rectangle("block-front", x, y - 8, 22, 15, radius=3))
        elif kind == "plus":
            parts += plus_sign(x + 14, y)
        else:
            parts.append(Outline(kind, (("M", x, y + 6), ("C", x + 2, y - 10, x + 20, y - 10, x + 22, y + 3))))
        parts.append(Text(x + 30, y + 4, words, 11.5, "ink"))
        x += 30 + text_width(words, 11.5) * RESERVE + 20
    return parts, x - 20

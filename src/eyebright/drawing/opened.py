"""Residual blocks opened: every layer inside, one below the other, and the shortcut beside them. No torch here."""

from __future__ import annotations

from collections.abc import Sequence

from eyebright.drawing.blocks import Block
from eyebright.drawing.boxes import PAINT_OF_KIND
from eyebright.drawing.graph import across
from eyebright.drawing.layers import function_in_words
from eyebright.drawing.scene import Outline, Part, Text, arrow_head, circle, line, plus_sign, rectangle, text_paint
from eyebright.drawing.words import short

_WIDTH = 284.0
"""Of one block's column."""
_LAYER_WIDTH, _LAYER_HEIGHT, _STEP = 138.0, 28.0, 64.0
_HEAD, _FOOT = 100.0, 104.0


def opened_size(blocks: Sequence[tuple[Block, str]]) -> tuple[float, float]:
    """Width and height of what `draw_opened` draws."""
    longest = max(len(block.main) for block, _ in blocks)
    return _WIDTH * len(blocks) + 16, _HEAD + longest * _STEP + _FOOT


def draw_opened(blocks: Sequence[tuple[Block, str]], left: float, top: float) -> list[Part]:
    """One column for each block, on a card.

    Args:
        blocks: each with the shape that comes in, in words.
        left: of the card.
        top: of the card.
    """
    width, height = opened_size(blocks)
    parts: list[Part] = [rectangle("card", left, top, width, height, radius=10)]
    for number, (block, came_in) in enumerate(blocks):
        parts += _column(block, came_in, left + 20 + number * _WIDTH, top)
    return parts


def _column(block: Block, came_in: str, left: float, top: float) -> list[Part]:
    kind = "projection" if block.shortcut else "identity"
    x = left + _LAYER_WIDTH / 2
    y = top + _HEAD
    title = f"{block.scope or 'A block'}, opened"
    parts: list[Part] = [
        Text(left, top + 27, title, 13.5, "ink", is_bold=True),
        Text(left, top + 44, f"{block.words}, {kind} shortcut", 11.5, "quiet"),
        circle("head", x, y - 14, 3.2),
        Text(x, y - 26, came_in, 11.5, "ink", "middle", is_bold=True),
    ]
    before = y - 14
    for layer in block.main:
        parts += [line("wire", (x, before), (x, y + 3)), arrow_head("head", (x, y + 8), "down", 6)]
        parts += _layer(short(layer), PAINT_OF_KIND.get(layer.kind, "other"), left, y + 8, _LAYER_WIDTH)
        before = y + 8 + _LAYER_HEIGHT
        if layer.followers:
            parts.append(Text(x + 9, before + 17, ", ".join(layer.followers), 11, "quiet"))
        y += _STEP
    plus = y + 12
    parts += [line("wire", (x, before), (x, plus - 13)), arrow_head("head", (x, plus - 8), "down", 6)]
    parts += _shortcut(block, kind, x, left, top + _HEAD - 14, plus)
    parts += plus_sign(x, plus)
    after = [function_in_words(node.function) for node in block.addition.nodes[1:]]
    parts += [line("wire", (x, plus + 8), (x, plus + 42)), arrow_head("head", (x, plus + 48), "down", 6)]
    if after:
        parts.append(Text(x + 9, plus + 31, ", ".join(after), 11, "quiet"))
    parts.append(Text(x, plus + 64, across(block.shape), 11.5, "ink", "middle", is_bold=True))
    return parts


def _shortcut(block: Block, kind: str, x: float, left: float, start: float, plus: float) -> list[Part]:
    """From the point where the ways part, around the layers, into the addition."""
    out = left + _LAYER_WIDTH + 48
    r = 16.0
    way = (
        ("M", x + 3, start), ("L", out - r, start), ("C", out - r / 2, start, out, start + r / 2, out, start + r),
        ("L", out, plus - r), ("C", out, plus - r / 2, out - r / 2, plus, out - r, plus), ("L", x + 14, plus),
    )  # fmt: skip
    parts: list[Part] = [Outline(kind, way), arrow_head(f"{kind}-head", (x + 8.5, plus), "left", 7)]
    middle = (start + plus) / 2
    if not block.shortcut:
        parts.append(Text(out + 8, middle, "identity", 11.5, "accent"))
        return parts
    for number, words in enumerate(_shortcut_words(block)):
        parts.append(Text(out + 8, middle + number * 15, words, 11.5, "projection-text"))
    return parts


def _shortcut_words(block: Block) -> list[str]:
    """Short lines: "conv 1x1", "512", "stride 2", "batch norm"."""
    lines = []
    for layer in block.shortcut:
        lines += short(layer).split(", ")
        lines += layer.followers
    return lines


def _layer(words: str, paint: str, left: float, top: float, width: float) -> list[Outline | Text]:
    return [
        rectangle("veil" if paint == "veil" else f"{paint}-front", left, top, width, _LAYER_HEIGHT, radius=4),
        Text(left + width / 2, top + 18, words, 12, text_paint(paint), "middle"),
    ]

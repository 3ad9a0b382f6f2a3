"""The picture known from talks on VGG: every layer's result as a box in perspective. No torch here.

Which boxes there are, and where, is in `boxes`; here they become outlines, with labels that keep clear of them and of
each other, a legend of exactly the colours that occur, and arcs for what does not go from neighbour to neighbour.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from eyebright.drawing.boxes import BETWEEN_SLABS, LABEL, SHAPE, SLABS, Box, Run, find_boxes, find_runs, place
from eyebright.drawing.graph import Graph, across
from eyebright.drawing.scene import (
    RESERVE,
    Group,
    Outline,
    Part,
    Scene,
    Text,
    arrow_head,
    circle,
    line,
    polygon,
    text_width,
)
from eyebright.drawing.words import facts_in_words

_MARGIN = 32.0
_HEAD = 84.0
_ROW = 21.0
"""Of the legend."""
_BOTH = 34.0
"""Height of a label's two lines."""

Rect = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def draw_volumes(graph: Graph, *, unfold: bool = False) -> Scene:
    """Every layer's result as a box.

    Args:
        graph: the network.
        unfold: every layer of residual blocks for itself; without it, each stage of blocks is one row of boxes.
    """
    boxes = find_boxes(graph, unfold=unfold)
    runs = find_runs(boxes)
    place(runs, _MARGIN)
    arcs = _arcs(boxes)
    axis = _HEAD + max(*(box.reach for box in boxes), *(-crown for *_, crown in arcs), 0.0)
    labels, taken = _labels(runs, boxes, axis)
    facts, note = facts_in_words(graph), _note(boxes)
    head_width = max(text_width(graph.title, 22, is_bold=True), text_width(facts, 13)) * RESERVE
    right = max(max(box.right for box in boxes), *(rect[2] for rect in taken))
    right = max(right, _MARGIN + head_width, _MARGIN + text_width(note, 11) * RESERVE)
    bottom = max(rect[3] for rect in taken)
    legend = _legend(boxes)
    tops = [(box.left, axis - box.reach, box.right) for box in boxes]
    tops += [(start, axis + crown, end) for start, _, end, _, crown in arcs]
    legend_parts, bottom, right = _place_legend(legend, tops, bottom, right, _MARGIN + head_width)
    parts: list[Part] = [
        Text(_MARGIN, 42, graph.title, 22, "ink", is_bold=True),
        Text(_MARGIN, 63, facts, 13, "quiet"),
        *_arrows(boxes, axis),
        *(Group(box.key, box.key, box.does, box.figures, tuple(_faces(box, axis))) for box in boxes),
        *_arc_parts(arcs, axis),
        *labels,
        *legend_parts,
        Text(_MARGIN, bottom + 32, note, 11, "quiet"),
    ]
    words = f"{graph.title} as boxes in perspective: " + ", ".join(
        f"{run.first.label} {across(run.first.shape)}" for run in runs
    )
    return Scene(round(right + _MARGIN), round(bottom + 54), f"{graph.title}, its volumes", words, tuple(parts))


def _note(boxes: Sequence[Box]) -> str:
    said = (
        "Height and depth of a box grow with the square root of its spatial size, its thickness with that of its "
        "channels."
    )
    if any(box.slabs > 1 for box in boxes):
        said += " Each slab of a stage is one block."
    return said


def _faces(box: Box, axis: float) -> list[Outline]:
    dx, dy = box.back
    bottom = axis + box.reach
    top = bottom - box.height
    if box.is_veil:
        x = (box.left + box.front_right) / 2
        return [polygon("veil", [(x, bottom), (x, top), (x + dx, top - dy), (x + dx, bottom - dy)])]
    thick = (box.thickness - BETWEEN_SLABS * (box.shown_slabs - 1)) / box.shown_slabs
    parts: list[Outline] = []
    for number in range(box.shown_slabs):
        left = box.left + number * (thick + BETWEEN_SLABS)
        right = left + thick
        if box.slabs > SLABS and number == 2:  # those left out
            parts += [circle("head", left + thick * share + dx / 2, axis, 2.5) for share in (0.3, 0.5, 0.7)]
            continue
        parts += [
            polygon(f"{box.paint}-top", [(left, top), (right, top), (right + dx, top - dy), (left + dx, top - dy)]),
            polygon(
                f"{box.paint}-side",
                [(right, top), (right, bottom), (right + dx, bottom - dy), (right + dx, top - dy)],
            ),
            polygon(f"{box.paint}-front", [(left, top), (right, top), (right, bottom), (left, bottom)]),
        ]
    return parts


def _arrows(boxes: Sequence[Box], axis: float) -> list[Part]:
    """Along the axis from neighbour to neighbour, where boxes leave room for it."""
    parts: list[Part] = []
    for before, box in itertools.pairwise(boxes):
        start, end = before.right + 2, box.left - 2
        if before.key in box.inputs and end - start >= 10:
            parts += [line("wire", (start, axis), (end - 4, axis)), arrow_head("head", (end, axis), "right", 6)]
    return parts


_Arc = tuple[float, float, float, float, float]
"""From x and y to x and y, with its crown's y; heights from the axis, up is negative."""


def _arcs(boxes: Sequence[Box]) -> list[_Arc]:
    """What goes past other boxes; a wider arc passes over those that it spans."""
    number_of = {box.key: number for number, box in enumerate(boxes)}
    spans = sorted(
        ((number_of[name], number) for number, box in enumerate(boxes) for name in box.inputs),
        key=lambda span: (span[1] - span[0], span),
    )
    arcs: list[_Arc] = []
    crowns: dict[tuple[int, int], float] = {}
    for start, end in spans:
        if end - start == 1:
            continue
        first, last = boxes[start], boxes[end]
        inside = [crown for (a, b), crown in crowns.items() if start <= a and b <= end]
        crown = min(*(-box.reach for box in boxes[start : end + 1]), *inside, 0.0) - 16
        crowns[start, end] = crown
        from_x, to_x = (box.left + box.thickness / 2 + box.back[0] for box in (first, last))
        arcs.append((from_x, -first.reach - 1, to_x, -last.reach - 3, crown))
    return arcs


def _arc_parts(arcs: Sequence[_Arc], axis: float) -> list[Part]:
    parts: list[Part] = []
    for start_x, start_y, end_x, end_y, crown in arcs:
        bend = min(24.0, (end_x - start_x) / 3)
        y = axis + crown
        parts.append(
            Outline(
                "identity",
                (
                    ("M", start_x, axis + start_y),
                    ("C", start_x, y, start_x, y, start_x + bend, y),
                    ("L", end_x - bend, y),
                    ("C", end_x, y, end_x, y, end_x, axis + end_y - 5),
                ),
            )
        )
        parts.append(arrow_head("identity-head", (end_x, axis + end_y), "down", 7))
    return parts


def _labels(runs: Sequence[Run], boxes: Sequence[Box], axis: float) -> tuple[list[Part], list[Rect]]:
    """Under each run its shape and what it is, as near as boxes and other labels allow."""
    parts: list[Part] = []
    taken: list[Rect] = []
    for run in runs:
        if run.first.is_veil:
            continue
        half, middle, own = run.half, run.middle, axis + run.first.reach
        y = max(own, *(_underside(box, axis, middle - half, middle + half) for box in boxes), own) + 8
        while hit := [rect for rect in taken if _meet(rect, (middle - half, y, middle + half, y + _BOTH))]:
            y = max(rect[3] for rect in hit) + 2
        taken.append((middle - half, y, middle + half, y + _BOTH))
        if y - own > 14:
            parts.append(line("leader", (run.middle, own + 4), (run.middle, y)))
        parts.append(Text(middle, y + 13, run.shape, SHAPE, "ink", "middle", is_bold=True))
        parts.append(Text(middle, y + 28, run.label, LABEL, "quiet", "middle"))
    return parts, taken


def _meet(one: Rect, other: Rect) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _underside(box: Box, axis: float, left: float, right: float) -> float:
    """The lowest point of a box between two x; far up where it is not there at all."""
    if right <= box.left or left >= box.right:
        return 0.0
    beyond = max(0.0, left - box.front_right)  # its end rises towards the back
    return axis + box.reach - beyond * (box.back[1] / box.back[0] if box.back[0] else 0.0)


def _legend(boxes: Sequence[Box]) -> list[tuple[str, str]]:
    """Paint and words, for exactly what occurs: "fully connected + ReLU (the last one without)"."""
    found: dict[str, dict[str, int]] = {}
    for box in boxes:
        found.setdefault(box.paint, {}).setdefault(box.legend, 0)
        found[box.paint][box.legend] += 1
    rows = []
    for paint, kinds in found.items():
        longest = max(kinds, key=lambda words: (kinds[words], len(words)))
        plain = longest.split(" + ")[0]
        last = [box for box in boxes if box.paint == paint][-1].legend
        if len(kinds) == 2 and kinds.get(plain) == 1 and last == plain and " + " in longest:
            rows.append((paint, f"{longest} (the last one without)"))
        else:
            rows += [(paint, words) for words in kinds]
    return rows


def _place_legend(
    rows: Sequence[tuple[str, str]],
    tops: Sequence[tuple[float, float, float]],
    bottom: float,
    right: float,
    head_right: float,
) -> tuple[list[Part], float, float]:
    """At the top right where that is free, else in lines below; and the lowest and rightmost point then."""
    width = max(text_width(words, 12) for _, words in rows) * RESERVE + 32
    left, height = right - width, len(rows) * _ROW
    start = 28.0 if left > head_right + 24 else _HEAD - 4
    free = min((top for box_left, top, box_right in tops if box_right > left - 12), default=bottom)
    parts: list[Part] = []
    if start + height + 10 <= free:
        for number, (paint, words) in enumerate(rows):
            parts += _entry(left, start + number * _ROW, paint, words)
        return parts, bottom, right
    x, y = _MARGIN, bottom + 22
    for paint, words in rows:
        step = text_width(words, 12) * RESERVE + 48
        if x > _MARGIN and x + step > right:
            x, y = _MARGIN, y + _ROW
        parts += _entry(x, y, paint, words)
        x += step
    return parts, y + _ROW, right


def _entry(x: float, y: float, paint: str, words: str) -> list[Part]:
    if paint == "veil":
        swatch: list[Part] = [polygon("veil", [(x + 6, y + 15), (x + 6, y + 5), (x + 14, y + 1), (x + 14, y + 11)])]
    else:
        swatch = [
            polygon(f"{paint}-top", [(x, y + 5), (x + 12, y + 5), (x + 17, y + 1), (x + 5, y + 1)]),
            polygon(f"{paint}-side", [(x + 12, y + 5), (x + 12, y + 15), (x + 17, y + 11), (x + 17, y + 1)]),
            polygon(f"{paint}-front", [(x, y + 5), (x + 12, y + 5), (x + 12, y + 15), (x, y + 15)]),
        ]
    return [*swatch, Text(x + 26, y + 13, words, 12, "ink")]

"""Which boxes a picture of volumes has, how large each is, and where it stands. No torch here.

Parallel perspective, so that boxes far apart compare. The spatial size goes up and back, the channels to the right;
sizes are drawn as their square roots, or 224 pixels would leave nothing to see of 7, and 4096 units nothing of 64.
Lengths are pixels; the axis, on which the middle of every box lies, is at height 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eyebright.drawing.blocks import Stage, find_stages
from eyebright.drawing.graph import WEIGHTED, Graph, Node, across
from eyebright.drawing.layers import Layer, find_layers, window_in_words
from eyebright.drawing.receptive import receptive_fields
from eyebright.drawing.scene import RESERVE, text_width
from eyebright.drawing.words import block_numbers, block_sentence, numbers, sentence

TALLEST = 250.0
"""Of the largest box's front edge."""
BACK = (0.34, 0.25)
"""Where one pixel of width goes on paper: to the right and up."""
THICK = 1.6
"""Of thickness for the square root of the channels."""
THINNEST = 2.5
SHAPE, LABEL = 12.0, 11.0
"""Sizes of the two lines under a box."""
SLABS = 8
"""Blocks of a folded stage that are drawn one by one; of more, two, three dots and the last."""
BETWEEN_SLABS = 2.0

PAINT_OF_KIND = {
    "input": "input",
    "convolution": "convolution",
    "transposed convolution": "up",
    "upsampling": "up",
    "fully connected": "dense",
    "max pooling": "max",
    "average pooling": "mean",
    "softmax": "softmax",
    "addition": "join",
    "concatenation": "join",
    "dropout": "veil",
}


@dataclass
class Box:
    """One box: a layer's result, or a stage's."""

    key: str
    paint: str
    shape: tuple[int, ...]
    does: str
    """What it does, in a sentence."""
    figures: str
    label: str
    """What it is, in two or three words, for the line under the shape."""
    legend: str
    inputs: tuple[str, ...]
    """Keys of the boxes whose results it takes."""
    names: tuple[str, ...]
    """The layers that it stands for."""
    slabs: int = 1
    x: float = 0.0
    """Where the middle of its left end meets the axis."""
    thickness: float = THINNEST
    height: float = 0.0
    width: float = 0.0
    """Of its ends, before it goes back."""

    @property
    def is_veil(self) -> bool:
        """A sheet that hides nothing: what has no result of its own when the network is used."""
        return self.paint == "veil"

    @property
    def shown_slabs(self) -> int:
        return self.slabs if self.slabs <= SLABS else 4

    @property
    def back(self) -> tuple[float, float]:
        return self.width * BACK[0], self.width * BACK[1]

    @property
    def reach(self) -> float:
        """How far it goes below the axis at its front, and above the axis at its back."""
        return (self.height + self.back[1]) / 2

    @property
    def left(self) -> float:
        """Of its front."""
        return self.x - self.back[0] / 2

    @property
    def front_right(self) -> float:
        return self.left + self.thickness

    @property
    def right(self) -> float:
        """Of all of it."""
        return self.front_right + self.back[0]


@dataclass
class Run:
    """Boxes of one shape and kind, side by side over one label."""

    boxes: list[Box]

    @property
    def first(self) -> Box:
        return self.boxes[0]

    @property
    def middle(self) -> float:
        return (self.first.left + self.boxes[-1].front_right) / 2

    @property
    def shape(self) -> str:
        """The first line of its label."""
        return across(self.first.shape)

    @property
    def label(self) -> str:
        """The second line."""
        return f"{len(self.boxes)} x {self.first.label}" if len(self.boxes) > 1 else self.first.label

    @property
    def half(self) -> float:
        """Half the room that the label takes."""
        return max(text_width(self.shape, SHAPE, is_bold=True), text_width(self.label, LABEL)) * RESERVE / 2 + 3


def find_boxes(graph: Graph, *, unfold: bool = False) -> list[Box]:
    """A box for every layer, or for every stage of residual blocks unless unfolded; without places yet."""
    layered = find_layers(graph)
    fields = receptive_fields(graph)
    stages = () if unfold else find_stages(layered)
    stage_of = {layer.name: stage for stage in stages for block in stage.blocks for layer in block.layers}
    owner: dict[str, str] = {}  # a layer's name -> the key of the box that shows its result
    boxes: list[Box] = []
    for layer in layered.layers:
        stage = stage_of.get(layer.name)
        if stage is None:
            inputs = tuple(dict.fromkeys(owner[name] for name in layer.inputs))
            boxes.append(_layer_box(layer, inputs, fields))
            owner[layer.name] = layer.name
            continue
        if layer.name not in owner:
            boxes.append(_stage_box(stage, owner[stage.blocks[0].start]))
            owner |= {inside.name: stage.name for block in stage.blocks for inside in block.layers}
    _size(boxes)
    return boxes


def find_runs(boxes: Sequence[Box]) -> list[Run]:
    """Neighbours of one shape and kind together, and each box given its place from `start` on."""
    runs: list[Run] = []
    for box in boxes:
        last = runs[-1] if runs else None
        if last is not None and box.inputs == (last.boxes[-1].key,) and _alike(box, last.first):
            last.boxes.append(box)
        else:
            runs.append(Run([box]))
    return runs


def place(runs: Sequence[Run], start: float) -> None:
    """Give each box its place, from left to right, with room for the labels on two levels."""
    before: Box | None = None
    labelled: Run | None = None
    for run in runs:
        for number, box in enumerate(run.boxes):
            if before is None:
                box.x = start + box.back[0] / 2 + max(0.0, run.half - box.thickness / 2 - 12)
            elif number:
                box.x = before.x + before.thickness + BETWEEN_SLABS
            else:
                box.x = before.x + before.thickness + _gap(before, box)
            before = box
        if run.first.is_veil:
            continue
        if labelled is not None:
            _part(labelled, run)
        labelled = run


def _part(before: Run, run: Run) -> None:
    """Move a run to the right until neither label meets the line that leads down to the other one's.

    Labels then need two levels at the most; where boxes are small enough to leave it white, one.
    """
    apart = max(before.half, run.half) + 4
    if before.first.height < 60 and run.first.height < 60:
        apart = before.half + run.half + 4
    missing = before.middle + apart - run.middle
    if missing > 0:
        for box in run.boxes:
            box.x += missing


def _alike(box: Box, other: Box) -> bool:
    return (box.paint, box.shape, box.label, box.slabs) == (other.paint, other.shape, other.label, 1)


def _gap(before: Box, box: Box) -> float:
    if box.inputs != (before.key,):
        return 34 + (before.back[0] + box.back[0]) / 2  # another way begins: boxes do not touch
    if box.is_veil or before.is_veil:
        return 10 if box.is_veil else 14
    if box.paint == "max":
        return 9
    if box.height < 40 and before.height < 40:
        return 30
    # So far that the end of the box before, which shows its spatial size, is still seen.
    return 16 + before.back[0] * 0.32


def _layer_box(layer: Layer, inputs: tuple[str, ...], fields: Mapping[str, int | None]) -> Box:
    followers = " + ".join(layer.followers)
    is_picture = layer.kind == "input" and len(layer.shape) == 3 and layer.shape[0] in (1, 3)
    legend = "image" if is_picture else layer.kind + (f" + {followers}" if followers else "")
    if layer.kind == "dropout":
        legend = "dropout, at work while training only"
    return Box(
        key=layer.name,
        paint=PAINT_OF_KIND.get(layer.kind, "other"),
        shape=layer.shape,
        does=sentence(layer),
        figures=numbers(layer, fields[layer.nodes[-1].name]),
        label="image" if is_picture else _label(layer.main),
        legend=legend,
        inputs=inputs,
        names=(layer.name,),
    )


def _label(node: Node) -> str:
    window = window_in_words(node)
    return {
        "convolution": f"conv {window}",
        "transposed convolution": f"up-conv {window}",
        "max pooling": f"max pool {window}".strip(),
        "average pooling": "average pool",
        "concatenation": "joined",
        "addition": "added",
    }.get(node.kind, node.function if node.kind == "other" else node.kind)


def _stage_box(stage: Stage, start: str) -> Box:
    count = len(stage.blocks)
    last = stage.blocks[-1]
    inside = [layer for layer in last.main if layer.kind in WEIGHTED]
    followers = "".join(f" + {word}" for word in inside[0].followers) if inside else ""
    return Box(
        key=stage.name,
        paint="block",
        shape=stage.shape,
        does=block_sentence(stage.blocks),
        figures=block_numbers(stage.blocks),
        label=f"{count} {last.words}{'s' * (count > 1)}",
        legend=f"{last.words}: {len(inside)} x (convolution{followers}) and a shortcut",
        inputs=(start,),
        names=tuple(layer.name for block in stage.blocks for layer in block.layers),
        slabs=count,
    )


def _size(boxes: Sequence[Box]) -> None:
    largest = max(max(_spatial(box.shape)) for box in boxes)
    scale = TALLEST / math.sqrt(max(largest, 49))  # a network of vectors only is not blown up
    for box in boxes:
        height, width = _spatial(box.shape)
        box.height, box.width = scale * math.sqrt(height), scale * math.sqrt(width)
        if not box.is_veil:
            one = max(THINNEST, THICK * math.sqrt(_channels(box.shape)))
            box.thickness = one * box.shown_slabs + BETWEEN_SLABS * (box.shown_slabs - 1)


def _spatial(shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) >= 3:
        return shape[-2], shape[-1]
    return (shape[0], 1) if len(shape) == 2 else (1, 1)


def _channels(shape: tuple[int, ...]) -> int:
    return shape[-1] if len(shape) <= 2 and shape else shape[0] if shape else 1

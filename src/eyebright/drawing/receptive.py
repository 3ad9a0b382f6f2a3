"""How much of the input each value of a network can see. No torch here.

The receptive field of an operation is the side, in input pixels, of the square that one value of its result depends on;
it grows with each window that is slid over the map, by the distance between the map's values in input pixels. It may be
larger than the input itself: the rest falls on padding.

Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill, 2019,
doi:10.23915/distill.00021, whose figures for VGG-16 and the ResNets these are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from eyebright.drawing.graph import Graph, Node

_WINDOWS = ("convolution", "max pooling", "average pooling")


@dataclass(frozen=True)
class _Sight:
    """Along the height of the picture, in input pixels."""

    field: float = 1.0
    step: float = 1.0
    """Between neighbouring values."""


def receptive_fields(graph: Graph) -> Mapping[str, int | None]:
    """A node's name -> its receptive field along the height, in pixels; None where the input is no picture."""
    sights: dict[str, _Sight | None] = {}
    for node in graph.nodes:
        before = [graph.by_name[name] for name in node.inputs]
        sights[node.name] = _sight(node, before, [sights[earlier.name] for earlier in before])
    return {name: None if sight is None else math.ceil(sight.field) for name, sight in sights.items()}


def _sight(node: Node, before: list[Node], sights: list[_Sight | None]) -> _Sight | None:
    if node.kind == "input":
        return _Sight() if len(node.shape) == 3 else None
    known = [sight for sight in sights if sight is not None]
    if not known:
        return None
    field = max(sight.field for sight in known)
    step = max(sight.step for sight in known)
    tall = next((e.shape[1] for e in before if len(e.shape) == 3), 1)
    is_map = len(node.shape) == 3
    if node.kind in _WINDOWS and node.kernel and is_map:
        dilation = node.dilation[0] if node.dilation else 1
        return _Sight(field + dilation * (node.kernel[0] - 1) * step, step * node.stride[0])
    if node.kind == "transposed convolution" and node.kernel and is_map:
        # One result depends on as many values as windows of the kernel's size overlap there.
        overlapping = math.ceil(node.kernel[0] / node.stride[0])
        return _Sight(field + (overlapping - 1) * step, step / node.stride[0])
    if node.kind == "upsampling" and is_map:
        return _Sight(field + (step if "nearest" not in node.function else 0), step * tall / node.shape[1])
    if tall > 1 and not is_map:  # from a map to a vector: all positions together
        return _Sight(field + (tall - 1) * step, step * tall)
    if tall > 1 and node.shape[1] == 1:  # the same, but the vector still has a height and a width
        return _Sight(field + (tall - 1) * step, step * tall)
    return _Sight(field, step)

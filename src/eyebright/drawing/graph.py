"""What a network does with one sample, as plain values: every operation in the order in which it ran. No torch here.

`trace` writes a graph from a real network; everything else in this room only reads it. Shapes are those of one sample:
(C, H, W) for images, (D,) for vectors, without the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

Kind = Literal[
    "input",
    "convolution",
    "transposed convolution",
    "fully connected",
    "matrix product",
    "activation",
    "max pooling",
    "average pooling",
    "normalisation",
    "dropout",
    "addition",
    "concatenation",
    "flatten",
    "reshape",
    "padding",
    "upsampling",
    "softmax",
    "arithmetic",
    "other",
]
WEIGHTED: frozenset[str] = frozenset({"convolution", "transposed convolution", "fully connected"})
"""The kinds that the depth of a network counts: VGG-16 has 16 of them."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation."""

    name: str
    """Unique in the graph: the module's path ("features.0"), or the calling module's path and the function
    ("layer1.0.add")."""
    kind: Kind
    function: str
    """What torch calls it, such as "conv2d"; for an input its name in `forward`."""
    scope: str
    """The path of the module around it, "" for the network itself."""
    inputs: tuple[str, ...]
    """The names of the operations whose results it takes."""
    shape: tuple[int, ...]
    """Of its result, for one sample."""
    parameters: int = 0
    """Learned numbers that it is the first to use."""
    multiply_adds: int = 0
    """For one sample, as convolutions and matrix products have them; all else counts as none, as is the custom."""
    kernel: tuple[int, ...] = ()
    """Of a convolution or pooling, one number for each axis of the picture: (height, width)."""
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    bytes_per_value: int = 4
    is_added: bool = False
    """Not the network's own: drawn because it always follows when the network is used."""

    @property
    def values(self) -> int:
        """How many numbers its result holds."""
        total = 1
        for side in self.shape:
            total *= side
        return total

    @property
    def size_bytes(self) -> int:
        """The memory of its result."""
        return self.values * self.bytes_per_value


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A whole network, traced."""

    title: str
    """How a reader would write its name."""
    nodes: tuple[Node, ...]
    """In the order of computation, inputs first."""
    outputs: tuple[str, ...]
    """The names of the nodes whose results the network returns."""
    scopes: Mapping[str, str] = field(default_factory=dict)
    """A module's path -> its class, such as "layer1.0" -> "Bottleneck"; for modules that hold others only."""
    unused_parameters: int = 0
    """Learned numbers that no operation used."""

    @cached_property
    def by_name(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def readers(self) -> Mapping[str, tuple[Node, ...]]:
        """A node's name -> the nodes that take its result."""
        found: dict[str, list[Node]] = {node.name: [] for node in self.nodes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found[name].append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @property
    def inputs(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.kind == "input")

    @property
    def parameters(self) -> int:
        return sum(node.parameters for node in self.nodes) + self.unused_parameters

    @property
    def multiply_adds(self) -> int:
        return sum(node.multiply_adds for node in self.nodes)

    @property
    def depth(self) -> int:
        """Weighted layers on the longest way from an input to an output; a projection beside it does not count."""
        depths: dict[str, int] = {}
        for node in self.nodes:
            before = max((depths[name] for name in node.inputs), default=0)
            depths[node.name] = before + (node.kind in WEIGHTED)
        return max((depths[name] for name in self.outputs), default=0)


def add_softmax(graph: Graph) -> Graph:
    """The same network with the softmax that turns its logits into probabilities, marked as added.

    A graph that ends in a softmax already, or in anything but one vector, stays as it is.
    """
    if len(graph.outputs) != 1:
        return graph
    last = graph.by_name[graph.outputs[0]]
    if last.kind == "softmax" or len(last.shape) != 1:
        return graph
    node = Node(
        name="softmax",
        kind="softmax",
        function="softmax",
        scope="",
        inputs=(last.name,),
        shape=last.shape,
        bytes_per_value=last.bytes_per_value,
        is_added=True,
    )
    return replace(graph, nodes=(*graph.nodes, node), outputs=(node.name,))


def across(shape: tuple[int, ...]) -> str:
    """A shape as a reader writes it, the channels last: (64, 224, 112) -> "224 x 112 x 64", (4096,) -> "1 x 1 x 4096".

    A sequence (T, D), which has no channels first, stays "T x D".
    """
    if len(shape) == 1:
        return f"1 x 1 x {shape[0]}"
    if len(shape) < 3:
        return " x ".join(str(side) for side in shape) or "1"
    return " x ".join(str(side) for side in (*shape[1:], shape[0]))

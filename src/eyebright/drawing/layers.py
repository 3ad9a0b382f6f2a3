"""From single operations to the layers that a reader sees: a convolution with its BatchNorm and ReLU is one. No torch.

A layer begins with an operation that has a place in a picture and takes along what only follows it: normalisation and
activation. Operations that only rearrange numbers (flatten, padding ...) are no layers; what they hand on comes from
the layer before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from eyebright.drawing.graph import WEIGHTED, Graph, Node

_FOLLOWERS = ("normalisation", "activation")
_SILENT = ("flatten", "reshape", "padding", "arithmetic")


@dataclass(frozen=True)
class Layer:
    """One or more operations, drawn as one thing."""

    nodes: tuple[Node, ...]
    """The first gives it its kind and name, the last its shape."""
    inputs: tuple[str, ...]
    """Names of the layers whose results it takes."""

    @property
    def main(self) -> Node:
        return self.nodes[0]

    @property
    def name(self) -> str:
        return self.main.name

    @property
    def kind(self) -> str:
        return self.main.kind

    @property
    def shape(self) -> tuple[int, ...]:
        return self.nodes[-1].shape

    @property
    def parameters(self) -> int:
        return sum(node.parameters for node in self.nodes)

    @property
    def multiply_adds(self) -> int:
        return sum(node.multiply_adds for node in self.nodes)

    @property
    def followers(self) -> tuple[str, ...]:
        """What comes after its main operation, in words: ("batch norm", "ReLU")."""
        return tuple(function_in_words(node.function) for node in self.nodes[1:])


@dataclass(frozen=True)
class Layered:
    """A graph as layers."""

    graph: Graph
    layers: tuple[Layer, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def readers(self) -> Mapping[str, tuple[str, ...]]:
        """A layer's name -> the names of those that take its result."""
        found: dict[str, list[str]] = {layer.name: [] for layer in self.layers}
        for layer in self.layers:
            for name in layer.inputs:
                found[name].append(layer.name)
        return {name: tuple(names) for name, names in found.items()}


def find_layers(graph: Graph) -> Layered:
    """The layers of a network, in the order of computation."""
    owner: dict[str, str] = {}  # node -> the layer that it belongs to or comes from
    members: dict[str, list[Node]] = {}
    sources: dict[str, tuple[str, ...]] = {}
    last_of: dict[str, str] = {}
    for node in graph.nodes:
        before = tuple(dict.fromkeys(owner[name] for name in node.inputs if name in owner))
        if len(before) == 1 and len(node.inputs) == 1:
            layer = before[0]
            follows = last_of[layer] == node.inputs[0] and len(graph.readers[node.inputs[0]]) == 1
            can_take = members[layer][0].kind not in ("input", "dropout", "softmax")
            if node.kind in _FOLLOWERS and follows and can_take and node.inputs[0] not in graph.outputs:
                members[layer].append(node)
                owner[node.name] = layer
                last_of[layer] = node.name
                continue
            if _is_silent(node):
                owner[node.name] = layer
                if last_of[layer] == node.inputs[0] and len(graph.readers[node.inputs[0]]) == 1:
                    last_of[layer] = node.name
                continue
        owner[node.name] = last_of[node.name] = node.name
        members[node.name] = [node]
        sources[node.name] = before
    return Layered(graph, tuple(Layer(tuple(nodes), sources[name]) for name, nodes in members.items()))


def _is_silent(node: Node) -> bool:
    """Whether it hands on what it got: rearranged, one thing "joined", or pooled over windows of one value.

    The last is what VGG's average pool does to the 7 x 7 map that it was made for.
    """
    is_idle_pool = "pooling" in node.kind and set(node.kernel) == {1} and set(node.stride) == {1}
    return node.kind in _SILENT or is_idle_pool or (node.kind == "concatenation" and len(node.inputs) == 1)


_WORDS = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "leaky_relu": "leaky ReLU",
    "gelu": "GELU",
    "silu": "SiLU",
    "elu": "ELU",
    "selu": "SELU",
    "batch_norm": "batch norm",
    "layer_norm": "layer norm",
    "group_norm": "group norm",
    "instance_norm": "instance norm",
    "local_response_norm": "local response norm",
}


def function_in_words(function: str) -> str:
    """ "relu" -> "ReLU", "batch_norm" -> "batch norm"."""
    return _WORDS.get(function, function.replace("_", " "))


def window_in_words(node: Node) -> str:
    """ "3x3", or nothing where there is no window."""
    return "x".join(str(side) for side in node.kernel)


def count_weighted(layers: tuple[Layer, ...]) -> int:
    """How many of them learn a matrix or filters."""
    return sum(layer.kind in WEIGHTED for layer in layers)

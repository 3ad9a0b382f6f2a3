"""Residual blocks and their stages, found in a network's layers by the additions alone. No torch here.

A block is an addition of two ways that part at one layer: the main way, with more weighted layers, and the shortcut,
which is the identity if it has no layer of its own, else a projection. A stage is a row of blocks whose results
have the same shape.
"""

from __future__ import annotations

from dataclasses import dataclass

from eyebright.drawing.layers import Layer, Layered, count_weighted


@dataclass(frozen=True)
class Block:
    """One residual block."""

    scope: str
    """The path of the module that it is, "" where it is not one of its own."""
    class_name: str
    """That module's class."""
    start: str
    """The layer where the two ways part."""
    main: tuple[Layer, ...]
    """In the order of computation."""
    shortcut: tuple[Layer, ...]
    """Empty for an identity."""
    addition: Layer

    @property
    def layers(self) -> tuple[Layer, ...]:
        return (*self.main, *self.shortcut, self.addition)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.addition.shape

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def words(self) -> str:
        """ "bottleneck block", "basic block", or "residual block" where it is neither."""
        convolutions = [layer.main.kernel for layer in self.main if layer.kind == "convolution"]
        if convolutions == [(1, 1), (3, 3), (1, 1)]:
            return "bottleneck block"
        return "basic block" if convolutions == [(3, 3), (3, 3)] else "residual block"


@dataclass(frozen=True)
class Stage:
    """Blocks in a row whose results have one shape."""

    name: str
    """The path that their modules share ("layer1"), else "stage 1" and so on."""
    blocks: tuple[Block, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.blocks[-1].shape


def find_blocks(layered: Layered) -> tuple[Block, ...]:
    """Every residual block, in the order of computation."""
    found = []
    for layer in layered.layers:
        if layer.kind == "addition" and len(layer.inputs) in (1, 2):
            block = _block(layered, layer)
            if block is not None:
                found.append(block)
    return tuple(found)


def find_stages(layered: Layered) -> tuple[Stage, ...]:
    """The blocks, sorted into stages."""
    rows: list[list[Block]] = []
    for block in find_blocks(layered):
        if rows and rows[-1][-1].shape == block.shape and block.start == rows[-1][-1].addition.name:
            rows[-1].append(block)
        else:
            rows.append([block])
    stages = []
    for number, row in enumerate(rows, 1):
        parents = {block.scope.rpartition(".")[0] for block in row}
        shared = parents.pop() if len(parents) == 1 else ""
        stages.append(Stage(shared or f"stage {number}", tuple(row)))
    return tuple(stages)


def _block(layered: Layered, addition: Layer) -> Block | None:
    first, second = (_way_back(layered, name) for name in (addition.inputs[0], addition.inputs[-1]))
    behind = set(second)
    start = next((name for name in first if name in behind), None)
    if start is None:
        return None
    ways = []
    for way in (first, second):
        ways.append(tuple(layered.by_name[name] for name in reversed(way[: way.index(start)])))
    main, shortcut = sorted(ways, key=lambda way: (count_weighted(way), len(way)), reverse=True)
    if not main or any(len(layered.readers[layer.name]) != 1 for layer in (*main, *shortcut)):
        return None
    scope = addition.main.scope
    return Block(scope, layered.graph.scopes.get(scope, ""), start, main, shortcut, addition)


def _way_back(layered: Layered, name: str) -> list[str]:
    """A layer and those before it, as long as each takes one result only."""
    way = [name]
    while len(layered.by_name[way[-1]].inputs) == 1:
        way.append(layered.by_name[way[-1]].inputs[0])
    return way

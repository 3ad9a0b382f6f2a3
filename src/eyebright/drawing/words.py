"""What a layer does, in one sentence, and its numbers in words. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eyebright.drawing.blocks import Block
from eyebright.drawing.graph import Graph, Node, across
from eyebright.drawing.layers import Layer, function_in_words, window_in_words
from eyebright.page.markup import amount

_ACTIVATIONS = {
    "relu": "ReLU then sets every negative value to zero",
    "gelu": "GELU then fades out negative values",
    "sigmoid": "the sigmoid then squeezes every value between 0 and 1",
}


def sentence(layer: Layer) -> str:
    """What the layer does, for a reader who sees it for the first time."""
    said = _SENTENCES[layer.kind](layer.main)
    after = []
    for node in layer.nodes[1:]:
        if node.kind == "normalisation":
            after.append(f"{function_in_words(node.function)} brings every channel to a common scale")
        else:
            after.append(_ACTIVATIONS.get(node.function, f"{function_in_words(node.function)} then bends the values"))
    return "; ".join([said, *after]) + "."


def facts_in_words(graph: Graph) -> str:
    """The network in numbers, for the line under its name."""
    sizes = " and ".join(across(node.shape) for node in graph.inputs)
    return (
        f"{graph.depth} weighted layers, {amount(graph.parameters)} parameters, "
        f"{amount(graph.multiply_adds)} multiply-adds for an input of {sizes}"
    )


def block_sentence(blocks: Sequence[Block]) -> str:
    """What a residual block does, or several in a row."""
    first, last = blocks[0], blocks[-1]
    begin = f"{len(blocks)} blocks in a row, each of which" if len(blocks) > 1 else "A residual block, which"
    way = "; ".join(short(layer) for layer in last.main)
    projection = "a projection of what came in, so that the shapes agree"
    shortcut = projection if last.shortcut else "what came in"
    if first.shortcut and not last.shortcut:
        shortcut += f" (the first: to {projection})"
    return f"{begin} computes a correction ({way}) and adds it to {shortcut}."


def block_numbers(blocks: Sequence[Block]) -> str:
    """Shapes and numbers of residual blocks together, on one line."""
    parameters = sum(block.parameters for block in blocks)
    work = sum(block.multiply_adds for block in blocks)
    return f"{across(blocks[-1].shape)}; {parameters:,} parameters; {work:,} multiply-adds"


def short(layer: Layer) -> str:
    """The layer in a few words: "conv 3x3, 64", "max pool 2x2, stride 2", "fully connected, 4096"."""
    node = layer.main
    window, stride = window_in_words(node), _stride(node)
    if layer.kind == "convolution":
        grouped = f", {node.groups} groups" if node.groups > 1 else ""
        return f"conv {window}, {node.shape[0]}{stride}{grouped}"
    if layer.kind == "transposed convolution":
        return f"up-conv {window}, {node.shape[0]}{stride}"
    if layer.kind == "fully connected":
        return f"fully connected, {node.shape[-1]}"
    if layer.kind == "max pooling":
        return f"max pool {window}{stride}" if window else "max pool"
    if layer.kind == "average pooling":
        return "average pool"
    if layer.kind in ("activation", "normalisation", "other", "arithmetic", "matrix product", "reshape"):
        return function_in_words(node.function)
    return layer.kind


def _stride(node: Node) -> str:
    return f", stride {node.stride[0]}" if node.stride and max(node.stride) > 1 else ""


def numbers(layer: Layer, field: int | None) -> str:
    """Shapes and numbers on one line."""
    said = [across(layer.shape)]
    if layer.parameters:
        said.append(f"{layer.parameters:,} parameters")
    if layer.multiply_adds:
        said.append(f"{layer.multiply_adds:,} multiply-adds")
    if field is not None and field > 1:
        said.append(f"each value sees {field} x {field} pixels")
    return "; ".join(said)


def _convolution(node: Node) -> str:
    count = node.shape[0]
    said = (
        f"Slides {count} filter{'s' * (count > 1)} of {window_in_words(node)} over the map, each asking at every place "
        "how much of its own pattern is there"
    )
    return f"{said}, in steps of {node.stride[0]}" if node.stride and max(node.stride) > 1 else said


def _pool(word: str) -> Callable[[Node], str]:
    def said(node: Node) -> str:
        # A pool that sees the whole map leaves nothing to slide over.
        if not node.kernel or len(node.shape) == 1:
            return f"Keeps the {word} of each channel over all places"
        return f"Keeps the {word} of each {window_in_words(node)} window, which makes the map coarser"

    return said


_SENTENCES: dict[str, Callable[[Node], str]] = {
    "input": lambda node: "What the network is given" + (
        f": {node.shape[1]} x {node.shape[2]} pixels in {node.shape[0]} channel{'s' * (node.shape[0] > 1)}"
        if len(node.shape) == 3 else ""),
    "convolution": _convolution,
    "transposed convolution": lambda node: f"Spreads every value over a {window_in_words(node)} window of a finer map",
    "fully connected": lambda node: f"Weighs all numbers that come in, anew for each of its {node.shape[-1]} units",
    "matrix product": lambda node: "Multiplies two matrices, so that places can look at each other",
    "activation": lambda node: f"{function_in_words(node.function)} bends every value on its own",
    "max pooling": _pool("largest value"),
    "average pooling": _pool("average"),
    "normalisation": lambda node: f"Brings the values to a common scale ({function_in_words(node.function)})",
    "dropout": lambda node: "Zeroes a random part of the units while training, so that none is relied on alone; "
                            "does nothing when the network is used",
    "addition": lambda node: "Adds the results of two ways, value by value",
    "concatenation": lambda node: "Puts the channels of its inputs side by side",
    "upsampling": lambda node: "Makes the map finer by repeating or blending its values",
    "softmax": lambda node: "Turns the numbers for the classes into probabilities that sum to 1",
    "flatten": lambda node: "Writes all values of the map in one row",
    "reshape": lambda node: "Rearranges its values and changes none",
    "padding": lambda node: "Puts a border around the map",
    "arithmetic": lambda node: "Computes value by value, without learning",
    "other": lambda node: f"Computes {function_in_words(node.function)}",
}  # fmt: skip

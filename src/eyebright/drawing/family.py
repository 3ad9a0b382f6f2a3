"""Networks of one family side by side, as their papers' tables have them, made from the networks. No torch here.

After Table 1 of He et al., 2015, arXiv:1512.03385 (ResNet), and Tables 1 and 2 of Simonyan and Zisserman, 2014,
arXiv:1409.1556 (VGG). Every entry is read off the traced networks.
"""

from __future__ import annotations

from collections.abc import Sequence

from eyebright.drawing.blocks import Stage, find_stages
from eyebright.drawing.graph import Graph
from eyebright.drawing.grid import Cell, draw_grid
from eyebright.drawing.layers import Layer, find_layers, window_in_words
from eyebright.drawing.scene import Scene
from eyebright.errors import SettingsError

_PAPER_STAGE = "conv{}_x"
# By weighted layers, as the VGG paper names them. Its A-LRN (11 layers, with local response normalisation) and C (16
# layers, three of them 1x1 convolutions) are not in the catalogue.
_CONFIGURATIONS = {11: "A", 13: "B", 16: "D", 19: "E"}


def draw_family(title: str, graphs: Sequence[Graph], *, marked: int) -> Scene:
    """The table of a family.

    Args:
        title: what the family is called.
        graphs: its members, each traced with the same input.
        marked: which of them the reader asked for.

    Raises:
        SettingsError: they have not the same stages.
    """
    stages = [find_stages(find_layers(graph)) for graph in graphs]
    if len({len(each) for each in stages}) > 1:
        raise SettingsError(f"the networks of {title} do not have the same stages; no table can hold them")
    if stages[0]:
        return _residual(title, graphs, stages, marked)
    return _plain(title, graphs, marked)


def _residual(title: str, graphs: Sequence[Graph], stages: Sequence[Sequence[Stage]], marked: int) -> Scene:
    headings = [Cell(("layer name",)), Cell(("output size",)), *(Cell((f"{graph.depth}-layer",)) for graph in graphs)]
    columns = len(graphs)
    before, after = _outside(graphs[0])
    rows: list[list[Cell]] = []
    for number, layer in enumerate(before):
        is_conv = layer.kind == "convolution"
        name = "conv1" if is_conv and not number else ""
        shared = _layer_words(layer)
        rows.append([Cell((name,), is_bold=True), Cell((_spatial(layer.shape),)), Cell((shared,), span=columns)])
    for place in range(len(stages[0])):
        first = stages[0][place]
        rows.append(
            [
                Cell((_PAPER_STAGE.format(place + 2), first.name), is_bold=True),
                Cell((_spatial(first.shape),)),
                *(_stage_cell(each[place]) for each in stages),
            ]
        )
    ending = ", ".join(_layer_words(layer) for layer in after)
    rows.append([Cell(("",)), Cell(("1 x 1",)), Cell((ending,), span=columns)])
    rows.append(_numbers("parameters", [f"{graph.parameters / 1e6:.1f} million" for graph in graphs]))
    rows.append(_numbers("FLOPs", [f"{graph.multiply_adds / 1e9:.1f} billion" for graph in graphs]))
    size = _spatial(graphs[0].inputs[0].shape)
    return draw_grid(
        title,
        f"Made from the networks themselves, for one image of {size}",
        headings,
        rows,
        note="In brackets one block: kernel and channels of each convolution, every one with batch norm; behind it how "
        "many blocks there are.\nFLOPs are multiply-adds, as in the paper. Each stage but the first halves the "
        "resolution, in its first block.",
        marked=marked + 2,
        fixed=2,
    )


def _outside(graph: Graph) -> tuple[list[Layer], list[Layer]]:
    """The layers before and after the stages, without the input."""
    layered = find_layers(graph)
    inside = {layer.name for stage in find_stages(layered) for block in stage.blocks for layer in block.layers}
    names = [layer.name for layer in layered.layers]
    first = min(names.index(name) for name in inside)
    rest = [layer for layer in layered.layers if layer.name not in inside and layer.kind != "input"]
    return [r for r in rest if names.index(r.name) < first], [r for r in rest if names.index(r.name) > first]


def _stage_cell(stage: Stage) -> Cell:
    block = stage.blocks[-1]
    convolutions = [layer.main for layer in block.main if layer.kind == "convolution"]
    return Cell(tuple(f"{window_in_words(node)}, {node.shape[0]}" for node in convolutions), times=len(stage.blocks))


def _layer_words(layer: Layer) -> str:
    node = layer.main
    stride = f", stride {node.stride[0]}" if node.stride and max(node.stride) > 1 else ""
    if layer.kind == "convolution":
        return f"{window_in_words(node)}, {node.shape[0]}{stride}"
    if layer.kind == "max pooling":
        return f"{window_in_words(node)} max pool{stride}"
    if layer.kind == "fully connected":
        return f"{node.shape[-1]}-d fully connected"
    return {"average pooling": "average pool"}.get(layer.kind, layer.kind)


def _spatial(shape: tuple[int, ...]) -> str:
    return f"{shape[-2]} x {shape[-1]}" if len(shape) == 3 else "1 x 1"


def _numbers(name: str, values: Sequence[str]) -> list[Cell]:
    return [Cell((name,), span=2, is_bold=True), *(Cell((value,), is_bold=True) for value in values)]


def _plain(title: str, graphs: Sequence[Graph], marked: int) -> Scene:
    """Configurations with a column each: convolutions by stage, between max pools that all share."""
    members = [_plain_stages(graph) for graph in graphs]
    headings = [Cell(("output size",))]
    for graph in graphs:
        letter = _CONFIGURATIONS.get(graph.depth)
        layers = f"{graph.depth} weight layers"
        headings.append(Cell((letter, layers) if letter else (layers,)))
    rows = [[Cell((_spatial(graphs[0].inputs[0].shape),)), Cell(("input: RGB image",), span=len(graphs))]]
    for place, (_, pool) in enumerate(members[0][0]):
        stacks = [member[0][place][0] for member in members]
        rows.append(
            [Cell((_spatial(stacks[0][0].shape),)), *(Cell(tuple(map(_conv_words, stack))) for stack in stacks)]
        )
        rows.append([Cell((_spatial(pool.shape),)), Cell(("max pool",), span=len(graphs), is_quiet=True)])
    for layer in members[0][1]:
        words = f"FC-{layer.shape[-1]}" if layer.kind == "fully connected" else layer.kind
        rows.append([Cell(("1 x 1",)), Cell((words,), span=len(graphs))])
    for name, values in (
        ("parameters", [f"{graph.parameters / 1e6:.1f} million" for graph in graphs]),
        ("multiply-adds", [f"{graph.multiply_adds / 1e9:.1f} billion" for graph in graphs]),
    ):
        rows.append([Cell((name,), is_bold=True), *(Cell((value,), is_bold=True) for value in values)])
    followers = " and ".join(members[0][0][0][0][0].followers)
    return draw_grid(
        title,
        "Made from the networks themselves; conv3-64 is a 3x3 convolution to 64 channels",
        headings,
        rows,
        note=f"Each convolution is followed by {followers}; each fully connected layer but the last by ReLU and "
        "dropout."
        "\nThe paper's A-LRN and C are not in the catalogue, so they are not in this table either.",
        marked=marked + 1,
        fixed=1,
    )


def _plain_stages(graph: Graph) -> tuple[list[tuple[list[Layer], Layer]], list[Layer]]:
    """(convolutions, the max pool that ends them) for each stage, and the layers after the last."""
    stages: list[tuple[list[Layer], Layer]] = []
    stack: list[Layer] = []
    rest: list[Layer] = []
    for layer in find_layers(graph).layers:
        if layer.kind == "convolution":
            stack.append(layer)
        elif layer.kind == "max pooling":
            stages.append((stack, layer))
            stack = []
        elif layer.kind not in ("input", "dropout"):
            rest.append(layer)
    return stages, rest


def _conv_words(layer: Layer) -> str:
    return f"conv{layer.main.kernel[0]}-{layer.main.shape[0]}"

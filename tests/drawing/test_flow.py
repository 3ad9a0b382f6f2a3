from __future__ import annotations

from collections.abc import Callable

import pytest

from eyebright.drawing.flow import draw_flow
from eyebright.drawing.graph import Graph
from eyebright.drawing.scene import Group, Outline, Text
from eyebright.errors import SettingsError
from eyebright.models.resnet import DEPTHS

GraphOf = Callable[..., Graph]


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_block_has_its_arc_its_addition_and_its_kind(depth: int, graph_of: GraphOf) -> None:
    scene = draw_flow(graph_of(f"resnet{depth}"))
    counts, is_bottleneck = DEPTHS[depth]
    blocks = [part for part in scene.parts if isinstance(part, Group) and part.key.endswith(".add")]
    assert len(blocks) == sum(counts)
    paints = [[outline.paint for outline in block.parts if isinstance(outline, Outline)] for block in blocks]
    assert all(painted.count("plus") == 1 for painted in paints)
    assert sum("projection" in painted for painted in paints) == 3 + is_bottleneck
    assert sum("identity" in painted for painted in paints) == sum(counts) - 3 - is_bottleneck


def test_one_block_of_each_kind_is_opened_beside_the_whole(graph_of: GraphOf) -> None:
    words = [part.words for part in draw_flow(graph_of("resnet50")).parts if isinstance(part, Text)]
    opened = words[words.index("layer1.1, opened") :]
    assert opened[1] == "bottleneck block, identity shortcut"
    inside = ["56 x 56 x 256", "conv 1x1, 64", "conv 3x3, 64", "conv 1x1, 256", "identity", "ReLU"]
    assert [word for word in opened if word in inside][:5] == inside[:5]
    assert {"layer2.0, opened", "bottleneck block, projection shortcut", "conv 3x3, 128, stride 2"} < set(words)


def test_a_head_that_looks_at_two_stages_says_where_each_comes_from() -> None:
    from eyebright.drawing.trace import trace
    from eyebright.models.catalog import build_model
    from eyebright.models.filling import shapes_only

    with shapes_only():
        model = build_model("resnet18", embed_stages=2)
    scene = draw_flow(trace(model, [(3, 64, 64)]))
    words = [text.words for text in scene.flat() if isinstance(text, Text)]
    wires = [part for part in scene.parts if isinstance(part, Outline) and part.paint == "wire"]
    assert sum(any(step[0] == "C" for step in wire.steps) for wire in wires) == 4  # from row to row, none to the head
    # The first average is of the stage before the last: no arrow may come to it from the last.
    assert [word for word in words if word.startswith("from ")] == [
        "from layer3.1.add",
        "from layer4.1.add",
        "from mean",
    ]


def test_a_network_without_shortcuts_is_told_where_to_look(graph_of: GraphOf) -> None:
    with pytest.raises(SettingsError, match=r"VGG-16 has no shortcuts .* --view volumes"):
        draw_flow(graph_of("vgg16"))

"""The tables hold what the papers' tables hold, read off the networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from eyebright.drawing.family import draw_family
from eyebright.drawing.graph import Graph
from eyebright.drawing.scene import Outline, Scene, Text
from eyebright.errors import SettingsError

GraphOf = Callable[..., Graph]


def words_of(scene: Scene) -> list[str]:
    return [part.words for part in scene.parts if isinstance(part, Text)]


def test_the_resnet_table_is_that_of_the_paper(graph_of: GraphOf) -> None:
    scene = draw_family("ResNet", [graph_of(f"resnet{depth}") for depth in (18, 34, 50, 101, 152)], marked=2)
    words = words_of(scene)
    assert words[2:9] == ["layer name", "output size", "18-layer", "34-layer", "50-layer", "101-layer", "152-layer"]
    fourth = words[words.index("conv4_x") : words.index("conv5_x")]
    assert fourth == [
        "conv4_x", "layer3", "14 x 14",
        "3x3, 256", "3x3, 256", "x 2", "3x3, 256", "3x3, 256", "x 6",
        *("1x1, 256", "3x3, 256", "1x1, 1024", "x 6"), *("1x1, 256", "3x3, 256", "1x1, 1024", "x 23"),
        *("1x1, 256", "3x3, 256", "1x1, 1024", "x 36"),
    ]  # fmt: skip
    assert "7x7, 64, stride 2" in words
    assert "3x3 max pool, stride 2" in words
    flops = words[words.index("FLOPs") + 1 :][:5]
    # torchvision's published GFLOPS for the layout with the stride in the 3x3.
    assert flops == ["1.8 billion", "3.7 billion", "4.1 billion", "7.8 billion", "11.5 billion"]
    (mark,) = [part for part in scene.parts if isinstance(part, Outline) and part.paint == "mark"]
    heading = next(part for part in scene.parts if isinstance(part, Text) and part.words == "50-layer")
    edges = [float(step[-2]) for step in mark.steps if len(step) > 1]
    assert min(edges) < heading.left
    assert heading.left + heading.width < max(edges)


def test_the_vgg_table_has_the_papers_configurations_and_says_which_are_missing(graph_of: GraphOf) -> None:
    scene = draw_family("VGG", [graph_of(f"vgg{depth}") for depth in (11, 13, 16, 19)], marked=2)
    words = words_of(scene)
    assert [word for word in words if word in "ABDE"] == ["A", "B", "D", "E"]
    assert words.count("conv3-512") == 2 * (2 + 2 + 3 + 4)
    assert words.count("max pool") == 5
    # Table 2 of the paper, in millions: 133, 133, 138, 144.
    assert words[words.index("parameters") + 1 :][:4] == [f"{n} million" for n in (132.9, 133.0, 138.4, 143.7)]
    assert "A-LRN and C are not in the catalogue" in words[-1]


def test_networks_that_no_table_can_hold_are_refused(graph_of: GraphOf) -> None:
    with pytest.raises(SettingsError, match="do not have the same stages"):
        draw_family("Mixed", [graph_of("vgg16"), graph_of("resnet18")], marked=0)

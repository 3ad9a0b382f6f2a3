from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.drawing.blocks import find_blocks, find_stages
from eyebright.drawing.graph import Graph
from eyebright.drawing.layers import find_layers
from eyebright.drawing.trace import trace
from eyebright.models.resnet import DEPTHS

GraphOf = Callable[..., Graph]


@pytest.mark.parametrize("depth", DEPTHS)
def test_stages_and_blocks_are_those_of_the_table(depth: int, graph_of: GraphOf) -> None:
    counts, is_bottleneck = DEPTHS[depth]
    stages = find_stages(find_layers(graph_of(f"resnet{depth}")))
    assert [(stage.name, len(stage.blocks)) for stage in stages] == [
        (f"layer{number}", count) for number, count in enumerate(counts, 1)
    ]
    words = "bottleneck block" if is_bottleneck else "basic block"
    assert {block.words for stage in stages for block in stage.blocks} == {words}


def test_projections_are_told_from_identities(graph_of: GraphOf) -> None:
    projected = {
        name: [block.scope for block in find_blocks(find_layers(graph_of(name))) if block.shortcut]
        for name in ("resnet18", "resnet50")
    }
    assert projected["resnet18"] == ["layer2.0", "layer3.0", "layer4.0"]
    assert projected["resnet50"] == ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]


def test_a_network_without_shortcuts_has_no_blocks(graph_of: GraphOf, unet: nn.Module) -> None:
    assert find_blocks(find_layers(graph_of("vgg16"))) == ()
    assert find_blocks(find_layers(trace(unet, [(3, 32, 32)]))) == ()


def test_a_shortcut_without_a_module_of_its_own_is_found() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.first(F.relu(x))
            return torch.relu(self.second(x) + x)

    found = find_blocks(find_layers(trace(Plain(), [(3, 8, 8)])))
    assert [(block.start, block.addition.name, block.shortcut) for block in found] == [
        ("x", "add", ()),
        ("add", "add_2", ()),
    ]


def test_an_addition_whose_inside_is_read_from_outside_is_no_block() -> None:
    class Leaky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            inside = self.first(x)
            return torch.cat([self.second(inside) + x, inside], 1)

    assert find_blocks(find_layers(trace(Leaky(), [(3, 8, 8)]))) == ()

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from eyebright.drawing.graph import Graph
from eyebright.drawing.summary import draw_summary, summarise
from eyebright.drawing.trace import trace
from eyebright.models.catalog import build_model

GraphOf = Callable[..., Graph]


@pytest.mark.parametrize("name", ["cnn", "vgg11_bn", "vgg16", "resnet18", "resnet50"])
def test_shapes_parameters_work_and_memory_are_those_of_torchinfo(name: str) -> None:
    torchinfo = pytest.importorskip("torchinfo")
    with torch.device("meta"):
        model = build_model(name)
    theirs = torchinfo.summary(model, (1, 3, 224, 224), verbose=0, device="meta")
    ours = summarise(trace(model, [(3, 224, 224)]))
    rows = {row.name: row for row in ours.rows}
    layers = {id(module): path for path, module in model.named_modules()}
    compared = 0
    for info in theirs.summary_list:
        path = layers[id(info.module)]
        if info.is_leaf_layer and path in rows:
            assert rows[path].shape == tuple(info.output_size[1:]), path
            assert rows[path].parameters == sum(p.numel() for p in info.module.parameters()), path
            if isinstance(info.module, nn.Conv2d | nn.Linear):
                bias = 0 if info.module.bias is None else info.module.bias.numel()  # torchinfo counts adding it, too
                assert rows[path].multiply_adds == info.macs - bias * math.prod(info.output_size[2:]), path
            assert rows[path].size_bytes == 4 * math.prod(info.output_size), path
            compared += 1
    assert compared >= len([m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)])
    assert ours.parameters == theirs.total_params


def test_published_figures_of_the_big_three(graph_of: GraphOf) -> None:
    """Simonyan and Zisserman, Table 2; torchvision's documentation for both (GFLOPS 15.47 and 4.09)."""
    vgg, resnet = summarise(graph_of("vgg16")), summarise(graph_of("resnet50"))
    assert (vgg.parameters, resnet.parameters) == (138_357_544, 25_557_032)
    assert (round(vgg.multiply_adds / 1e9, 2), round(resnet.multiply_adds / 1e9, 2)) == (15.47, 4.09)


def test_the_text_has_a_line_for_each_layer_and_the_totals(graph_of: GraphOf) -> None:
    text = str(summarise(graph_of("vgg16")))
    lines = text.splitlines()
    assert lines[0] == "VGG-16"
    assert len([line for line in lines if line.startswith(("features.", "classifier."))]) == 31 + 7
    (first,) = [line.split() for line in lines if line.startswith("features.0 ")]
    assert first == [
        "features.0",
        "conv",
        "3x3",
        "224",
        "x",
        "224",
        "x",
        "64",
        "1,792",
        "86,704,128",
        "12.8",
        "MB",
        "3",
    ]
    assert any(line.startswith("all ") and "138,357,544" in line and "15,470,264,320" in line for line in lines)
    assert len({len(line) for line in lines if line.startswith("---")}) == 1


def test_unused_parameters_are_told() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)  # type: ignore[no-any-return]

    assert "8 parameters are used by nothing." in str(summarise(trace(Idle(), [(3,)])))


def test_the_drawn_table_has_the_same_numbers(graph_of: GraphOf) -> None:
    words = [getattr(part, "words", "") for part in draw_summary(graph_of("cnn", 64)).parts]
    assert {"features.0", "conv 3x3", "64 x 64 x 24", "672", "2,654,208"} < set(words)

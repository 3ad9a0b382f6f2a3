from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from torch import Tensor, nn

from eyebright.drawing.graph import Graph
from eyebright.drawing.layers import find_layers
from eyebright.drawing.trace import trace

GraphOf = Callable[..., Graph]


def test_a_convolution_takes_its_norm_and_relu_along(graph_of: GraphOf) -> None:
    layers = find_layers(graph_of("vgg16_bn")).layers
    assert (layers[1].name, layers[1].followers, layers[1].inputs) == ("features.0", ("batch norm", "ReLU"), ("x",))
    assert layers[1].parameters == 64 * 27 + 64 + 2 * 64


def test_vgg16_is_thirteen_convolutions_five_pools_and_three_layers_with_dropout(graph_of: GraphOf) -> None:
    kinds = [layer.kind for layer in find_layers(graph_of("vgg16")).layers]
    stages = [["convolution"] * count + ["max pooling"] for count in (2, 2, 3, 3, 3)]
    ending = ["fully connected", "dropout"] * 2 + ["fully connected", "softmax"]
    assert kinds == ["input", *chain(*stages), *ending]


def test_a_pool_over_windows_of_one_is_no_layer_but_a_real_one_is(graph_of: GraphOf) -> None:
    assert "adaptive_avg_pool2d" not in find_layers(graph_of("vgg16", 224)).by_name
    assert "adaptive_avg_pool2d" in find_layers(graph_of("vgg16", 448)).by_name


def test_what_two_readers_take_is_not_swallowed(unet: nn.Module) -> None:
    layered = find_layers(trace(unet, [(3, 32, 32)]))
    assert layered.by_name["cat_2"].inputs == ("interpolate", "down1")
    assert layered.readers["down1"] == ("max_pool2d", "cat_2")


def test_a_result_that_is_read_twice_ends_its_layer() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            return y.relu() + y

    layers = find_layers(trace(Twice(), [(3, 4, 4)])).layers
    assert [(layer.name, layer.followers) for layer in layers] == [("x", ()), ("conv", ()), ("relu", ()), ("add", ())]


def test_no_work_and_no_parameter_is_lost(graph_of: GraphOf, unet: nn.Module, two_inputs: nn.Module) -> None:
    ours = [graph_of(name) for name in ("cnn", "vgg16", "resnet50")]
    for graph in [*ours, trace(unet, [(3, 32, 32)])]:
        layers = find_layers(graph).layers
        assert sum(layer.parameters for layer in layers) == graph.parameters
        assert sum(layer.multiply_adds for layer in layers) == graph.multiply_adds

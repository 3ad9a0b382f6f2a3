"""The trace is true: nodes, shapes, parameters and multiply-adds are those of the modules themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eyebright.drawing.graph import Graph
from eyebright.drawing.trace import capture, trace
from eyebright.errors import ModelError, SettingsError
from eyebright.models.catalog import MODELS, build_model, count_multiply_adds, count_parameters
from eyebright.models.filling import shapes_only

LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.BatchNorm2d, nn.MaxPool2d, nn.ReLU, nn.Dropout)


def measure(model: nn.Module, *inputs: Tensor) -> dict[str, tuple[tuple[int, ...], int, int]]:
    """By hooks alone, with real numbers: a layer's name -> its shape, parameters and multiply-adds, in order."""
    found: dict[str, tuple[tuple[int, ...], int, int]] = {}

    def hook(name: str) -> Any:
        def record(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
            work = 0
            if isinstance(module, nn.Conv2d):
                work = result.numel() * module.weight[0].numel()
            elif isinstance(module, nn.ConvTranspose2d):
                work = given[0].numel() * module.weight[0].numel()
            elif isinstance(module, nn.Linear):
                work = result.numel() * module.in_features
            found[name] = (tuple(result.shape[1:]), sum(p.numel() for p in module.parameters()), work)

        return record

    hooks = [m.register_forward_hook(hook(name)) for name, m in model.named_modules() if isinstance(m, LAYERS)]
    with torch.no_grad():
        model.eval()(*inputs)
    for registered in hooks:
        registered.remove()
    return found


def traced_layers(graph: Graph, names: set[str]) -> dict[str, tuple[tuple[int, ...], int, int]]:
    return {n.name: (n.shape, n.parameters, n.multiply_adds) for n in graph.nodes if n.name in names}


@pytest.mark.parametrize("name", MODELS)
def test_every_network_of_the_catalogue_is_traced_as_its_own_modules_say(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, num_classes=7)
        expected = measure(model, torch.empty(1, 3, 96, 64))
    graph = trace(model, [(3, 96, 64)])
    assert list(traced_layers(graph, set(expected)).items()) == list(expected.items())
    assert graph.parameters == count_parameters(model)
    assert graph.unused_parameters == 0
    with shapes_only():
        square = build_model(name)
    assert trace(square, [(3, 224, 224)]).multiply_adds == count_multiply_adds(square, 224)


@pytest.mark.parametrize("fixture", ["unet", "two_inputs"])
def test_networks_that_are_not_ours_are_traced_as_their_own_modules_say(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    model: nn.Module = request.getfixturevalue(fixture)
    shapes = [(3, 32, 48)] if fixture == "unet" else [(3, 31, 32), (5,)]
    expected = measure(model, *(torch.zeros(1, *shape) for shape in shapes))
    graph = trace(model, shapes)
    assert list(traced_layers(graph, set(expected)).items()) == list(expected.items())
    assert graph.parameters == count_parameters(model)
    assert [node.shape for node in graph.inputs] == shapes
    rest = {n.name: (n.kind, n.inputs, n.multiply_adds) for n in graph.nodes if n.name not in expected}
    if fixture == "unet":
        assert graph.multiply_adds == sum(work for *_, work in expected.values())
        assert rest["cat"] == ("concatenation", ("up2", "relu_2"), 0)
        assert rest["interpolate"] == ("upsampling", ("relu_4",), 0)
        assert rest["cat_2"] == ("concatenation", ("interpolate", "relu"), 0)
    else:
        assert graph.multiply_adds == sum(work for *_, work in expected.values()) + 32 * 32
        assert rest["cat"] == ("concatenation", ("seen", "add"), 0)
        assert rest["matmul"] == ("matrix product", ("cat",), 32 * 32)
        assert graph.by_name["matmul"].parameters == 32 * 32
        assert graph.outputs == ("softmax",)


def test_functions_modules_slices_and_operators_are_all_seen_in_order(graph_of: Callable[..., Graph]) -> None:
    graph = graph_of("resnet18")
    block = [(n.name, n.kind, n.inputs) for n in graph.nodes if n.name.startswith("layer2.0")]
    assert block[-4:] == [
        ("layer2.0.downsample.0", "convolution", ("layer1.1.relu_2",)),
        ("layer2.0.downsample.1", "normalisation", ("layer2.0.downsample.0",)),
        ("layer2.0.add", "addition", ("layer2.0.bn2", "layer2.0.downsample.1")),
        ("layer2.0.relu_2", "activation", ("layer2.0.add",)),
    ]
    assert graph.scopes["layer2.0"] == "BasicBlock"
    assert [n.name for n in graph_of("vgg16").nodes if n.kind == "dropout"] == ["classifier.2", "classifier.5"]


def test_an_operation_in_place_hands_on_its_own_result() -> None:
    graph = trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 1)), [(3, 4, 4)])
    assert [node.inputs for node in graph.nodes] == [(), ("input",), ("0",), ("1",)]


def test_a_layer_used_twice_counts_its_work_twice_and_its_parameters_once() -> None:
    layer = nn.Linear(6, 6)
    graph = trace(nn.Sequential(layer, layer), [(6,)])
    assert [(n.name, n.parameters, n.multiply_adds) for n in graph.nodes[1:]] == [("0", 42, 36), ("0_2", 0, 36)]
    assert graph.parameters == 42


def test_parameters_that_nothing_uses_are_counted_apart() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)  # type: ignore[no-any-return]

    graph = trace(Idle(), [(3,)])
    assert (graph.unused_parameters, graph.parameters) == (8, 16)


def test_attention_is_counted_by_the_products_that_it_comes_down_to() -> None:
    T, D = 10, 16
    layer = nn.MultiheadAttention(D, 4, batch_first=True)

    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x, x, x, need_weights=False)[0]  # type: ignore[no-any-return]

    graph = trace(Attends(), [(T, D)])
    assert graph.multiply_adds == 4 * T * D * D + 2 * T * T * D
    assert graph.parameters == count_parameters(layer)


def test_tracing_changes_neither_the_network_nor_its_mode() -> None:
    model = build_model("cnn", width="small")
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trace(model, [(3, 32, 32)])
    assert all(module.training for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_a_forward_that_asks_for_values_is_traced_where_the_network_has_some() -> None:
    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.layer(x)
            return y + 1 if y.sum().item() < 1e9 else y

    assert [node.kind for node in trace(Asks(), [(3,)]).nodes][:2] == ["input", "fully connected"]
    with torch.device("meta"):
        model = Asks()
    with pytest.raises(ModelError, match="Asks can't be traced: with an input of 1 x 1 x 3 it fails"):
        trace(model, [(3,)])


@pytest.mark.parametrize(
    ("model", "shapes", "words"),
    [
        (nn.Conv2d(3, 4, 5), [(3, 4, 4)], "comes to nothing at conv2d"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.MaxPool2d(8)), [(3, 4, 4)], "input of 4 x 4 x 3 comes to nothing at 1 "),
        (nn.Conv2d(3, 4, 1), [(5, 8, 8)], "it fails at conv2d"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(5)), [(3, 8, 8)], "it fails at 1 "),
    ],
)
def test_an_input_that_does_not_fit_is_one_error_that_names_the_layer(
    model: nn.Module, shapes: list[tuple[int, ...]], words: str
) -> None:
    with pytest.raises(ModelError) as caught:
        trace(model, shapes)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_network_of_nothing_but_constants_is_refused() -> None:
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(1, 3)

    with pytest.raises(ModelError, match="depends on no input"):
        trace(Constant(), [(3,)])


def test_a_wrong_number_of_inputs_or_an_empty_one_is_named(two_inputs: nn.Module) -> None:
    with pytest.raises(SettingsError, match=r"takes 2 inputs \(image, facts\), and 1 was given"):
        trace(two_inputs, [(3, 8, 8)])
    with pytest.raises(SettingsError, match="every side is at least 1"):
        trace(two_inputs, [(3, 0, 8), (5,)])


def test_captured_results_are_those_of_the_modules() -> None:
    torch.manual_seed(0)
    model = build_model("cnn", width="small").eval()
    images = torch.randn(2, 3, 32, 32)
    kept = capture(model, images, ["features.1", "features.2", "hidden"])
    features = model.features
    assert isinstance(features, nn.Sequential)
    with torch.no_grad():
        pooled = features[1](features[0](images))
    # The ReLU after it works in place: what was kept before must not have changed with it.
    assert torch.equal(kept["features.1"], pooled)
    assert torch.equal(kept["features.2"], pooled.relu())
    assert kept["hidden"].shape == (2, 128)


def test_building_for_shapes_only_needs_no_memory_and_no_numbers() -> None:
    with shapes_only():
        model = build_model("vgg19")
    assert all(parameter.is_meta for parameter in model.parameters())

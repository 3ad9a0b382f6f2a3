from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from eyebright.errors import ModelError
from eyebright.explanation.layer import averages_positions, choose_layer, find_layer, list_map_layers
from eyebright.models.catalog import MODELS, build_model
from eyebright.models.layers import fold_batch_norm


@pytest.mark.parametrize(
    ("name", "side", "layer", "positions"),
    [
        ("resnet18", 224, "layer4", 7),
        ("resnet18", 96, "layer3", 6),  # 3 positions in layer4 show nothing
        ("resnet50", 64, "layer2", 8),
        ("vgg11", 224, "features.19", 14),  # the last convolution's ReLU; the pool after it only picks
        ("vgg11_bn", 64, "features.20", 8),
        ("cnn", 64, "features.8", 8),
        ("cnn", 28, "features.5", 7),
        ("cnn", 4, "features.2", 2),
    ],
)
def test_the_chosen_layer_is_deep_and_fine_enough(name: str, side: int, layer: str, positions: int) -> None:
    model = fold_batch_norm(build_model(name))
    chosen = choose_layer(list_map_layers(model, torch.zeros(1, 3, side, side)))
    assert (chosen.name, chosen.height, chosen.width) == (layer, positions, positions)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_network_has_a_layer_to_draw_from(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name).eval()
        layers = list_map_layers(model, torch.zeros(1, 3, 224, 224))
    assert choose_layer(layers).height in (7, 14, 28)
    names = [layer.name for layer in layers]
    assert len(set(names)) == len(names)
    assert not any(isinstance(model.get_submodule(known), nn.MaxPool2d) for known in names)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("cnn", {}, False),
        ("vgg11", {"head": "classic"}, False),
        ("vgg11", {"head": "pooled"}, True),
        ("vgg11", {"head": "pooled", "embed_stages": 3}, True),
        ("resnet18", {}, True),
        ("resnet50", {"embed_stages": 2}, True),
    ],
)
def test_a_head_that_averages_positions_is_told_from_one_that_keeps_them_apart(
    name: str, options: dict[str, Any], expected: bool
) -> None:
    with torch.device("meta"):
        model = build_model(name, **options).eval()
        assert averages_positions(model, torch.zeros(1, 3, 64, 64)) is expected


def test_an_unknown_layer_is_refused_and_the_nearest_named() -> None:
    layers = list_map_layers(fold_batch_norm(build_model("resnet18")), torch.zeros(1, 3, 64, 64))
    assert find_layer(layers, "layer2.0.conv1").channels == 128
    with pytest.raises(ModelError, match='no layer "layer44" answers with maps here; did you mean "layer4"'):
        find_layer(layers, "layer44")
    with pytest.raises(ModelError, match=r'no layer "fc"'):
        find_layer(layers, "fc")


@pytest.mark.parametrize(
    ("name", "convolution", "norm", "shortcut"),
    [("resnet18", "conv1", "bn1", "layer1.1.downsample"), ("vgg11_bn", "features.4", "features.5", None)],
)
def test_a_folded_batch_norm_leaves_its_convolution_its_name(
    name: str, convolution: str, norm: str, shortcut: str | None
) -> None:
    """The network that is explained is folded, yet a user knows the names of the whole one."""
    layers = list_map_layers(fold_batch_norm(build_model(name)), torch.zeros(1, 3, 64, 64))
    found = find_layer(layers, convolution)
    assert (found.name, found.is_bare) == (convolution, True)
    assert find_layer(layers, norm) == found
    assert shortcut not in [layer.name for layer in layers]  # it hands on what came in


def test_a_network_without_maps_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    with pytest.raises(ModelError, match="no layer of this network answers with maps"):
        choose_layer(list_map_layers(model, torch.zeros(1, 3, 2, 2)))

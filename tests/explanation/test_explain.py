"""Every method on every family, for colour and grey images of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from eyebright.errors import ModelError, SettingsError
from eyebright.explanation.attribution import METHODS
from eyebright.explanation.explain import Explainer, find_class, find_methods
from eyebright.models.catalog import build_model
from eyebright.preprocess import Preprocessing

CLASSES = ("cat", "dog", "fox")


def explainer(name: str, channels: int = 3, side: int = 48, head: str | None = None) -> Explainer:
    torch.manual_seed(0)
    model = build_model(name, num_classes=3, in_channels=channels, head=head)
    for parameter in model.parameters():  # a fresh head is zero, and so is the last BatchNorm of a block
        if parameter.ndim == 1 or parameter.shape[0] == 3:
            nn.init.uniform_(parameter, 0.1, 0.5)
    preprocessing = Preprocessing(image_size=side, resize=side + 8, mean=(0.5,) * channels, std=(0.25,) * channels)
    return Explainer(model, preprocessing, CLASSES)


def square(side: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side + 8, side + 8, channels), dtype=np.uint8)


@pytest.mark.parametrize(("name", "channels"), [("cnn", 1), ("vgg11_bn", 3), ("resnet18", 1)])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_draws_every_family(name: str, channels: int, method: str) -> None:
    asked = explainer(name, channels, head="pooled") if name == "vgg11_bn" else explainer(name, channels)
    image = asked.prepare(square(48, channels))
    (chosen,) = find_methods([method])
    found = asked.attribute(image, 1, method=chosen)
    assert found.values.shape == (48, 48)
    assert np.isfinite(found.values).all()
    assert np.ptp(found.values) > 0
    assert (found.layer == asked.layer.name) == (method in ("grad-cam", "grad-cam++", "layer-cam"))
    assert found.label == "dog"
    again = asked.attribute(image, 1, method=chosen)
    assert np.array_equal(found.values, again.values)
    judged = asked.judge(image, found).faithfulness
    assert all(0 <= share <= 1 for share in (*judged.deletion, *judged.insertion))
    assert judged.deletion[0] == judged.insertion[-1] == judged.random_deletion[0]


def test_the_method_suits_the_head() -> None:
    assert explainer("resnet18").best_method == "grad-cam"
    assert explainer("cnn").best_method == "layer-cam"


@pytest.mark.parametrize("name", ["resnet18", "cnn"])
def test_a_contrast_turned_round_changes_its_sign(name: str) -> None:
    asked = explainer(name)
    image = asked.prepare(square(48))
    one, other = (asked.attribute(image, a, against=b) for a, b in ((0, 2), (2, 0)))
    assert np.allclose(one.values, -other.values, atol=1e-5 * np.abs(one.values).max())
    assert (one.label, one.against, other.against) == ("cat", "fox", "cat")


def test_the_network_that_was_given_stays_as_it_is() -> None:
    model = build_model("resnet18", num_classes=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Explainer(model, Preprocessing(image_size=32, resize=32), CLASSES)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training


@pytest.mark.parametrize("side", [1, 3, 17])
def test_images_of_any_size_are_explained(side: int) -> None:
    asked = explainer("cnn", side=side)
    image = asked.prepare(square(side))
    for method in METHODS:
        found = asked.attribute(image, 0, method=method)
        assert found.values.shape == (side, side)
        assert np.isfinite(asked.judge(image, found).faithfulness.score)


def test_a_layer_can_be_asked_for() -> None:
    model = build_model("resnet18", num_classes=3)
    preprocessing = Preprocessing(image_size=64, resize=64)
    assert Explainer(model, preprocessing, CLASSES, layer="layer2.0").layer.height == 8
    with pytest.raises(ModelError, match='did you mean "layer2"'):
        Explainer(model, preprocessing, CLASSES, layer="layer-2")


def test_names_that_are_not_there_are_refused_and_the_nearest_named() -> None:
    assert find_methods(["occlusion", "grad-cam", "occlusion"]) == ("occlusion", "grad-cam")
    with pytest.raises(SettingsError, match='no method "gradcam"; did you mean "grad-cam"'):
        find_methods(["gradcam"])
    assert find_class("dog", CLASSES) == 1
    with pytest.raises(SettingsError, match='knows no class "Dogs"; did you mean "dog"'):
        find_class("Dogs", CLASSES)
    many = tuple(f"class {number}" for number in range(1000))
    with pytest.raises(SettingsError, match=r'knows no class "\?"; its manifest.json lists the classes'):
        find_class("?", many)

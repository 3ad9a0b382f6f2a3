"""Every network of the catalogue keeps the contract of `models/protocol.py`.

Most checks run on torch's meta device, where shapes are computed and numbers are not, so that even VGG-19 costs
nothing; values are compared on the networks that are small enough for that.
Shapes: N images, C channels, H x W pixels, D embedding width, K classes.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eyebright.models.catalog import MODELS, build_model
from eyebright.models.protocol import Network

# Every network as it is by default, and one of each family in every form that changes its shapes.
FORMS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in MODELS),
    ("cnn", {"width": "small"}),
    ("cnn", {"width": "large"}),
    ("cnn", {"width": "deep"}),
    *((name, {"head": "pooled"}) for name in MODELS if name.startswith("vgg")),
    ("vgg16", {"head": "pooled", "embed_stages": 2}),
    ("vgg11_bn", {"head": "pooled", "embed_stages": 5}),
    ("resnet18", {"embed_stages": 2}),
    ("resnet50", {"embed_stages": 2}),
    ("resnet50", {"embed_stages": 4, "stride_in": "1x1"}),
]

# Those whose numbers are worth computing; one for each way of building a head.
LIGHT: list[tuple[str, dict[str, Any]]] = [
    ("cnn", {"width": "small"}),
    ("cnn", {"width": "large"}),
    ("vgg11", {"head": "pooled"}),
    ("vgg11_bn", {"head": "pooled", "embed_stages": 2}),
    ("resnet18", {}),
    ("resnet18", {"embed_stages": 2}),
    ("resnet50", {"stride_in": "1x1", "embed_stages": 4}),
]
RESOLUTIONS = ((17, 17), (33, 97))


def name_form(form: tuple[str, dict[str, Any]]) -> str:
    return "-".join([form[0], *(f"{key}={value}" for key, value in form[1].items())])


every_form = pytest.mark.parametrize("form", FORMS, ids=name_form)
light_form = pytest.mark.parametrize("form", LIGHT, ids=name_form)


def build(form: tuple[str, dict[str, Any]], *, num_classes: int = 7, in_channels: int = 3) -> nn.Module:
    return build_model(form[0], num_classes=num_classes, in_channels=in_channels, **form[1])


def build_on_meta(form: tuple[str, dict[str, Any]], *, num_classes: int = 7, in_channels: int = 3) -> Network:
    with torch.device("meta"):
        model = build(form, num_classes=num_classes, in_channels=in_channels).eval()
    assert isinstance(model, Network)
    return model


@every_form
@pytest.mark.parametrize(("num_classes", "in_channels"), [(2, 3), (7, 1)])
def test_what_a_network_says_of_itself_is_true(
    form: tuple[str, dict[str, Any]], num_classes: int, in_channels: int
) -> None:
    model = build_on_meta(form, num_classes=num_classes, in_channels=in_channels)
    images = torch.empty(2, in_channels, 64, 64, device="meta")
    assert (model.num_classes, model.in_channels) == (num_classes, in_channels)
    embedding = model.embed(images)
    assert embedding.shape == (2, model.embedding_width)
    assert model.head(embedding).shape == (2, num_classes)
    assert (model.head.in_features, model.head.out_features) == (model.embedding_width, num_classes)


@every_form
def test_the_stages_are_named_in_order_and_each_is_at_most_as_fine_as_the_one_before(
    form: tuple[str, dict[str, Any]],
) -> None:
    model = build_on_meta(form)
    features = model.forward_features(torch.empty(2, 3, 96, 96, device="meta"))
    assert tuple(features) == model.stages
    assert len(set(model.stages)) == len(model.stages) >= 3
    sides = [feature.shape[-1] for feature in features.values()]
    assert all(feature.dim() == 4 and feature.shape[0] == 2 for feature in features.values())
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] < sides[0] < 96


@every_form
def test_any_resolution_is_taken_also_oblong_and_odd_ones(form: tuple[str, dict[str, Any]]) -> None:
    model = build_on_meta(form)
    for height, width in RESOLUTIONS:
        assert model.forward(torch.empty(1, 3, height, width, device="meta")).shape == (1, 7)


@every_form
def test_the_head_is_a_module_of_the_network_and_holds_the_last_parameters(form: tuple[str, dict[str, Any]]) -> None:
    model = build_on_meta(form)
    assert isinstance(model, nn.Module)
    names = list(dict(model.named_parameters()))
    head = [name for name, module in model.named_modules() if module is model.head]
    assert names[-2:] == [f"{head[0]}.weight", f"{head[0]}.bias"]


@light_form
@pytest.mark.parametrize("in_channels", [1, 3])
def test_the_head_over_the_embedding_equals_the_network(form: tuple[str, dict[str, Any]], in_channels: int) -> None:
    torch.manual_seed(0)
    model = build(form, in_channels=in_channels).eval()
    assert isinstance(model, Network)
    nn.init.normal_(model.head.weight)  # some heads start at zero, where everything is equal
    with torch.no_grad():
        for side in (17, 32, 97):
            images = torch.randn(2, in_channels, side, side)
            logits = model.forward(images)
            assert torch.equal(model.head(model.embed(images)), logits)
            assert torch.isfinite(logits).all()
            assert logits.std() > 0


@light_form
def test_nothing_after_the_last_stage_that_is_asked_for_is_computed(form: tuple[str, dict[str, Any]]) -> None:
    model = build(form).eval()
    assert isinstance(model, Network)
    images = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    computed: list[str] = []
    for module in (found for found in model.modules() if isinstance(found, nn.Conv2d)):
        module.register_forward_hook(lambda *_: computed.append("convolution"))
    with torch.no_grad():
        whole, counts = model.forward_features(images), []
        for place, stage in enumerate(model.stages):
            computed.clear()
            found = model.forward_features(images, last=stage)
            counts.append(len(computed))
            assert tuple(found) == model.stages[: place + 1]
            assert all(torch.equal(found[name], whole[name]) for name in found)
    assert counts == sorted(set(counts))  # each stage has convolutions, and they come in only with it


@light_form
def test_looking_at_the_stages_does_not_change_them(form: tuple[str, dict[str, Any]]) -> None:
    """An in-place ReLU after a stage would overwrite what `forward_features` hands out."""
    torch.manual_seed(0)
    model = build(form).eval()
    assert isinstance(model, Network)
    copies: dict[str, Tensor] = {}
    with torch.no_grad():
        features = model.forward_features(torch.randn(1, 3, 33, 33))
        last = features[model.stages[-1]]
        for name, feature in features.items():
            copies[name] = feature.clone()
        model.forward(torch.randn(1, 3, 33, 33))
    assert all(torch.equal(features[name], copy) for name, copy in copies.items())
    assert last.abs().sum() > 0


@light_form
def test_the_embedding_of_an_image_does_not_depend_on_its_batch(form: tuple[str, dict[str, Any]]) -> None:
    torch.manual_seed(0)
    model = build(form).eval()
    assert isinstance(model, Network)
    images = torch.randn(3, 3, 33, 33)
    with torch.no_grad():
        together = model.embed(images)
        alone = torch.cat([model.embed(image[None]) for image in images])
    assert torch.allclose(together, alone, rtol=1e-3, atol=1e-4 * float(together.abs().max()))


@light_form
def test_the_gradient_reaches_every_parameter(form: tuple[str, dict[str, Any]]) -> None:
    torch.manual_seed(0)
    model = build(form).train()
    assert isinstance(model, Network)
    for module in model.modules():  # what starts at zero hides what lies behind it
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
    nn.init.normal_(model.head.weight)
    torch.autograd.backward(
        torch.nn.functional.cross_entropy(model.forward(torch.randn(4, 3, 64, 64)), torch.tensor([0, 1, 2, 3]))
    )
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("form", [LIGHT[0], LIGHT[2], LIGHT[4]], ids=name_form)
def test_the_same_seed_builds_the_same_network_and_another_seed_another(form: tuple[str, dict[str, Any]]) -> None:
    states = []
    for seed in (5, 5, 6):
        torch.manual_seed(seed)
        states.append(build(form).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_an_embedding_of_two_stages_begins_with_the_finer_one() -> None:
    torch.manual_seed(0)
    one = build_model("resnet18", num_classes=7).eval()
    two = build_model("resnet18", num_classes=7, embed_stages=2).eval()
    assert isinstance(one, Network)
    assert isinstance(two, Network)
    two.load_state_dict({name: t for name, t in one.state_dict().items() if not name.startswith("fc.")}, strict=False)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        wide, narrow = two.embed(images), one.embed(images)
        finer = one.forward_features(images)["layer3"].mean(dim=(2, 3))
    assert wide.shape == (2, 256 + 512)
    assert torch.equal(wide, torch.cat([finer, narrow], dim=1))


@every_form
def test_every_parameter_and_buffer_belongs_to_a_stage_in_the_order_of_computation(
    form: tuple[str, dict[str, Any]],
) -> None:
    model = build_on_meta(form)
    assert isinstance(model, nn.Module)
    stages = [model.stage_of(name) for name in model.state_dict()]
    assert stages == sorted(stages)
    assert set(stages) == set(range(len(model.stages) + 1))
    assert model.stage_of("fc.weight" if hasattr(model, "fc") else "classifier.weight") == len(model.stages)

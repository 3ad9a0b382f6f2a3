"""Names, figures and refusals of the catalogue."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eyebright.errors import ModelError
from eyebright.models.catalog import MODELS, build_model, count_multiply_adds, count_parameters, find_model
from eyebright.models.protocol import Network

# As torchvision publishes them for 1000 classes.
PARAMETERS = {
    "vgg11": 132_863_336,
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}
# Thousand millions of multiply-adds for one image of 224 x 224, as torchvision publishes them ("GFLOPS").
MULTIPLY_ADDS = {
    "vgg11": 7.61,
    "vgg11_bn": 7.61,
    "vgg13": 11.31,
    "vgg13_bn": 11.31,
    "vgg16": 15.47,
    "vgg16_bn": 15.47,
    "vgg19": 19.63,
    "vgg19_bn": 19.63,
    "resnet18": 1.81,
    "resnet34": 3.66,
    "resnet50": 4.09,
    "resnet101": 7.80,
    "resnet152": 11.51,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_network_has_the_published_number_of_parameters(name: str) -> None:
    with torch.device("meta"):  # shapes only: no memory, no initialisation
        model = build_model(name)
    assert count_parameters(model) == PARAMETERS[name]


@pytest.mark.parametrize("name", MULTIPLY_ADDS)
def test_a_network_costs_the_published_number_of_multiply_adds(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name)
    assert count_multiply_adds(model, 224) / 1e9 == pytest.approx(MULTIPLY_ADDS[name], abs=0.006)


def test_the_paper_s_resnet50_costs_a_little_less_than_the_later_layout() -> None:
    with torch.device("meta"):
        model = build_model("resnet50", stride_in="1x1")
    assert count_multiply_adds(model, 224) / 1e9 == pytest.approx(3.86, abs=0.006)
    assert count_parameters(model) == PARAMETERS["resnet50"]


def test_every_published_figure_is_of_a_network_in_the_catalogue_and_none_is_left_out() -> None:
    assert PARAMETERS.keys() == MULTIPLY_ADDS.keys() == MODELS.keys() - {"cnn"}


def test_multiply_adds_of_the_plain_cnn_agree_with_a_count_by_hand() -> None:
    model = build_model("cnn", num_classes=10, width="small")
    # 32, 16 and 8 positions a side; 3x3 windows; then 48 * 4 * 4 -> 128 -> 10.
    by_hand = 9 * (32**2 * 3 * 12 + 16**2 * 12 * 24 + 8**2 * 24 * 48) + 48 * 16 * 128 + 128 * 10
    assert count_multiply_adds(model, 32) == by_hand


def test_counting_multiply_adds_leaves_the_network_as_it_was() -> None:
    model = build_model("resnet18", num_classes=3, in_channels=1).train()
    model.get_submodule("layer1").eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    count_multiply_adds(model, 64)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert all(not module._forward_hooks for module in model.modules())
    assert all(parameter.device.type == "cpu" for parameter in model.parameters())


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("ResNet-50", "resnet50"),
        ("resnet_50", "resnet50"),
        ("VGG 16", "vgg16"),
        ("vgg-16-bn", "vgg16_bn"),
        ("vgg16bn", "vgg16_bn"),
        ("CNN", "cnn"),
    ],
)
def test_names_are_spelled_generously(written: str, name: str) -> None:
    assert find_model(written).name == name


def test_no_two_networks_can_be_meant_by_one_name() -> None:
    assert len({name.replace("_", "") for name in MODELS}) == len(MODELS)


@pytest.mark.parametrize(("written", "near"), [("resnet5", "resnet50"), ("vg16", "vgg16"), ("resnett101", "resnet101")])
def test_an_unknown_network_is_refused_and_the_nearest_is_named(written: str, near: str) -> None:
    with pytest.raises(ModelError, match=rf'no network named "{written}"; did you mean "{near}"'):
        build_model(written)


def test_a_name_near_to_nothing_is_answered_with_all_names() -> None:
    with pytest.raises(ModelError, match=r"choose one of cnn, .*resnet50.*vgg19_bn"):
        find_model("transformer-xl")


def test_a_name_with_control_characters_is_shown_escaped() -> None:
    with pytest.raises(ModelError) as caught:
        find_model("resnet50\x1b[31m")
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet50", {"num_classes": 1}, "at least 2 classes, not 1"),
        ("resnet50", {"in_channels": 0}, "up to 256 of arrays, not 0"),
        ("resnet50", {"head": "pooled"}, "resnet50 has no option head"),
        ("resnet50", {"width": "base"}, "resnet50 has no option width"),
        ("resnet50", {"stride_in": "2x2"}, 'resnet50 can\'t be built: stride_in is "3x3" or "1x1"'),
        ("resnet50", {"embed_stages": 5}, "embed_stages is between 1 and 4, not 5"),
        ("resnet50", {"embed_stages": 0}, "embed_stages is between 1 and 4, not 0"),
        ("vgg16", {"stride_in": "3x3"}, "vgg16 has no option stride_in"),
        ("vgg16", {"head": "average"}, 'head is "classic" or "pooled"'),
        ("vgg16", {"embed_stages": 2}, "embed_stages is 1, or up to 5 with the pooled head, not 2"),
        ("cnn", {"width": "huge"}, "no width 'huge'; choose one of small, base, large, deep"),
        ("cnn", {"embed_stages": 2}, "cnn has no option embed_stages"),
    ],
)
def test_an_option_that_means_nothing_is_refused(name: str, options: dict[str, object], message: str) -> None:
    with torch.device("meta"), pytest.raises(ModelError, match=message):
        build_model(name, **options)  # type: ignore[arg-type]


def test_a_network_starts_where_it_can_learn() -> None:
    """Activations neither vanish nor explode on the way through a fresh network."""
    for name, options in (("cnn", {}), ("vgg11", {"head": "pooled"}), ("resnet18", {})):
        torch.manual_seed(0)
        model = build_model(name, num_classes=5, **options)  # type: ignore[arg-type]
        with torch.no_grad():
            assert isinstance(model, Network)
            embedding = model.embed(torch.randn(8, 3, 64, 64))
        assert 0.01 < float(embedding.std()) < 100, name


def test_entries_are_complete_and_their_sentences_are_sentences() -> None:
    for name, entry in MODELS.items():
        assert entry.name == name
        assert entry.sentence.endswith(".")
        assert entry.family in ("cnn", "vgg", "resnet")
        assert name.startswith(entry.family)


def test_build_model_returns_a_module_in_training_mode() -> None:
    model = build_model("cnn", num_classes=3)
    assert isinstance(model, nn.Module)
    assert model.training

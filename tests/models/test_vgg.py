"""What only a VGG has: two kinds of head, and stages that end in a pool."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from eyebright.models.vgg import DEPTHS, VGG


def test_the_name_of_a_depth_counts_its_weighted_layers() -> None:
    for depth in DEPTHS:
        with torch.device("meta"):
            model = VGG(depth)
        assert sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules()) == depth


def test_parameter_names_are_those_of_published_files() -> None:
    with torch.device("meta"):
        plain, with_norm, pooled = VGG(16), VGG(16, batch_norm=True), VGG(16, head="pooled")
    convolutions = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    assert [name for name in plain.state_dict() if name.endswith("weight")] == [
        *(f"features.{index}.weight" for index in convolutions),
        *(f"classifier.{index}.weight" for index in (0, 3, 6)),
    ]
    assert {"features.40.weight", "features.41.running_var"} <= set(with_norm.state_dict())
    assert list(pooled.state_dict())[-2:] == ["classifier.weight", "classifier.bias"]


def test_the_stages_halve_224_pixels_down_to_the_7_that_the_classic_head_was_made_for() -> None:
    with torch.device("meta"):
        features = VGG(11).forward_features(torch.empty(1, 3, 224, 224))
    assert [tuple(feature.shape[1:]) for feature in features.values()] == [
        (64, 112, 112),
        (128, 56, 56),
        (256, 28, 28),
        (512, 14, 14),
        (512, 7, 7),
    ]


def test_the_classic_head_drops_units_only_while_training() -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        drops = [module for module in VGG(11).classifier.children() if isinstance(module, nn.Dropout)]
    x = torch.ones(1, 100)
    assert len(drops) == 2
    for drop in drops:
        assert torch.equal(drop.eval()(x), x)
        assert (drop.train()(x) == 0).any()


@pytest.mark.parametrize("embed_stages", [1, 2, 5])
def test_the_pooled_head_is_as_wide_as_the_stages_that_it_averages(embed_stages: int) -> None:
    with torch.device("meta"):
        model = VGG(11, head="pooled", embed_stages=embed_stages)
    assert model.embedding_width == sum((64, 128, 256, 512, 512)[-embed_stages:])

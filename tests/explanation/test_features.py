from __future__ import annotations

import numpy as np
import pytest
import torch

from eyebright.errors import SettingsError
from eyebright.explanation.features import (
    FeatureReader,
    choose_channels,
    first_filters,
    measure_stages,
    outline,
    parse_channels,
)
from eyebright.models.catalog import build_model


@pytest.mark.parametrize(
    ("name", "shape"), [("cnn", (24, 1, 3, 3)), ("vgg11_bn", (64, 1, 3, 3)), ("resnet18", (64, 1, 7, 7))]
)
def test_first_filters_are_the_networks_own_weights(name: str, shape: tuple[int, ...]) -> None:
    model = build_model(name, in_channels=1)
    where, filters = first_filters(model)
    assert filters.shape == shape
    assert np.array_equal(filters, model.get_parameter(f"{where}.weight").detach().numpy())


def test_responses_are_the_largest_value_of_each_channel() -> None:
    torch.manual_seed(0)
    reader = FeatureReader(build_model("resnet18"))
    images = np.random.default_rng(0).normal(size=(5, 3, 64, 64)).astype(np.float32)
    told: list[int] = []
    found = reader.respond(iter([images[:3], images[3:]]), told.append)
    assert told == [3, 5]
    assert list(found) == ["stem", "layer1", "layer2", "layer3", "layer4"]
    for stage, (channels, height, width) in measure_stages(reader.network, 64).items():
        assert found[stage].shape == (5, channels)
        one = reader.read(images[4:])[stage]
        assert one.shape == (1, channels, height, width)
        assert np.allclose(found[stage][4], one[0].max(axis=(1, 2)), rtol=0.05, atol=0.05)  # bfloat16, another batch


def test_channels_are_chosen_by_what_sets_the_image_apart() -> None:
    chance = np.random.default_rng(0)
    peaks = chance.normal(5, 1, (200, 6)).astype(np.float32)
    peaks[:, 4] = 0  # dead
    own = np.array([5, 9, 5, 7, 0, 5], dtype=np.float32)
    assert choose_channels(peaks, own, 2) == (1, 3)
    assert 4 not in choose_channels(peaks, own, 6)
    peaks[:9, 5] += 30  # a few images excite it far more than the others
    assert choose_channels(peaks, None, 1) == (5,)
    assert choose_channels(None, own, 3)[:2] == (1, 3)
    assert len(choose_channels(None, own, 9)) == 5


def test_an_outline_holds_the_peak_and_what_touches_it() -> None:
    values = np.zeros((4, 4), dtype=np.float32)
    values[1, 1], values[1, 2], values[3, 3] = 1.0, 0.6, 0.9  # the last one is elsewhere
    assert outline(values, 64, 1) == (16, 16, 48, 32)
    assert outline(values, 64, 32) == (16, 8, 48, 40)
    corner = np.zeros((8, 8), dtype=np.float32)
    corner[7, 0] = 1
    assert outline(corner, 64, 20) == (0, 44, 20, 64)
    assert outline(np.ones((1, 1), dtype=np.float32), 5, 9) == (0, 0, 5, 5)


def test_channels_are_named_by_stage_and_number() -> None:
    channels = {"layer1": 64, "layer2": 128}
    assert parse_channels(("layer2:17", "layer1:0", "layer2:3", "layer2:17"), channels) == {
        "layer2": (17, 3),
        "layer1": (0,),
    }
    for text, words in (
        ("layer3:1", 'no stage "layer3"; did you mean "layer'),
        ("layer1:64", '"layer1:64" is no channel; write layer1: and a number from 0 to 63'),
        ("layer1", "write layer1: and a number"),
        ("layer1:-1", "is no channel"),
    ):
        with pytest.raises(SettingsError, match=words):
            parse_channels((text,), channels)

from __future__ import annotations

import numpy as np
import pytest
import torch

from eyebright.explanation.features import FeatureReader
from eyebright.explanation.maximise import maximise
from eyebright.models.catalog import build_model
from eyebright.preprocess import Preprocessing


@pytest.fixture
def reader() -> FeatureReader:
    torch.manual_seed(0)
    return FeatureReader(build_model("cnn", in_channels=1))


PREPROCESSING = Preprocessing(image_size=32, resize=32, mean=(0.5,), std=(0.25,))


def answer(reader: FeatureReader, picture: np.ndarray | None, stage: str, channel: int) -> float:
    assert picture is not None
    assert picture.shape == (32, 32, 3)
    image = PREPROCESSING.normalise(picture[None, :, :, :1])
    return float(reader.read(image)[stage][0, channel].mean())


def test_a_painted_picture_excites_its_channel_more_than_noise_and_than_the_others(reader: FeatureReader) -> None:
    channels = (3, 8, 11)
    noise = maximise(reader.network, "stage2", channels, PREPROCESSING, side=32, steps=0)
    painted = maximise(reader.network, "stage2", channels, PREPROCESSING, side=32, steps=30)
    for place, channel in enumerate(channels):
        own = answer(reader, painted[place], "stage2", channel)
        assert own > 1.5 * answer(reader, noise[place], "stage2", channel)
        assert own > max(answer(reader, painted[other], "stage2", channel) for other in range(3) if other != place)


def test_stages_after_the_painted_one_are_not_computed(reader: FeatureReader) -> None:
    seen: list[torch.Size] = []
    deeper = [module for module in reader.network.modules() if isinstance(module, torch.nn.Conv2d)][1:]
    for module in deeper:
        module.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    maximise(reader.network, "stage1", (2,), PREPROCESSING, side=24, steps=2)
    assert seen == []
    maximise(reader.network, "stage2", (2,), PREPROCESSING, side=24, steps=2)
    assert len(seen) == 3  # the noises, and two steps


def test_the_same_question_gets_the_same_picture(reader: FeatureReader) -> None:
    one, other = (maximise(reader.network, "stage1", (2,), PREPROCESSING, side=24, steps=3)[0] for _ in range(2))
    assert one is not None
    assert other is not None
    assert np.array_equal(one, other)


def test_a_dead_channel_gets_none() -> None:
    torch.manual_seed(0)
    model = build_model("cnn", in_channels=1)
    with torch.no_grad():
        model.get_parameter("features.0.weight")[5] = 0
        model.get_parameter("features.0.bias")[5] = -1
    network = FeatureReader(model).network
    found = maximise(network, "stage1", (5, 6), PREPROCESSING, side=16, steps=2)
    assert found[0] is None
    assert found[1] is not None
    assert maximise(network, "stage1", (5,), PREPROCESSING, side=16, steps=2) == [None]

from __future__ import annotations

import base64
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from eyebright.drawing.activations import SHOWN, Activation, answers_to_show, picture_activation
from eyebright.drawing.graph import Graph

GraphOf = Callable[..., Graph]


def open_picture(found: Activation | None) -> Image.Image:
    assert found is not None
    return Image.open(io.BytesIO(base64.b64decode(found.picture.split(",")[1]))).convert("RGBA")


def test_the_strongest_channels_come_first() -> None:
    values = np.zeros((20, 38, 38), dtype=np.float32)
    values[7, :19] = 5
    values[3, 19:] = 2
    found = picture_activation("layer", values)
    picture = np.asarray(open_picture(found))[..., :3].astype(int)
    assert found is not None
    assert found.caption == f"the {SHOWN} strongest of 20 channels, 38 x 38 positions each"
    first, second = picture[:76, :76].sum(axis=2), picture[:76, 79:155].sum(axis=2)
    assert first[:36].min() > first[40:].max()
    assert second[40:].min() > second[:36].max()


def test_vectors_are_rows_and_what_is_neither_is_not_shown() -> None:
    found = picture_activation("fc", np.arange(130, dtype=np.float32))
    assert found is not None
    assert (found.width, found.height) == (64 * 4, 3 * 4)
    assert picture_activation("tokens", np.zeros((3, 4), dtype=np.float32)) is None
    assert picture_activation("broken", np.full((3, 4, 4), np.nan, dtype=np.float32)) is None


def test_a_flat_map_and_an_oblong_one_are_pictures_too() -> None:
    assert open_picture(picture_activation("flat", np.ones((2, 1, 1), dtype=np.float32))).size[1] == 76
    assert open_picture(picture_activation("wide", np.ones((1, 4, 16), dtype=np.float32))).size == (76, 19)


def test_stages_and_blocks_have_the_node_after_their_relu(graph_of: GraphOf) -> None:
    wanted = answers_to_show(graph_of("resnet50"))
    assert wanted["layer1"].node == wanted["layer1.2.add"].node == "layer1.2.relu_3"
    assert wanted["conv1"].node == "relu"
    assert not {"x", "softmax"} & set(wanted)

from __future__ import annotations

import json
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image

from eyebright.errors import DataError
from eyebright.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, in_colour


def noise(height: int, width: int, channels: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("shape", [(50, 80), (80, 50), (33, 33), (1, 7), (200, 3)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_squash_is_a_plain_resize_of_the_whole_image(shape: tuple[int, int], interpolation: Any) -> None:
    image = noise(*shape)
    p = Preprocessing(image_size=16, resize=20, fit="squash", interpolation=interpolation)
    kind = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    expected = np.asarray(Image.fromarray(image).resize((20, 20), kind))
    assert np.array_equal(p.square(image), expected)
    assert np.array_equal(p.crop(expected[None])[0], expected[2:18, 2:18])


def test_crop_takes_the_largest_square_around_the_centre() -> None:
    image = np.zeros((40, 100, 3), dtype=np.uint8)
    image[:, 30:70] = 255
    p = Preprocessing(image_size=10, resize=10, fit="crop")
    for square in (p.square(image), p.square(image.transpose(1, 0, 2).copy())):
        assert square.shape == (10, 10, 3)
        assert square[1:-1, 1:-1].min() == 255
        assert square.min() > 200  # at the edge the filter sees a little of what lies beyond
    assert Preprocessing(image_size=10, resize=10, fit="squash").square(image).min() == 0


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("height", "width"),
    [(31, 50), (50, 31), (7, 90), (33, 34), (1, 5), (375, 500), (333, 500), (500, 333), (40, 41), (200, 9), (121, 122)],
)
def test_crop_equals_resizing_the_box_around_the_centre(
    height: int, width: int, turned: bool, interpolation: Any
) -> None:
    image = noise(width, height).swapaxes(0, 1) if turned else noise(height, width)
    cut = min(height, width)
    left, top = (width - cut) / 2, (height - cut) / 2  # halves of pixels where it does not come out even
    box = (left, top, left + cut, top + cut)
    expected = Image.fromarray(image).resize((20, 20), Image.Resampling[interpolation.upper()], box=box)
    p = Preprocessing(image_size=16, resize=20, fit="crop", interpolation=interpolation)
    assert np.array_equal(p.square(image), np.asarray(expected))


def test_an_image_of_the_right_size_is_left_as_it_is() -> None:
    image = noise(20, 20)
    assert np.array_equal(Preprocessing(image_size=16, resize=20).square(image), image)
    assert not np.array_equal(
        Preprocessing(image_size=16, resize=20, fit="crop").square(noise(20, 40)),
        Preprocessing(image_size=16, resize=20, fit="squash").square(noise(20, 40)),
    )


def test_normalising_is_what_the_formula_says_and_lies_channels_last() -> None:
    images = noise(2 * 6, 6).reshape(2, 6, 6, 3)
    found = Preprocessing(image_size=6, resize=6).normalise(images)
    expected = (images / 255.0 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    assert found.dtype == np.float32
    assert found.shape == (2, 3, 6, 6)
    np.testing.assert_allclose(found.transpose(0, 2, 3, 1), expected, atol=1e-5)
    assert found.transpose(0, 2, 3, 1).flags.c_contiguous
    channels_first = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    again = Preprocessing(image_size=6, resize=6).normalise(channels_first)
    assert np.array_equal(again, found)
    assert again.transpose(0, 2, 3, 1).flags.c_contiguous  # whatever it came as


def test_one_call_is_all_steps() -> None:
    p = Preprocessing(image_size=8, resize=10, fit="crop")
    image = noise(30, 41)
    assert np.array_equal(p(image), p.normalise(p.crop(p.square(image)[None]))[0])


def test_grey_networks_get_one_channel() -> None:
    p = Preprocessing(image_size=8, resize=8, mean=(0.5,), std=(0.25,))
    assert p.channels == 1
    image = np.full((9, 9, 3), 51, dtype=np.uint8)
    np.testing.assert_allclose(p(image), np.full((1, 8, 8), (0.2 - 0.5) / 0.25), atol=1e-5)


def test_it_survives_json() -> None:
    p = Preprocessing(image_size=9, resize=11, fit="squash", interpolation="bicubic", mean=(0.1,), std=(0.7,))
    assert Preprocessing.from_dict(json.loads(json.dumps(p.to_dict()))) == p


def test_what_was_saved_before_there_was_a_choice_decodes_at_full_size() -> None:
    p = Preprocessing(image_size=16, resize=20)
    assert p.short_side == 40
    values = p.to_dict()
    assert Preprocessing.from_dict(values).short_side == 40
    del values["oversample"]
    assert Preprocessing.from_dict(values).short_side == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"oversample": -1}, "from 0 to 8"),
        ({"oversample": 9}, "from 0 to 8"),
        ({"oversample": 1.5}, "from 0 to 8"),
        ({"image_size": 0}, "1 <= image_size"),
        ({"image_size": 30}, "image_size <= resize"),
        ({"resize": 9000}, "8192"),
        ({"fit": "stretch"}, 'is "crop" or "squash"'),
        ({"interpolation": "nearest"}, '"bilinear" or "bicubic"'),
        ({"mean": [0.5, 0.5]}, "one value"),
        ({"std": [0.5]}, "one value"),
        ({"std": [0.1, 0.1, 0.0]}, "above zero"),
        ({"mean": [0.1, float("nan"), 0.1]}, "finite"),
        ({"mean": "abc"}, "can't be read"),
        ({"image_size": 16.0}, "whole numbers"),
        ({"resize": True}, "whole numbers"),
        ({"resize": "20"}, "whole numbers"),
        ({"imagesize": 3}, 'did you mean "image_size"'),
    ],
)
def test_nonsense_is_refused(change: dict[str, Any], message: str) -> None:
    values = Preprocessing(image_size=16, resize=20).to_dict() | change
    with pytest.raises(DataError, match=message):
        Preprocessing.from_dict(values)


def test_a_grey_image_is_shown_in_colour_and_one_in_colour_as_it_is() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    shown = in_colour(grey)
    assert shown.shape == (3, 4, 3)
    assert all(np.array_equal(shown[..., channel], grey[..., 0]) for channel in range(3))
    assert np.array_equal(in_colour(shown), shown)


@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_every_channel_of_an_array_is_resized_as_if_it_were_alone(fit: Literal["crop", "squash"]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 5), dtype=np.uint8)
    grey = Preprocessing(image_size=16, resize=18, fit=fit, mean=(0.5,), std=(0.25,))
    seen = grey.with_channels(5)
    assert seen.mean == (0.5,) * 5
    square = seen.square(image)
    assert square.shape == (18, 18, 5)
    for band in range(5):
        alone = grey.square(image[..., [band]].repeat(3, axis=2))
        np.testing.assert_array_equal(square[..., [band]], alone)
    assert seen(image).shape == (5, 16, 16)

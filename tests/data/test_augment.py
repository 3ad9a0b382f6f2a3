from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from eyebright.data.augment import FINE_TUNING, LIGHT, LIMITS, AugmentationSettings, augment, draw_uniform
from eyebright.errors import SettingsError
from eyebright.preprocess import Preprocessing

PREPROCESSING = Preprocessing(image_size=24, resize=24)
NONE = AugmentationSettings(flip=False, **dict.fromkeys(LIMITS, 0.0))
SQUARES = np.random.default_rng(0).integers(0, 256, (40, 24, 24, 3), dtype=np.uint8)
ALL = np.arange(40)
STRONG = replace(FINE_TUNING, erase=0.5, colour=0.4)


def test_it_depends_on_seed_epoch_and_sample_and_on_nothing_else() -> None:
    together = augment(SQUARES, ALL, PREPROCESSING, STRONG, seed=3, epoch=2)
    order = np.random.default_rng(1).permutation(40)
    shuffled = augment(SQUARES[order], order, PREPROCESSING, STRONG, seed=3, epoch=2)
    np.testing.assert_allclose(shuffled.numpy(), together.numpy()[order], atol=1e-5)
    alone = augment(SQUARES[7:8], ALL[7:8], PREPROCESSING, STRONG, seed=3, epoch=2)
    np.testing.assert_allclose(alone.numpy()[0], together.numpy()[7], atol=1e-5)
    for seed, epoch in ((3, 3), (4, 2)):
        other = augment(SQUARES, ALL, PREPROCESSING, STRONG, seed=seed, epoch=epoch)
        assert (np.abs(other.numpy() - together.numpy()).mean(axis=(1, 2, 3)) > 0.01).all()


def test_no_augmentation_is_plain_preprocessing() -> None:
    found = augment(SQUARES, ALL, PREPROCESSING, NONE, seed=0, epoch=1)
    np.testing.assert_allclose(found.numpy(), PREPROCESSING.normalise(SQUARES), atol=1e-3)


def test_light_augmentation_moves_whole_pixels_and_mirrors_half() -> None:
    found = augment(SQUARES, ALL, PREPROCESSING, LIGHT, seed=0, epoch=1).numpy()
    plain = PREPROCESSING.normalise(SQUARES)
    mirrored = 0
    for image, original in zip(found, plain, strict=True):
        centre = image[:, 4:-4, 4:-4]
        matches = [
            mirror
            for mirror, source in ((False, original), (True, original[:, :, ::-1]))
            for down in range(9)
            for across in range(9)
            if np.abs(source[:, down : down + 16, across : across + 16] - centre).max() < 1e-2
        ]
        assert len(matches) == 1  # every pixel is one of the original's, unblurred
        mirrored += matches[0]
    assert 10 <= mirrored <= 30


def test_a_larger_square_is_scaled_to_what_the_network_sees() -> None:
    p = Preprocessing(image_size=16, resize=24)
    assert augment(SQUARES, ALL, p, STRONG, seed=0, epoch=1).shape == (40, 3, 16, 16)


def test_the_numbers_are_uniform_and_independent() -> None:
    samples = np.arange(20_000)
    values = draw_uniform(1, 2, samples, 3)
    assert values.min() >= 0
    assert values.max() < 1
    counts = np.histogram(values, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square, 19 degrees of freedom, one in a thousand
    others = [draw_uniform(1, 2, samples, 4), draw_uniform(1, 3, samples, 3), draw_uniform(2, 2, samples, 3)]
    for other in [*others, np.roll(values, 1)]:
        assert abs(np.corrcoef(values, other)[0, 1]) < 0.03
    assert np.array_equal(draw_uniform(1, 2, samples[5:9], 3), values[5:9])


@pytest.mark.parametrize(
    "change", [{"zoom": 1.0}, {"stretch": -0.1}, {"shift": 0.6}, {"rotate": 181.0}, {"light": 2.0}, {"erase": 1.5}]
)
def test_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=f"augmentation.{next(iter(change))} is between"):
        AugmentationSettings(**change)


@pytest.mark.parametrize("size", [(16, 24), (24, 24), (14, 24)])
def test_no_augmentation_of_a_larger_square_is_the_crop_around_the_centre(size: tuple[int, int]) -> None:
    p = Preprocessing(image_size=size[0], resize=size[1])
    found = augment(SQUARES, ALL, p, NONE, seed=0, epoch=1)
    np.testing.assert_allclose(found.numpy(), p.normalise(p.crop(SQUARES)), atol=1e-3)


def test_the_result_lies_channels_last_and_grey_images_pass() -> None:
    found = augment(SQUARES, ALL, PREPROCESSING, STRONG, seed=0, epoch=1)
    assert found.dtype == torch.float32
    assert found.is_contiguous(memory_format=torch.channels_last)
    grey = Preprocessing(image_size=24, resize=24, mean=(0.5,), std=(0.2,))
    assert augment(SQUARES[..., :1].copy(), ALL, grey, STRONG, seed=0, epoch=1).shape == (40, 1, 24, 24)


def test_about_half_are_mirrored_and_the_others_left_as_they_are() -> None:
    flips = replace(NONE, flip=True)
    found = augment(SQUARES, ALL, PREPROCESSING, flips, seed=0, epoch=1).numpy()
    plain = PREPROCESSING.normalise(SQUARES)
    mirrored = [np.allclose(image, old[:, :, ::-1], atol=1e-3) for image, old in zip(found, plain, strict=True)]
    same = [np.allclose(image, old, atol=1e-3) for image, old in zip(found, plain, strict=True)]
    assert [a != b for a, b in zip(mirrored, same, strict=True)] == [True] * 40
    assert 10 <= sum(mirrored) <= 30
    other = augment(SQUARES, ALL, PREPROCESSING, flips, seed=0, epoch=2).numpy()
    assert any(not np.allclose(a, b, atol=1e-3) for a, b in zip(found, other, strict=True))


def test_a_turn_keeps_to_its_limit() -> None:
    spoke = np.zeros((40, 25, 25, 3), dtype=np.uint8)
    spoke[:, :, 12] = 255  # an upright line through the centre
    p = Preprocessing(image_size=25, resize=25, mean=(0.0,) * 3, std=(1.0,) * 3)
    found = augment(spoke, ALL, p, replace(NONE, rotate=20.0), seed=0, epoch=1).numpy()[:, 0]
    top = (found[:, 2] * np.arange(25)).sum(axis=1) / found[:, 2].sum(axis=1) - 12  # 10 pixels above the centre
    angles = np.degrees(np.arctan2(top, 10))
    assert np.abs(angles).max() < 21
    assert angles.max() > 10
    assert angles.min() < -10


def test_a_mirrored_image_is_turned_and_not_sheared() -> None:
    cross = np.zeros((40, 25, 25, 3), dtype=np.uint8)
    cross[:, 12], cross[:, :, 12] = 255, 255
    p = Preprocessing(image_size=25, resize=25, mean=(0.0,) * 3, std=(1.0,) * 3)
    found = augment(cross, ALL, p, replace(NONE, rotate=20.0, flip=True), seed=0, epoch=1).numpy()[:, 0]
    middle = np.arange(7, 18)  # both arms cross the frame that is 10 pixels from the centre within these
    top = (found[:, 2, middle] * middle).sum(axis=1) / found[:, 2, middle].sum(axis=1) - 12
    right = (found[:, middle, 22] * middle).sum(axis=1) / found[:, middle, 22].sum(axis=1) - 12
    assert np.abs(top).max() > 2
    np.testing.assert_allclose(right, top, atol=0.5)  # the arms still stand at right angles


def test_light_changes_by_no_more_than_asked_and_never_leaves_the_range() -> None:
    p = Preprocessing(image_size=24, resize=24, mean=(0.0,) * 3, std=(1.0,) * 3)
    found = augment(SQUARES, ALL, p, replace(NONE, light=0.3), seed=0, epoch=1).numpy()
    assert found.min() >= 0
    assert found.max() <= 1 + 1e-6
    flat = np.full((40, 24, 24, 3), 128, dtype=np.uint8)  # contrast does nothing to it
    ratios = augment(flat, ALL, p, replace(NONE, light=0.3), seed=0, epoch=1).numpy().mean(axis=(1, 2, 3)) * 255 / 128
    assert 0.7 - 1e-3 <= ratios.min() < 0.85
    assert 1.15 < ratios.max() <= 1.3 + 1e-3


def test_erasing_greys_out_one_rectangle_in_the_asked_share_of_images() -> None:
    plain = PREPROCESSING.normalise(SQUARES)
    found = augment(SQUARES, ALL, PREPROCESSING, replace(NONE, erase=0.5), seed=0, epoch=1).numpy()
    changed = np.abs(found - plain).max(axis=1) > 1e-2  # (N, S, S)
    hit = changed.reshape(40, -1).any(axis=1)
    assert 10 <= hit.sum() <= 30
    for mask in changed[hit]:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert 5 <= len(rows) <= 12
        assert 5 <= len(columns) <= 12
        assert mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.95


def test_a_lower_resolution_shows_the_same_picture_without_aliasing() -> None:
    stripes = np.zeros((1, 96, 96, 3), dtype=np.uint8)
    stripes[:, :, ::2] = 255  # one pixel wide: at a quarter of the size only their mean is left
    p = Preprocessing(image_size=96, resize=96, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    small = augment(stripes, ALL[:1], p, NONE, seed=0, epoch=1, side=24)
    assert small.shape == (1, 3, 24, 24)
    assert small.abs().max() < 0.2
    halves = np.zeros((1, 96, 96, 3), dtype=np.uint8)
    halves[:, :, 48:] = 255
    found = augment(halves, ALL[:1], p, NONE, seed=0, epoch=1, side=24).numpy()
    assert found[..., :11].max() < -0.9
    assert found[..., 13:].min() > 0.9


def test_colours_change_and_greys_keep_their_lightness() -> None:
    coloured = augment(SQUARES, ALL, PREPROCESSING, replace(NONE, colour=0.8), seed=0, epoch=1).numpy()
    assert np.abs(coloured - PREPROCESSING.normalise(SQUARES)).mean() > 0.1
    grey = np.full((40, 24, 24, 3), 128, dtype=np.uint8)
    p = Preprocessing(image_size=24, resize=24, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    found = augment(grey, ALL, p, replace(NONE, colour=0.4), seed=0, epoch=1).numpy()
    assert np.abs(found - 128 / 255).max() <= 0.1 * 128 / 255 + 1e-4  # the tint alone, a quarter of the setting


def test_what_is_left_to_the_recipe_is_filled_from_it() -> None:
    filled = AugmentationSettings(rotate=90.0, flip=False).filled(FINE_TUNING)
    assert filled == replace(FINE_TUNING, rotate=90.0, flip=False)

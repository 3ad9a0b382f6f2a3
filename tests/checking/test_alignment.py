from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from eyebright.checking.alignment import compare, compare_all, mirror, shrink


def photo(seed: int) -> Image.Image:
    """Blobs, with a grain that no other seed has; all seeds from 100 on share the same blobs."""
    blobs = np.random.default_rng(min(seed, 100))
    coarse = Image.fromarray(blobs.integers(60, 196, (6, 8), dtype=np.uint8)).resize(
        (320, 240), Image.Resampling.BICUBIC
    )
    grain = np.random.default_rng(seed).integers(-60, 61, (60, 80))
    fine = Image.fromarray((grain + 128).astype(np.uint8)).resize((320, 240), Image.Resampling.BICUBIC)
    mixed = np.asarray(coarse).astype(np.int64) + np.asarray(fine) - 128
    return Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8))


def test_an_image_is_fully_like_itself() -> None:
    likeness = compare(shrink(photo(1)), shrink(photo(1)))
    assert likeness.coarse > 0.999
    assert likeness.detail > 0.999


@pytest.mark.parametrize("box", [(16, 12, 320, 240), (0, 0, 304, 228), (8, 6, 312, 234), (16, 0, 320, 240)])
def test_a_crop_is_aligned_from_either_side(box: tuple[int, int, int, int]) -> None:
    whole, part = shrink(photo(2)), shrink(photo(2).crop(box))
    assert compare(whole, part).detail > 0.8
    assert compare(part, whole).detail > 0.8
    # Without the alignment the grain would not meet.
    plain = np.corrcoef(whole[2].ravel() - part[2].mean(), part[2].ravel())[0, 1]
    assert compare(whole, part).coarse > plain


def test_a_smaller_file_of_low_quality_in_other_light_is_like_the_original() -> None:
    file = io.BytesIO()
    photo(3).resize((160, 120)).point(lambda value: 30 + value * 3 // 4).save(file, "JPEG", quality=50)
    likeness = compare(shrink(photo(3)), shrink(Image.open(file)))
    assert likeness.coarse > 0.98
    assert likeness.detail > 0.9


def test_coarse_shapes_are_not_enough() -> None:
    likeness = compare(shrink(photo(100)), shrink(photo(101)))
    assert likeness.detail < 0.3


def test_a_mirrored_image_is_like_it_once_mirrored_back() -> None:
    one, other = shrink(photo(4)), shrink(photo(4).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert compare(one, other).detail < 0.3
    assert compare(mirror(one), other).detail > 0.999


def test_images_of_one_even_colour_are_like_nothing() -> None:
    grey = shrink(Image.new("L", (100, 100), 128))
    assert compare(grey, grey).detail == 0
    assert compare(grey, shrink(photo(5))).detail == 0


def test_many_pairs_at_once_are_judged_as_each_alone() -> None:
    whole = [photo(seed) for seed in (1, 2, 3, 100, 101)]
    thumbnails = [shrink(image) for image in whole]
    parts = [shrink(image.crop((10 * number, 12, 320, 240))) for number, image in enumerate(whole)]
    grey = shrink(Image.new("L", (100, 100), 128))
    ones = [grey, *thumbnails, *thumbnails]
    others = [thumbnails[0], *reversed(parts), *parts]
    together = compare_all(ones, others)
    assert len({likeness.detail >= 0.8 for likeness in together}) == 2
    for one, other, likeness in zip(ones, others, together, strict=True):
        assert likeness == pytest.approx(compare(one, other), abs=1e-3)
    assert compare_all([], []) == []


def test_what_lies_beyond_the_overlap_does_not_count() -> None:
    pixels = np.asarray(photo(6))
    # A tenth of the width is gone on one side, and something else follows on the other.
    shifted = np.concatenate([pixels[:, 32:], np.asarray(photo(7))[:, :32]], axis=1)
    likeness = compare(shrink(Image.fromarray(shifted)), shrink(Image.fromarray(pixels)))
    assert likeness.coarse > 0.9
    assert likeness.detail > 0.85

"""Outlines as scikit-image describes them; colours counted pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from eyebright.embedding.descriptors import describe_colours, describe_outlines, describe_squares


def draw_squares(count: int, side: int = 64) -> np.ndarray:
    """Noise, gradients and flat fields, some in colour."""
    rng = np.random.default_rng(7)
    squares = rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    squares[1] = np.arange(side, dtype=np.uint8)[:, None, None] * 3
    squares[2] = 127
    squares[3, :, : side // 2] = (200, 30, 30)
    squares[3, :, side // 2 :] = (20, 40, 220)
    return squares


def test_outlines_are_those_of_scikit_image() -> None:
    feature = pytest.importorskip("skimage.feature", reason="scikit-image is not installed")
    squares = draw_squares(6)
    found = describe_outlines(squares)
    assert found.shape == (6, 7 * 7 * 36)
    for square, row in zip(squares, found, strict=True):
        expected = feature.hog(
            square.astype(np.float64),
            orientations=9,
            pixels_per_cell=(8, 8),
            cells_per_block=(2, 2),
            block_norm="L2-Hys",
            channel_axis=-1,
        )
        np.testing.assert_allclose(row, expected, atol=1e-5)


def test_colours_are_counted_in_each_quarter() -> None:
    squares = draw_squares(4, side=16)
    found = describe_colours(squares)
    assert found.shape == (4, 4 * 64)
    for square, row in zip(squares, found, strict=True):
        expected = np.zeros((2, 2, 4, 4, 4))
        for y in range(16):
            for x in range(16):
                red, green, blue = square[y, x] // 64
                expected[y // 8, x // 8, red, green, blue] += 1 / 64
        np.testing.assert_allclose(row**2, expected.ravel(), atol=1e-6)


def test_a_flat_image_has_no_outlines_and_a_brighter_one_the_same() -> None:
    squares = draw_squares(4)
    assert not describe_outlines(squares[2:3]).any()
    dim = squares // 2
    np.testing.assert_allclose(describe_outlines(dim[1:2] + 100), describe_outlines(dim[1:2]), atol=1e-6)


def test_many_are_described_as_one_alone_and_none_as_none() -> None:
    squares = draw_squares(70)
    found = describe_squares(squares)
    np.testing.assert_array_equal(found[69:], describe_squares(squares[69:]))
    assert found.dtype == np.float32
    assert describe_squares(squares[:0]).shape == (0, found.shape[1])

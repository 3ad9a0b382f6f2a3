"""Rounding to int8: what each way promises, on weights drawn at random."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from eyebright.exporting.rounding import LEVELS, SCALES, SUMS, Scale, Sums, quantise

EVERY_WAY = [(scale, sums) for scale in SCALES for sums in SUMS]


def draw(seed: int, *shape: int) -> NDArray[np.float32]:
    """Bell-shaped with a few outliers, as real weights are."""
    random = np.random.default_rng(seed)
    return (random.normal(size=shape) * (1 + 4 * (random.random(shape) > 0.98))).astype(np.float32)


def restore(quantised: NDArray[np.int8], step: NDArray[np.float32]) -> NDArray[np.float64]:
    return quantised.astype(np.float64) * step.astype(np.float64).reshape(-1, *[1] * (quantised.ndim - 1))


@pytest.mark.parametrize(("scale", "sums"), EVERY_WAY)
def test_shapes_types_and_range_are_kept(scale: Scale, sums: Sums) -> None:
    for shape in ((8, 5, 3, 3), (8, 16, 1, 1), (8, 32)):
        quantised, step = quantise(draw(1, *shape), scale=scale, sums=sums)
        assert (str(quantised.dtype), quantised.shape) == ("int8", shape)
        assert (str(step.dtype), step.shape) == ("float32", (8,))
        assert np.abs(quantised).max() <= LEVELS


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_largest_magnitudes_keep_every_value_within_half_a_step(seed: int) -> None:
    weight = draw(seed, 4, 6, 3, 3)
    quantised, step = quantise(weight, scale="absmax", sums="nearest")
    error = np.abs(restore(quantised, step) - weight).reshape(4, -1)
    assert (error <= step[:, None] * 0.5001).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_least_error_scale_is_never_worse_than_the_largest_magnitude(seed: int) -> None:
    weight = draw(seed, 4, 6, 3, 3)
    plain, least = (
        ((restore(*quantise(weight, scale=scale, sums="nearest")) - weight) ** 2).sum(axis=(1, 2, 3))
        for scale in SCALES
    )
    assert (least <= plain * 1.0001).all()


@pytest.mark.parametrize("shape", [(8, 16, 3, 3), (8, 64, 1, 1), (8, 64)])
@pytest.mark.parametrize("sums", ["channel", "kernel+channel"])
def test_a_channel_adds_up_to_within_half_a_step_of_what_it_was(shape: tuple[int, ...], sums: Sums) -> None:
    weight = draw(3, *shape)
    quantised, step = quantise(weight, scale="absmax", sums=sums)
    error = (restore(quantised, step) - weight).reshape(8, -1).sum(axis=1) / step
    assert np.abs(error).max() <= 0.5001
    plain, step = quantise(weight, scale="absmax", sums="nearest")
    assert np.abs((restore(plain, step) - weight).reshape(8, -1).sum(axis=1) / step).max() > 0.6


def test_every_kernel_adds_up_to_within_half_a_step_of_what_it_was() -> None:
    weight = draw(4, 8, 16, 3, 3)
    quantised, step = quantise(weight, scale="absmax", sums="kernel")
    error = (restore(quantised, step) - weight).sum(axis=(2, 3)) / step[:, None]
    assert np.abs(error).max() <= 0.5001


@pytest.mark.parametrize(("scale", "sums"), EVERY_WAY)
def test_no_value_that_was_not_clipped_moves_further_than_one_step(scale: Scale, sums: Sums) -> None:
    weight = draw(5, 8, 16, 3, 3)
    quantised, step = quantise(weight, scale=scale, sums=sums)
    inside = np.abs(weight) <= LEVELS * step.reshape(-1, 1, 1, 1)
    error = np.abs(restore(quantised, step) - weight) / step.reshape(-1, 1, 1, 1)
    assert error[inside].max() <= 1.0001


@pytest.mark.parametrize(("scale", "sums"), EVERY_WAY)
def test_a_filled_channel_ends_at_127(scale: Scale, sums: Sums) -> None:
    filled, _ = quantise(draw(6, 64, 16, 3, 3), scale=scale, sums=sums, fills=True)
    assert (np.abs(filled).reshape(64, -1).max(axis=1) == LEVELS).all()
    if scale == "mse":
        free, _ = quantise(draw(6, 64, 16, 3, 3), scale=scale, sums=sums)
        assert np.abs(free).reshape(64, -1).max(axis=1).min() < LEVELS, "some scales have room above"


@pytest.mark.parametrize(("scale", "sums"), EVERY_WAY)
def test_a_channel_of_zeros_stays_zero(scale: Scale, sums: Sums) -> None:
    quantised, step = quantise(np.zeros((2, 3, 3, 3), dtype=np.float32), scale=scale, sums=sums)
    assert (restore(quantised, step) == 0).all()
    assert np.isfinite(step).all()

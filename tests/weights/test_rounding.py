"""Rounding to int8: what each way promises, on weights drawn at random."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import LEVELS, SCALES, SUMS, Scale, Sums, quantise
from torch import Tensor

EVERY_WAY = [(scale, sums) for scale in SCALES for sums in SUMS]


def draw(seed: int, *shape: int) -> Tensor:
    """Bell-shaped with a few outliers, as real weights are."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=random) * (1 + 4 * (torch.rand(shape, generator=random) > 0.98))


def restore(quantised: Tensor, step: Tensor) -> Tensor:
    return quantised.double() * step.double().reshape(-1, *[1] * (quantised.dim() - 1))


@pytest.mark.parametrize(("scale", "sums"), EVERY_WAY)
def test_shapes_types_and_range_are_kept(scale: Scale, sums: Sums) -> None:
    for shape in ((8, 5, 3, 3), (8, 16, 1, 1), (8, 32)):
        quantised, step = quantise(draw(1, *shape), scale=scale, sums=sums)
        assert (quantised.dtype, tuple(quantised.shape)) == (torch.int8, shape)
        assert (step.dtype, tuple(step.shape)) == (torch.float32, (8,))
        assert int(quantised.abs().max()) <= LEVELS


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_largest_magnitudes_keep_every_value_within_half_a_step(seed: int) -> None:
    weight = draw(seed, 4, 6, 3, 3)
    quantised, step = quantise(weight, scale="absmax", sums="nearest")
    error = (restore(quantised, step) - weight).abs().reshape(4, -1)
    assert (error <= step.double()[:, None] * 0.5001).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_least_error_scale_is_never_worse_than_the_largest_magnitude(seed: int) -> None:
    weight = draw(seed, 4, 6, 3, 3)
    plain, least = (
        (restore(*quantise(weight, scale=scale, sums="nearest")) - weight).square().sum(dim=(1, 2, 3))
        for scale in SCALES
    )
    assert (least <= plain * 1.0001).all()


@pytest.mark.parametrize("shape", [(8, 16, 3, 3), (8, 64, 1, 1), (8, 64)])
@pytest.mark.parametrize("sums", ["channel", "kernel+channel"])
def test_a_channel_adds_up_to_within_half_a_step_of_what_it_was(shape: tuple[int, ...], sums: Sums) -> None:
    weight = draw(3, *shape)
    quantised, step = quantise(weight, scale="absmax", sums=sums)
    error = (restore(quantised, step) - weight).reshape(8, -1).sum(dim=1) / step.double()
    assert error.abs().max() <= 0.5001
    plain, step = quantise(weight, scale="absmax", sums="nearest")
    assert ((restore(plain, step) - weight).reshape(8, -1).sum(dim=1) / step.double()).abs().max() > 0.6


def test_every_kernel_adds_up_to_within_half_a_step_of_what_it_was() -> None:
    weight = draw(4, 8, 16, 3, 3)
    quantised, step = quantise(weight, scale="absmax", sums="kernel")
    error = (restore(quantised, step) - weight).sum(dim=(2, 3)) / step.double()[:, None]
    assert error.abs().max() <= 0.5001


@pytest.mark.parametrize(("scale", "sums"), EVERY_WAY)
def test_no_value_that_was_not_clipped_moves_further_than_one_step(scale: Scale, sums: Sums) -> None:
    weight = draw(5, 8, 16, 3, 3)
    quantised, step = quantise(weight, scale=scale, sums=sums)
    inside = weight.abs() <= LEVELS * step.reshape(-1, 1, 1, 1)
    error = (restore(quantised, step) - weight).abs() / step.double().reshape(-1, 1, 1, 1)
    assert error[inside].max() <= 1.0001


@pytest.mark.parametrize(("scale", "sums"), EVERY_WAY)
def test_a_channel_of_zeros_stays_zero(scale: Scale, sums: Sums) -> None:
    quantised, step = quantise(torch.zeros(2, 3, 3, 3), scale=scale, sums=sums)
    assert (restore(quantised, step) == 0).all()
    assert step.isfinite().all()

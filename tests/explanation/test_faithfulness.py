"""On a classifier whose whole truth is known: its probability is how much of one patch it sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyebright.explanation.attribution import Attribution, Faithfulness, area
from eyebright.explanation.faithfulness import DRAWS, STEPS, Judge, blur

SIDE = 56


@pytest.fixture
def patched() -> Tensor:
    """A fine chequered patch of a sixteenth of the image; blurred or covered, nothing is left of it."""
    pixels = torch.zeros(1, 1, SIDE, SIDE)
    rows, columns = torch.meshgrid(torch.arange(14), torch.arange(14), indexing="ij")
    pixels[0, 0, 7:21, 28:42] = ((rows + columns) % 2) * 2.0 - 1
    return pixels


def classify(images: Tensor) -> Tensor:
    share = images[:, 0, 7:21, 28:42].abs().mean(dim=(1, 2))
    return torch.stack([share, 1 - share], dim=1)


def attribution(values: NDArray[np.float32]) -> Attribution:
    return Attribution(method="grad-cam", values=values, grid=(7, 7), layer="x", label="patch")


def truth(patched: Tensor) -> NDArray[np.float32]:
    return patched[0, 0].abs().numpy()


def measure(image: Tensor, one: Attribution, seed: int = 0) -> Faithfulness:
    (found,) = Judge(classify=classify, seed=seed).measure_all(image, [one], 0)
    return found


def test_the_true_map_is_better_than_chance_and_its_opposite_worse(patched: Tensor) -> None:
    judge = Judge(classify=classify)
    right, wrong = judge.measure_all(patched, [attribution(sign * truth(patched)) for sign in (1, -1)], 0)
    assert right.fractions[0] == 0
    assert right.fractions[-1] == 1
    # A sixteenth is gone at the first of eight steps, or there.
    assert right.deletion == (1.0, *[0.0] * 8)
    assert right.insertion == pytest.approx((right.insertion[0], *[1.0] * 8))
    assert right.insertion[0] < 0.2
    assert right.score > right.random_score + 0.3
    assert wrong.score < right.random_score - 0.3
    assert right.random_score == wrong.random_score


def test_the_same_map_gets_the_same_score(patched: Tensor) -> None:
    flat = attribution(np.zeros((SIDE, SIDE), dtype=np.float32))
    one, other = (measure(patched, flat) for _ in range(2))
    assert one == other
    assert measure(patched, flat, seed=1) != one


def test_what_maps_of_one_image_share_is_measured_once(patched: Tensor) -> None:
    seen: list[int] = []

    def count(images: Tensor) -> Tensor:
        seen.append(len(images))
        return classify(images)

    flat = attribution(np.zeros((SIDE, SIDE), dtype=np.float32))
    finer = replace(attribution(truth(patched)), grid=(14, 14))
    maps = [flat, attribution(truth(patched)), finer]
    found = Judge(classify=count).measure_all(patched, maps, 0)
    own, random = 2 * (STEPS - 1), DRAWS * 2 * (STEPS - 1)
    assert sum(seen) == 3 + 3 * own + 2 * random  # random maps of two sizes
    assert found == tuple(measure(patched, one) for one in maps)


def test_a_map_of_nothing_is_like_chance(patched: Tensor) -> None:
    flat = attribution(np.zeros((SIDE, SIDE), dtype=np.float32))
    scores = [measure(patched, flat, seed).score for seed in range(20)]
    right = measure(patched, attribution(truth(patched))).score
    assert abs(np.mean(scores)) < 0.2 < right


def test_areas_follow_the_trapezium_rule() -> None:
    assert area((1.0, 1.0, 1.0)) == 1
    assert area((0.0, 1.0)) == 0.5
    assert area((1.0, 0.0, 0.0, 0.0, 0.0)) == pytest.approx(0.125)


@pytest.mark.parametrize("side", [1, 2, 3, 28, 224])
def test_blurring_keeps_what_is_flat(side: int) -> None:
    flat = torch.full((1, 3, side, side), 0.7)
    assert torch.allclose(blur(flat), flat, atol=1e-5)


def test_images_of_any_size_are_measured() -> None:
    for side in (1, 5, 29):
        image = torch.ones(1, 1, side, side)
        (found,) = Judge(classify=lambda images: torch.full((len(images), 2), 0.5)).measure_all(
            image, [attribution(np.ones((side, side), dtype=np.float32))], 1
        )
        assert found.score == 0

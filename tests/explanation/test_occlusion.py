from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from eyebright.explanation.occlusion import PATCHES, occlusion


class Corner(nn.Module):
    """The first logit is the sum of the upper left quarter, the second that of all: (1, 3, S, S) -> (1, 2)."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        return torch.stack([x[:, :, :half, :half].sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3))], dim=1)


def test_only_what_the_class_is_made_of_lets_it_fall() -> None:
    found = occlusion(Corner(), torch.ones(1, 3, 28, 28), 0)
    assert found.shape == (2 * PATCHES, 2 * PATCHES)
    # Cells of 2 x 2 pixels in patches of 4 x 4: 48 inside the quarter, nothing where no patch touches it.
    assert torch.equal(found[:6, :6], torch.full((6, 6), 48.0))
    assert (found[8:, :] == 0).all()
    assert (found[:, 8:] == 0).all()


def test_against_another_class_the_difference_falls() -> None:
    found = occlusion(Corner(), torch.ones(1, 3, 28, 28), 1, 0)
    assert (found[:6, :6] == 0).all()
    assert (found[8:, 8:] == 48).all()


@pytest.mark.parametrize("side", [1, 2, 5, 15])
def test_any_size_is_covered_whole(side: int) -> None:
    found = occlusion(Corner(), torch.ones(1, 3, side, side), 1)
    assert torch.isfinite(found).all()
    assert (found > 0).all()

"""Faster networks for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from torch.nn.modules.conv import _ConvNd


@pytest.fixture(autouse=True, scope="module")
def no_first_draw() -> Iterator[None]:
    """Skip torch's own initialisation of convolutions: every family here draws them anew right afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_ConvNd, "reset_parameters", lambda self: None)
        yield

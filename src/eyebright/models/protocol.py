"""The small contract that every network here keeps, so that nothing else needs to know which one it holds.

Shapes: N images, C channels, H x W pixels, D embedding width, K classes.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Network(Protocol):
    """What a network of any family offers; `build_model` returns one.

    Attributes:
        num_classes: K.
        in_channels: C, 1 for grey images, 3 for colour, or those of the arrays that it takes.
        embedding_width: D, how many numbers describe one image.
        stages: the names that `forward_features` returns, in the order of computation.
        head: the last linear layer, (N, D) -> (N, K); its input is what `embed` returns.
    """

    num_classes: int
    in_channels: int
    embedding_width: int
    stages: tuple[str, ...]

    @property
    def head(self) -> nn.Linear: ...

    def stage_of(self, parameter: str) -> int:
        """The number of the stage that a parameter or buffer belongs to, from 0; len(stages) for all above them."""
        ...

    def forward_features(self, x: Tensor, last: str | None = None) -> dict[str, Tensor]:
        """(N, C, H, W) -> the output of every stage by name, each (N, channels, height, width).

        With `last`, the name of a stage, nothing after that stage is computed.
        """
        ...

    def embed(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D), what the head looks at."""
        ...

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        ...

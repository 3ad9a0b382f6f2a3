"""What the atlas shows of real tensors, as values. No torch here.

Shapes: C channels, H x W positions, D units, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
PART = 6
"""Side of the part of an image that is shown in numbers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Convolved:
    """One value of a convolution, taken apart."""

    layer: str
    channel: int
    row: int
    column: int
    seen: Array
    """(3, 3, 3): what lies under the filter, a map for red, green and blue."""
    weights: Array
    """(3, 3, 3), the filter."""
    bias: float
    value: float
    """As the layer itself answers: the 27 products, summed, plus the bias."""
    maps: Array
    """(C, H, W), the answer of every filter at every place."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Rectified:
    """A part of a map, before and after ReLU."""

    before: Array
    after: Array
    """(4, 4) each."""
    zeroed: float
    """How much of the whole layer ReLU sets to zero, a fraction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pooled:
    """A part of a map, before and after max pooling."""

    before: Array
    """(4, 4)."""
    after: Array
    """(2, 2)."""
    shape_before: tuple[int, int, int]
    shape_after: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class Weighed:
    """One value of a fully connected layer, taken apart."""

    label: str
    units: tuple[int, ...]
    """Those whose products are largest."""
    inputs: Array
    weights: Array
    """(len(units),) each."""
    others: float
    """The sum of all other products."""
    bias: float
    value: float
    width: int
    """D, how many units come in."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dropped:
    """Some units under dropout."""

    inputs: Array
    trained: tuple[Array, ...]
    """What comes out while training, each time anew."""
    used: Array
    """What comes out when the network is used."""
    probability: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """What softmax makes of the logits, and the loss for each class if it were the right one."""

    labels: tuple[str, ...]
    logits: Array
    probabilities: Array
    losses: Array
    """In nats; (len(labels),) each, the likeliest first."""
    others: float
    """The probability of all other classes together."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons:
    """All live examples of one image."""

    name: str
    """What the image is, as the data set names it."""
    original: NDArray[np.uint8]
    """(h, w), grey, as it is stored."""
    image: NDArray[np.uint8]
    """(S, S, 3), as the networks see it."""
    corner: tuple[int, int]
    """Row and column of the part of `original` that is shown in numbers."""
    convolved: Convolved
    rectified: Rectified
    pooled: Pooled
    weighed: Weighed
    dropped: Dropped
    answered: Answered
    vgg_stages: Mapping[str, Array]
    resnet_stages: Mapping[str, Array]
    """Stage -> (C, H, W)."""

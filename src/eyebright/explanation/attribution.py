"""What explains an answer, as values: maps, how faithful each is, and all that is said of one image. No torch here.

Shapes: S side that the network sees, h x w positions of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from eyebright.inference.predictor import Prediction

Method = Literal["grad-cam", "grad-cam++", "layer-cam", "integrated-gradients", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)
TITLES: dict[Method, str] = {
    "grad-cam": "Grad-CAM",
    "grad-cam++": "Grad-CAM++",
    "layer-cam": "Layer-CAM",
    "integrated-gradients": "Integrated gradients",
    "occlusion": "Occlusion",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Attribution:
    """Which parts of an image an answer came from."""

    method: Method
    values: NDArray[np.float32]
    """(S, S): above zero speaks for the class, below zero against it; larger is stronger, the unit is the method's."""
    grid: tuple[int, int]
    """(h, w), how fine it really is; it was enlarged from there."""
    layer: str
    """The layer whose map it is, by its name in the network; empty where the method looks at the pixels."""
    label: str
    """The class that is explained."""
    against: str | None = None
    """The class that it is weighed against: then below zero speaks for that one."""


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """What happens to a class's probability as an image is covered or uncovered in the order of a map.

    A map that shows what the network looks at lets the probability fall early when its warmest parts are covered first
    (deletion) and rise early when they are uncovered first (insertion).
    """

    deletion: tuple[float, ...]
    """The probability at each point, the parts that the map marks most being covered with the mean colour first."""
    insertion: tuple[float, ...]
    """The probability at each point, the same parts being uncovered first on the blurred image."""
    random_deletion: tuple[float, ...]
    """The same for random maps that are as coarse as this one; the mean over them."""
    random_insertion: tuple[float, ...]
    random_scores: tuple[float, ...]
    """The score of each random map for itself."""

    @property
    def fractions(self) -> tuple[float, ...]:
        """How much of the image is covered or uncovered at each point, from 0 to 1 in equal steps."""
        steps = len(self.deletion) - 1
        return tuple(step / steps for step in range(steps + 1))

    @property
    def score(self) -> float:
        """Area under the insertion curve less that under the deletion curve, in [-1, 1]; higher is better."""
        return area(self.insertion) - area(self.deletion)

    @property
    def random_score(self) -> float:
        """The same for the random maps, the mean over them."""
        return area(self.random_insertion) - area(self.random_deletion)


def area(curve: tuple[float, ...]) -> float:
    """The area under a curve of equal steps over [0, 1], by the trapezium rule."""
    return float(np.trapezoid(curve, dx=1 / (len(curve) - 1)))


@dataclass(frozen=True, kw_only=True)
class JudgedMap:
    """A map, and how faithful it is."""

    attribution: Attribution
    faithfulness: Faithfulness


@dataclass(frozen=True, kw_only=True, eq=False)
class SimilarImage:
    """A training image that the network sees as like the explained one."""

    name: str
    label: str
    """Its class; where it has several, all of them."""
    similarity: float
    """The cosine of the two embeddings, in [-1, 1]."""
    image: NDArray[np.uint8]
    """(S, S, 3), as the network sees it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Why one image got its answer; if it could not be read, only what `prediction` says of that."""

    prediction: Prediction
    image: NDArray[np.uint8] | None
    """(S, S, 3), as the network sees it."""
    label: str
    """The class that is explained: the answer, unless another was asked for; the likeliest where none is the answer."""
    maps: tuple[JudgedMap, ...] = ()
    contrast: Attribution | None = None
    """Why this class and not another."""
    similar: tuple[SimilarImage, ...] = ()

    @property
    def name(self) -> str:
        """The image's path as it was given."""
        return self.prediction.name

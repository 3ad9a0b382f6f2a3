"""Whether a map shows what the network looks at: cover and uncover the image in its order and watch the answer.

Shapes: N images, C channels, S side that the network sees, G x G cells that are covered as wholes, h x w positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eyebright.explanation.attribution import Attribution, Faithfulness, area
from eyebright.explanation.grad_cam import enlarge

STEPS = 8
DRAWS = 3
"""Random maps that a map is compared with."""
CELLS = 28
BATCH = 16
_BLUR = 11  # of 224 pixels: the standard deviation that leaves colours, but nothing to recognise

Classify = Callable[[Tensor], Tensor]
"""(N, C, S, S) -> probabilities (N, K)."""


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Measures maps of images.

    Args:
        classify: the network.
        steps: in how many steps an image is covered and uncovered.
        draws: how many random maps a map is compared with.
        seed: of the random maps, which are the same for every image.

    Source:
        Petsiuk et al., "RISE: Randomized Input Sampling for Explanation of Black-box Models", 2018, arXiv:1806.07421.
        Here cells of 8 x 8 pixels (of 224) are covered as wholes, in fewer steps; and the random maps are
        as coarse as the map they are compared with: many scattered specks destroy an image sooner than one patch.
    """

    classify: Classify
    steps: int = STEPS
    draws: int = DRAWS
    seed: int = 0

    def measure_all(self, image: Tensor, attributions: Sequence[Attribution], label: int) -> tuple[Faithfulness, ...]:
        """Both curves of each map, and those of random maps; what maps of one image share is measured once.

        Args:
            image: (1, C, S, S), normalised.
            attributions: the maps.
            label: the index of the class whose probability is watched.
        """
        side = image.shape[-1]
        blank, blurred = torch.zeros_like(image), blur(image)
        whole, covered, hidden = self._shares(torch.cat([image, blank, blurred]), label)
        ends = ((whole, covered), (hidden, whole))

        def curve(rows: NDArray[np.float64], way: int) -> tuple[float, ...]:
            return (float(ends[way][0]), *map(float, rows[:, way]), float(ends[way][1]))

        random: dict[tuple[int, int], NDArray[np.float64]] = {}  # by how coarse the maps are
        measured = []
        for attribution in attributions:
            chance = np.random.default_rng(self.seed)
            drawn = [chance.random(attribution.grid, dtype=np.float32) for _ in range(self.draws)]
            orders = [_ranks(attribution.values, chance)]
            if attribution.grid not in random:
                orders += [_ranks(enlarge(torch.from_numpy(values), side), chance) for values in drawn]
            changed = []
            for order in orders:
                for step in range(1, self.steps):
                    mask = _mask(order, step / self.steps, side)
                    changed += [torch.where(mask, blank, image), torch.where(mask, image, blurred)]
            curves = self._shares(torch.cat(changed), label).reshape(len(orders), self.steps - 1, 2)
            others = random.setdefault(attribution.grid, curves[1:])
            measured.append(
                Faithfulness(
                    deletion=curve(curves[0], 0),
                    insertion=curve(curves[0], 1),
                    random_deletion=curve(others.mean(axis=0), 0),
                    random_insertion=curve(others.mean(axis=0), 1),
                    random_scores=tuple(area(curve(other, 1)) - area(curve(other, 0)) for other in others),
                )
            )
        return tuple(measured)

    def _shares(self, images: Tensor, label: int) -> NDArray[np.float64]:
        parts = [self.classify(part)[:, label] for part in torch.split(images, BATCH)]
        shares: NDArray[np.float64] = torch.cat(parts).double().numpy()
        return shares


def blur(image: Tensor) -> Tensor:
    """(N, C, S, S) -> the same, so blurred that nothing can be recognised; a Gaussian, the edges mirrored."""
    side = image.shape[-1]
    deviation = max(1.0, _BLUR * side / 224)
    reach = min(round(2 * deviation), side - 1)
    steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (steps / deviation).square())
    weights /= weights.sum()
    channels = image.shape[1]
    across = weights.expand(channels, 1, 1, -1)
    padded = F.pad(image, (reach, reach, reach, reach), mode="reflect" if reach else "replicate")
    return F.conv2d(F.conv2d(padded, across, groups=channels), across.transpose(2, 3), groups=channels)


def _ranks(values: NDArray[np.float32], chance: np.random.Generator) -> Tensor:
    """(S, S) -> (G, G), each cell's place in the order in [0, 1), the strongest first; ties in random order."""
    cells = min(CELLS, values.shape[0])
    means = F.adaptive_avg_pool2d(torch.from_numpy(values)[None, None], cells)[0, 0].numpy()
    order = np.lexsort((chance.permutation(means.size), -means.ravel()))
    ranks = np.empty(means.size, dtype=np.float32)
    ranks[order] = np.arange(means.size) / means.size
    return torch.from_numpy(ranks.reshape(means.shape))


def _mask(ranks: Tensor, fraction: float, side: int) -> Tensor:
    """(S, S) of bool: the cells that come first, so many of them."""
    chosen = (ranks < fraction).float()
    return F.interpolate(chosen[None, None], size=(side, side), mode="nearest")[0, 0] > 0.5

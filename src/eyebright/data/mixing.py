"""Mixing images in pairs, and their targets with them: mixup and CutMix, each sample with a draw of its own.

Every share and rectangle is a pure function of (seed, epoch, sample), as in `augment`.
Sources: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2017, arXiv:1710.09412; Yun et al., "CutMix", 2019,
arXiv:1905.04899.
Shapes: N images, C channels, S side.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyebright.data.augment import AugmentationSettings, draw_uniform
from eyebright.data.sending import send

_CHOICE, _SHARE, _DOWN, _ACROSS = 100, 101, 102, 103  # purposes of draws
_BETA = 200  # and of the many that a Beta distribution takes
_TRIES = 64


def mix(
    images: Tensor,
    others: Tensor,
    samples: NDArray[np.int64],
    settings: AugmentationSettings,
    *,
    seed: int,
    epoch: int,
) -> tuple[Tensor, Tensor]:
    """Blend each image with its partner, or paste a rectangle of the partner into it.

    Args:
        images, others: (N, C, S, S), an image and its partner in the same place.
        samples: (N,) the row number of each image; randomness depends on it.
        settings: `mixup` and `cutmix`, at least one of them above zero.
        seed, epoch: the rest of what randomness depends on.

    Returns:
        The mixed images (N, C, S, S), and (N,) how much of each is still itself, in [0, 1].
    """
    cut = np.full(len(samples), settings.mixup == 0)
    if settings.mixup and settings.cutmix:
        cut = draw_uniform(seed, epoch, samples, _CHOICE) < 0.5
    share = np.where(
        cut,
        draw_beta(settings.cutmix, seed, epoch, samples),
        draw_beta(settings.mixup, seed, epoch, samples),
    )
    side = images.shape[-1]
    # A rectangle of the image's proportions and of the right area; what falls outside is not pasted.
    half = np.sqrt(1 - share) / 2
    inside = []
    for purpose in (_DOWN, _ACROSS):
        centre = draw_uniform(seed, epoch, samples, purpose)
        first = np.round(np.clip(centre - half, 0, 1) * side)[:, None]
        last = np.round(np.clip(centre + half, 0, 1) * side)[:, None]
        position = np.arange(side)[None]
        inside.append((position >= first) & (position < last))
    pasted = inside[0][:, :, None] & inside[1][:, None, :] & cut[:, None, None]
    share = np.where(cut, 1 - pasted.mean(axis=(1, 2)), share)
    weight = np.where(cut[:, None, None], 1.0 - pasted, share[:, None, None]).astype(np.float32)
    device = str(images.device)
    kept = send(weight, device)[:, None]
    return torch.lerp(others, images, kept), send(share.astype(np.float32), device)


def draw_beta(alpha: float, seed: int, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) numbers from Beta(alpha, alpha), a pure function of the arguments; all ones if alpha is zero.

    Source: Jöhnk, "Erzeugung von betaverteilten und gammaverteilten Zufallszahlen", 1964: of two uniform numbers, each
    to the power 1 / alpha, the first's share in their sum, if that is at most one.
    """
    found = np.ones(len(samples))
    if alpha == 0:
        return found
    missing = np.ones(len(samples), dtype=np.bool_)
    for attempt in range(_TRIES):
        x = np.log(draw_uniform(seed, epoch, samples, _BETA + 2 * attempt) + 1e-300) / alpha
        y = np.log(draw_uniform(seed, epoch, samples, _BETA + 2 * attempt + 1) + 1e-300) / alpha
        fits = missing & (np.logaddexp(x, y) <= 0)
        found = np.where(fits, np.exp(x - np.logaddexp(x, y)), found)
        missing &= ~fits
        if not missing.any():
            break
    return np.where(missing, 0.5, found)  # one in a million at alpha 2; a large alpha's numbers lie around a half

"""Augmentation: random crops, turns, flips and light, for training only.

Every random number is a pure function of (seed, epoch, sample): no batch size, order or number of workers changes it.
All geometry is one resampling, so an image is blurred once.
Shapes: N images, R side of the cached square, S side that the network sees, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eyebright.errors import SettingsError
from eyebright.preprocess import Preprocessing


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """How far images may be changed while training; all zero and false is no change at all.

    The defaults suit fine-tuning. A network that learns from nothing gets `LIGHT` where they are left as they are: its
    few epochs are better spent on images that it will see again.
    """

    flip: bool = True
    """Mirror half of the images left to right; switch it off where left and right matter (digits, letters, maps)."""
    zoom: float = 0.25
    """Crop up to this fraction of the side away, in [0, 0.9]."""
    stretch: float = 0.15
    """Change the proportions of the crop by up to this fraction, in [0, 0.9]."""
    shift: float = 0.08
    """Move by up to this fraction of the side, in [0, 0.5]; what comes into view mirrors the edge."""
    rotate: float = 8.0
    """Turn by up to this many degrees, in [0, 180]."""
    light: float = 0.2
    """Change brightness and contrast by up to this fraction each, in [0, 0.9]."""
    erase: float = 0.0
    """The chance that a random rectangle is greyed out, in [0, 1]."""

    def __post_init__(self) -> None:
        limits = {"zoom": 0.9, "stretch": 0.9, "shift": 0.5, "rotate": 180.0, "light": 0.9, "erase": 1.0}
        for name, limit in limits.items():
            if not 0 <= getattr(self, name) <= limit:
                raise SettingsError(f"augmentation.{name} is between 0 and {limit:g}, not {getattr(self, name)!r}")


LIGHT = AugmentationSettings(zoom=0.0, stretch=0.0, shift=0.09, rotate=0.0, light=0.0)


def draw_uniform(seed: int, epoch: int, samples: NDArray[np.int64], purpose: int) -> NDArray[np.float64]:
    """One number in [0, 1) for each sample, a pure function of the four arguments.

    A counter-based generator: the 64-bit finaliser of splitmix64 (Steele et al., "Fast splittable pseudorandom number
    generators", 2014), applied to each argument in turn.

    Args:
        seed, epoch, purpose: whole numbers of at least 0; another purpose gives independent numbers.
        samples: (N,) row numbers.
    """
    state = np.zeros(len(samples), dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in (np.uint64(seed % 2**64), np.uint64(epoch), np.uint64(purpose), samples.astype(np.uint64)):
            state = state + part + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(11)).astype(np.float64) / 2.0**53


def augment(
    squares: NDArray[np.uint8],
    samples: NDArray[np.int64],
    preprocessing: Preprocessing,
    settings: AugmentationSettings,
    *,
    seed: int,
    epoch: int,
) -> Tensor:
    """(N, R, R, C) uint8 -> float32 (N, C, S, S), channels-last in memory, normalised like every image.

    Args:
        squares: what `Preprocessing.square` made.
        samples: (N,) the row number of each in its table; randomness depends on it.
        preprocessing: gives S, and normalises at the end.
        settings: how far to go.
        seed, epoch: the rest of what randomness depends on.
    """

    def between(low: float, high: float, purpose: int) -> Tensor:
        values = low + (high - low) * draw_uniform(seed, epoch, samples, purpose)
        return torch.from_numpy(values).to(torch.float32)

    count = len(squares)
    images = torch.from_numpy(squares).permute(0, 3, 1, 2).to(torch.float32)
    side = 1 - between(0.0, settings.zoom, 0)
    stretch = torch.exp(between(-1.0, 1.0, 1) * math.log1p(settings.stretch))
    mirror = torch.ones(count)
    if settings.flip:
        mirror = torch.where(between(0.0, 1.0, 2) < 0.5, -1.0, 1.0)
    angle = between(-1.0, 1.0, 3) * math.radians(settings.rotate)
    cos, sin = torch.cos(angle), torch.sin(angle)
    full = preprocessing.image_size / preprocessing.resize  # what the plain crop leaves of the square
    width, height = full * side * stretch, full * side / stretch
    # The crop may lie anywhere inside the plain one, and `shift` beyond.
    room_x = (full - width).clamp(min=0) + 2 * settings.shift
    room_y = (full - height).clamp(min=0) + 2 * settings.shift
    across, down = between(-1.0, 1.0, 4) * room_x, between(-1.0, 1.0, 5) * room_y
    if settings.zoom == settings.stretch == settings.rotate == 0 and images.shape[-1] == preprocessing.image_size:
        # Whole pixels: a small image must not be blurred only to be moved.
        step = 2 / preprocessing.image_size
        across, down = torch.round(across / step) * step, torch.round(down / step) * step
    matrix = torch.stack(
        [
            torch.stack([cos * width * mirror, -sin * height, across], dim=1),
            torch.stack([sin * width * mirror, cos * height, down], dim=1),
        ],
        dim=1,
    )
    shape = [count, images.shape[1], preprocessing.image_size, preprocessing.image_size]
    grid = F.affine_grid(matrix, shape, align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    if settings.light:
        contrast = 1 + between(-settings.light, settings.light, 6)
        brightness = 1 + between(-settings.light, settings.light, 7)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = (images - mean) * contrast[:, None, None, None] + mean * brightness[:, None, None, None]
        images = images.clamp(0, 255)
    if settings.erase:
        images = _erase(images, settings.erase, between)
    return torch.from_numpy(preprocessing.normalise(images.permute(0, 2, 3, 1).numpy()))


def _erase(images: Tensor, chance: float, between: Any) -> Tensor:
    """Grey rectangles of a quarter to a half of the side (Zhong et al., "Random Erasing", 2017, arXiv:1708.04896)."""
    side = images.shape[-1]
    position = (torch.arange(side) + 0.5) / side
    inside = []
    for purpose in (8, 10):  # down, across
        size = between(0.25, 0.5, purpose)[:, None]
        start = between(0.0, 1.0, purpose + 1)[:, None] * (1 - size)
        inside.append((position >= start) & (position < start + size))
    hit = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    hit &= (between(0.0, 1.0, 12) < chance)[:, None, None, None]
    return torch.where(hit, images.mean(dim=(1, 2, 3), keepdim=True), images)

"""Augmentation: random crops, turns, flips and light, for training only.

Every random number is a pure function of (seed, epoch, sample): no batch size, order or number of workers changes it.
All geometry is one resampling, so an image is blurred once.
Shapes: N images, R side of the cached square, S side that the network sees, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eyebright.data.sending import send
from eyebright.errors import SettingsError
from eyebright.preprocess import Preprocessing

Between = Callable[[float, float, int], Tensor]
"""Lowest, highest, purpose -> (N,) one number for each image."""

FLIP = 2  # the purpose under which mirroring is drawn
CHOOSE = -1.0
LIMITS = {"zoom": 0.9, "stretch": 0.9, "shift": 0.5, "rotate": 180.0, "light": 0.9, "colour": 0.9}
LIMITS |= {"erase": 1.0, "mixup": 4.0, "cutmix": 4.0}
SHRINK_BEYOND = 1.5
SHRINK_TO = 1.25
LUMA = (0.299, 0.587, 0.114)  # how bright red, green and blue look: ITU-R BT.601


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """How far images may be changed while training; zero and false change nothing, and -1 lets the recipe choose."""

    flip: bool = True
    """Mirror half of the images left to right; switch it off where left and right matter (digits, letters, maps)."""
    zoom: float = -1.0
    """Crop up to this fraction of the side away, in [0, 0.9]."""
    stretch: float = -1.0
    """Change the proportions of the crop by up to this fraction, in [0, 0.9]."""
    shift: float = -1.0
    """Move by up to this fraction of the side, in [0, 0.5]; what comes into view mirrors the edge."""
    rotate: float = -1.0
    """Turn by up to this many degrees, in [0, 180]."""
    light: float = -1.0
    """Change brightness and contrast by up to this fraction each, in [0, 0.9]."""
    colour: float = -1.0
    """Change the strength of colours by up to this fraction, and their tint by up to a quarter of it, in [0, 0.9]."""
    erase: float = -1.0
    """The chance that a random rectangle is greyed out, in [0, 1]."""
    mixup: float = -1.0
    """Blend images and labels in pairs: the alpha of the Beta distribution of the shares, in [0, 4]; 0 is off."""
    cutmix: float = -1.0
    """Paste a rectangle of another image, labels mixed by area: alpha as for mixup. With both, each takes half."""

    def __post_init__(self) -> None:
        for name, limit in LIMITS.items():
            value = getattr(self, name)
            if not (0 <= value <= limit or value == CHOOSE):
                raise SettingsError(f"augmentation.{name} is between 0 and {limit:g}, or -1 (choose), not {value!r}")

    def filled(self, preset: AugmentationSettings) -> AugmentationSettings:
        """The same, with what is to be chosen taken from another."""
        chosen = {name: getattr(preset, name) for name in LIMITS if getattr(self, name) == CHOOSE}
        return replace(self, **chosen)


FINE_TUNING = AugmentationSettings(
    zoom=0.25, stretch=0.15, shift=0.08, rotate=8.0, light=0.2, colour=0.0, erase=0.0, mixup=0.0, cutmix=0.0
)
"""For a pretrained network."""
LIGHT = AugmentationSettings(
    zoom=0.0, stretch=0.0, shift=0.09, rotate=0.0, light=0.0, colour=0.0, erase=0.0, mixup=0.0, cutmix=0.0
)
"""For a network that learns from nothing: its few epochs are better spent on images that it will see again."""


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
    side: int | None = None,
    device: str = "cpu",
) -> Tensor:
    """(N, R, R, C) uint8 -> float32 (N, C, S, S), channels-last in memory, normalised like every image.

    Args:
        squares: what `Preprocessing.square` made.
        samples: (N,) the row number of each in its table; randomness depends on it.
        preprocessing: gives S, and normalises at the end.
        settings: how far to go.
        seed, epoch: the rest of what randomness depends on.
        side: another S, for epochs at a lower resolution.
        device: where the work is done and the result lies; draws are the same everywhere.
    """
    side = side or preprocessing.image_size

    def between(low: float, high: float, purpose: int) -> Tensor:
        values = low + (high - low) * draw_uniform(seed, epoch, samples, purpose)
        return send(values.astype(np.float32), device)

    pixels = send(squares, device).permute(0, 3, 1, 2)
    if preprocessing.image_size > SHRINK_BEYOND * side:
        # Sampling at single points would alias; what is left is still finer than what the network sees.
        shrunk = [math.ceil(pixels.shape[-1] * SHRINK_TO * side / preprocessing.image_size)] * 2
        # A GPU shrinks no bytes.
        pixels = F.interpolate(pixels.float() if pixels.is_cuda else pixels, shrunk, mode="bilinear", antialias=True)
    images = _place(pixels.to(torch.float32), side, preprocessing, settings, between)
    if settings.light:
        contrast = 1 + between(-settings.light, settings.light, 6)
        brightness = 1 + between(-settings.light, settings.light, 7)
        mean = images.mean(dim=(1, 2, 3), keepdim=True)
        images = (images - mean) * contrast[:, None, None, None] + mean * brightness[:, None, None, None]
        images = images.clamp(0, 255)
    if settings.colour and images.shape[1] == 3:
        images = _recolour(images, settings.colour, between)
    if settings.erase:
        images = _erase(images, settings.erase, between)
    images = images.contiguous(memory_format=torch.channels_last)
    scale, shift = (send(part, device)[:, None, None] for part in preprocessing.scale_and_shift)
    return images.mul_(scale).add_(shift)


def _place(
    images: Tensor, side: int, preprocessing: Preprocessing, settings: AugmentationSettings, between: Between
) -> Tensor:
    """Crop, stretch, turn, mirror and move, in one resampling: (N, C, R, R) -> (N, C, S, S)."""
    zoomed = 1 - between(0.0, settings.zoom, 0)
    stretch = torch.exp(between(-1.0, 1.0, 1) * math.log1p(settings.stretch))
    mirror = torch.ones_like(zoomed)
    if settings.flip:
        mirror = torch.where(between(0.0, 1.0, FLIP) < 0.5, -1.0, 1.0)
    angle = between(-1.0, 1.0, 3) * math.radians(settings.rotate)
    cos, sin = torch.cos(angle), torch.sin(angle)
    full = preprocessing.image_size / preprocessing.resize  # what the plain crop leaves of the square
    width, height = full * zoomed * stretch, full * zoomed / stretch
    # The crop may lie anywhere inside the plain one, and `shift` beyond.
    room_x = (full - width).clamp(min=0) + 2 * settings.shift
    room_y = (full - height).clamp(min=0) + 2 * settings.shift
    across, down = between(-1.0, 1.0, 4) * room_x, between(-1.0, 1.0, 5) * room_y
    if settings.zoom == settings.stretch == settings.rotate == 0 and images.shape[-1] == side:
        # Whole pixels: a small image must not be blurred only to be moved.
        step = 2 / side
        across, down = torch.round(across / step) * step, torch.round(down / step) * step
    # Not by `affine_grid`: on a GPU that may be a product of matrices with 10 bits, too few for a position.
    centres = (torch.arange(side, device=images.device, dtype=torch.float32) + 0.5) * (2 / side) - 1
    x, y = centres[None, None, :], centres[None, :, None]
    grid = torch.stack(
        [
            _each(cos * width * mirror) * x - _each(sin * height) * y + _each(across),
            _each(sin * width * mirror) * x + _each(cos * height) * y + _each(down),
        ],
        dim=-1,
    )
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _each(values: Tensor) -> Tensor:
    """(N,) -> (N, 1, 1)"""
    return values[:, None, None]


def _recolour(images: Tensor, colour: float, between: Between) -> Tensor:
    """Colours stronger or weaker around the grey of each pixel, and each channel a little brighter or darker."""
    purposes = [14, 15, 16, *range(100, 97 + images.shape[1])][: images.shape[1]]
    tint = 1 + torch.stack([between(-colour / 4, colour / 4, purpose) for purpose in purposes], dim=1)
    if images.shape[1] != len(LUMA):  # no colours that a grey could be told of
        return (images * tint[:, :, None, None]).clamp_(0, 255)
    strength = 1 + between(-colour, colour, 13)[:, None, None, None]
    weights = send(np.array(LUMA, dtype=np.float32), str(images.device))[None, :, None, None]
    grey = (images * weights).sum(dim=1, keepdim=True)
    return ((images - grey).mul_(strength).add_(grey) * tint[:, :, None, None]).clamp_(0, 255)


def _erase(images: Tensor, chance: float, between: Between) -> Tensor:
    """Grey rectangles of a quarter to a half of the side (Zhong et al., "Random Erasing", 2017, arXiv:1708.04896)."""
    side = images.shape[-1]
    position = (torch.arange(side, device=images.device) + 0.5) / side
    inside = []
    for purpose in (8, 10):  # down, across
        size = between(0.25, 0.5, purpose)[:, None]
        start = between(0.0, 1.0, purpose + 1)[:, None] * (1 - size)
        inside.append((position >= start) & (position < start + size))
    hit = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    hit &= (between(0.0, 1.0, 12) < chance)[:, None, None, None]
    return torch.where(hit, images.mean(dim=(1, 2, 3), keepdim=True), images)

"""What cameras, weather and transmission do to images, at five severities: to see how a classifier bears it.

The kinds follow ImageNet-C; the strengths are our own and relative to the image's side, so that they mean the same at
32 and at 224 pixels. The same image, kind, severity and seed give the same pixels.

Source of the idea: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", 2019, arXiv:1903.12261.

Shapes: H x W pixels, C channels (1 or 3); values in [0, 1] inside, uint8 at both ends.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SEVERITIES = (1, 2, 3, 4, 5)
Pixels = NDArray[np.float64]
"""(H, W, C) in [0, 1]"""
Change = Callable[[Pixels, float, np.random.Generator], Pixels]
"""Pixels, a strength and what is random -> pixels, which may leave [0, 1]."""


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption."""

    name: str
    group: str
    """"noise", "blur", "weather", "digital" or "geometry"."""
    strengths: tuple[float, float, float, float, float]
    """By severity."""
    change: Change

    def __call__(self, image: NDArray[np.uint8], severity: int, seed: Sequence[int]) -> NDArray[np.uint8]:
        """(H, W, C) uint8 -> the same, corrupted.

        Args:
            image: (H, W, C)
            severity: from 1 to 5.
            seed: what all that is random depends on, beside the kind and the severity.
        """
        own = [int.from_bytes(self.name.encode()[:8], "little"), severity]
        random = np.random.default_rng([*own, *seed])
        pixels = self.change(image.astype(np.float64) / 255, self.strengths[severity - 1], random)
        corrupted: NDArray[np.uint8] = np.round(pixels.clip(0, 1) * 255).astype(np.uint8)
        return corrupted


def _gaussian_noise(x: Pixels, sigma: float, random: np.random.Generator) -> Pixels:
    return x + random.normal(0, sigma, x.shape)


def _shot_noise(x: Pixels, photons: float, random: np.random.Generator) -> Pixels:
    return random.poisson(x * photons) / photons


def _impulse_noise(x: Pixels, share: float, random: np.random.Generator) -> Pixels:
    struck = random.random(x.shape)
    return np.where(struck < share / 2, 0.0, np.where(struck < share, 1.0, x))


def _speckle_noise(x: Pixels, sigma: float, random: np.random.Generator) -> Pixels:
    return x + x * random.normal(0, sigma, x.shape)


def _gaussian_blur(x: Pixels, share: float, _: np.random.Generator) -> Pixels:
    sigma = float(np.hypot(share * min(x.shape[:2]), 0.4))  # what is lost within a pixel shows in no image
    reach = int(np.ceil(3 * sigma))
    line = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return _convolve(x, np.outer(line, line))


def _defocus_blur(x: Pixels, share: float, _: np.random.Generator) -> Pixels:
    radius = 0.6 + share * min(x.shape[:2])
    reach = int(np.ceil(radius))
    y, z = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    # The rim counts by how much of it lies inside, so that small radii differ, too.
    return _convolve(x, np.clip(radius + 0.5 - np.hypot(y, z), 0, 1))


def _motion_blur(x: Pixels, share: float, random: np.random.Generator) -> Pixels:
    length = share * min(x.shape[:2])
    angle = random.uniform(0, np.pi)
    reach = int(np.ceil(length / 2))
    y, z = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    along, across = z * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - z * np.sin(angle)
    inside = np.clip(length / 2 + 0.5 - np.abs(along), 0, 1)
    return _convolve(x, inside * np.clip(1 - np.abs(across), 0, 1))


def _zoom_blur(x: Pixels, most: float, _: np.random.Generator) -> Pixels:
    factors = np.linspace(1, 1 + most, 8)
    return np.asarray(np.mean([_warp(x, np.eye(2) / factor) for factor in factors], axis=0))


def _fog(x: Pixels, thickness: float, random: np.random.Generator) -> Pixels:
    cloud = 0.6 + 0.4 * _clouds(x.shape[:2], random)[..., None]
    return np.asarray(x * (1 - thickness) + thickness * cloud)


def _snow(x: Pixels, share: float, random: np.random.Generator) -> Pixels:
    flakes = (random.random(x.shape[:2]) < share).astype(np.float64)[..., None]
    fallen = _motion_blur(flakes, 0.06, random)
    brighter = 0.85 * x + 0.15 * np.maximum(x, x.mean(axis=2, keepdims=True) * 0.5 + 0.5)
    return np.asarray(brighter + 3.5 * fallen * (1 - brighter))


def _brightness(x: Pixels, more: float, _: np.random.Generator) -> Pixels:
    return x + more


def _darkness(x: Pixels, less: float, random: np.random.Generator) -> Pixels:
    return x * (1 - less) + random.normal(0, 0.02, x.shape)  # a sensor's noise stays


def _contrast(x: Pixels, left: float, _: np.random.Generator) -> Pixels:
    mean = x.mean(axis=(0, 1), keepdims=True)
    return np.asarray((x - mean) * left + mean)


def _saturation(x: Pixels, left: float, _: np.random.Generator) -> Pixels:
    grey = x.mean(axis=2, keepdims=True)
    return np.asarray(grey + (x - grey) * left)


def _pixelate(x: Pixels, share: float, _: np.random.Generator) -> Pixels:
    height, width = x.shape[:2]
    small = _resized(x, (max(1, round(width * share)), max(1, round(height * share))), Image.Resampling.BOX)
    return _resized(small, (width, height), Image.Resampling.NEAREST)


def _jpeg(x: Pixels, quality: float, _: np.random.Generator) -> Pixels:
    pixels = np.round(x.clip(0, 1) * 255).astype(np.uint8)
    target = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(target, "JPEG", quality=int(quality))
    decoded = np.asarray(Image.open(target, formats=["JPEG"]), dtype=np.float64) / 255
    return decoded.reshape(x.shape)


def _rotation(x: Pixels, degrees: float, random: np.random.Generator) -> Pixels:
    angle = np.deg2rad(degrees) * random.choice([-1, 1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return _warp(x, turn)


CORRUPTIONS: tuple[Corruption, ...] = (
    Corruption("gaussian noise", "noise", (0.04, 0.08, 0.12, 0.18, 0.26), _gaussian_noise),
    Corruption("shot noise", "noise", (200, 60, 25, 12, 5), _shot_noise),
    Corruption("impulse noise", "noise", (0.01, 0.03, 0.06, 0.12, 0.2), _impulse_noise),
    Corruption("speckle noise", "noise", (0.15, 0.25, 0.35, 0.5, 0.7), _speckle_noise),
    Corruption("gaussian blur", "blur", (0.005, 0.009, 0.014, 0.02, 0.03), _gaussian_blur),
    Corruption("defocus blur", "blur", (0.01, 0.016, 0.024, 0.034, 0.046), _defocus_blur),
    Corruption("motion blur", "blur", (0.03, 0.05, 0.08, 0.12, 0.16), _motion_blur),
    Corruption("zoom blur", "blur", (0.06, 0.11, 0.16, 0.22, 0.3), _zoom_blur),
    Corruption("fog", "weather", (0.25, 0.4, 0.55, 0.68, 0.8), _fog),
    Corruption("snow", "weather", (0.01, 0.02, 0.04, 0.06, 0.09), _snow),
    Corruption("brightness", "weather", (0.1, 0.2, 0.3, 0.4, 0.5), _brightness),
    Corruption("darkness", "weather", (0.3, 0.5, 0.65, 0.78, 0.88), _darkness),
    Corruption("contrast", "digital", (0.6, 0.45, 0.3, 0.18, 0.1), _contrast),
    Corruption("saturation", "digital", (0.6, 0.3, 0.0, 2.0, 3.5), _saturation),
    Corruption("pixelation", "digital", (0.5, 0.4, 0.3, 0.2, 0.125), _pixelate),
    Corruption("JPEG", "digital", (40, 25, 15, 9, 5), _jpeg),
    Corruption("rotation", "geometry", (5, 10, 20, 35, 60), _rotation),
)


def _convolve(x: Pixels, kernel: NDArray[np.float64]) -> Pixels:
    """Each channel, mirrored at the edges, with a kernel of odd sides that is made to sum to 1."""
    kernel = kernel / kernel.sum()
    reach_y, reach_x = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = np.pad(x, ((reach_y, reach_y), (reach_x, reach_x), (0, 0)), mode="symmetric")
    shape = padded.shape[:2]
    spectrum = np.fft.rfft2(padded, axes=(0, 1)) * np.fft.rfft2(kernel, shape)[..., None]
    whole = np.fft.irfft2(spectrum, shape, axes=(0, 1))
    return whole[2 * reach_y :, 2 * reach_x :]


def _warp(x: Pixels, back: NDArray[np.float64]) -> Pixels:
    """Turned or scaled around the centre, mirrored at the edges; `back` leads from new places (y, x) to old ones."""
    height, width = x.shape[:2]
    centre = np.array([(height - 1) / 2, (width - 1) / 2])
    places = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), axis=-1) - centre
    old = places @ back.T + centre
    low = np.floor(old).astype(np.int64)
    part = (old - low)[..., None]
    found = np.zeros_like(x)
    for dy in (0, 1):
        for dx in (0, 1):
            rows, columns = _mirrored(low[..., 0] + dy, height), _mirrored(low[..., 1] + dx, width)
            share = (part[..., 0, :] if dy else 1 - part[..., 0, :]) * (part[..., 1, :] if dx else 1 - part[..., 1, :])
            found += x[rows, columns] * share
    return found


def _mirrored(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Places outside [0, size) reflected into it."""
    folded = places % (2 * size)
    return np.where(folded < size, folded, 2 * size - 1 - folded)


def _resized(x: Pixels, size: tuple[int, int], how: Image.Resampling) -> Pixels:
    planes = [Image.fromarray(x[..., c].astype(np.float32)).resize(size, how) for c in range(x.shape[2])]
    return np.stack([np.asarray(plane, dtype=np.float64) for plane in planes], axis=-1)


def _clouds(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float64]:
    """(H, W) in [0, 1]: noise of every size at once, the larger the stronger."""
    height, width = shape
    y, x = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    size = np.hypot(y, x)
    size[0, 0] = np.inf
    spectrum = np.fft.rfft2(random.normal(size=shape)) / size**1.4
    noise = np.fft.irfft2(spectrum, shape)
    spread = float(np.ptp(noise))
    return np.asarray((noise - noise.min()) / spread) if spread else np.full(shape, 0.5)

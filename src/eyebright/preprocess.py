"""Preprocessing: the fixed way from a decoded image to what a network sees. Saved with the model.

Training, evaluation, prediction and export all call this one object, so they can't differ.
The steps: a file, decoded with `short_side` -> (H, W, 3) uint8 -> `square` -> (R, R, C) -> `crop` -> (S, S, C) ->
`normalise` -> (C, S, S) float32.
`square` is what training caches; random augmentation takes the place of `crop` there and nowhere else.
Shapes: N images, H x W pixels, C channels, R side after resizing, S side that the network sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.errors import DataError, nearest

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

IN_COLOUR = (1, 3)
"""Channels of networks that see pictures, in grey or colour; those of others see arrays of as many channels."""
MOST_CHANNELS = 256

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_REACH = {"bilinear": 1, "bicubic": 2}  # pixels on either side of a point that a filter looks at; more where it shrinks


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Resize, crop, and scale by mean and standard deviation."""

    image_size: int
    """S, the side in pixels of the square that the network sees."""
    resize: int
    """R, the side in pixels after resizing, at least `image_size`; the rest is cropped away around the centre."""
    fit: Literal["crop", "squash"] = "crop"
    """How an oblong image becomes a square: cut the longer side's ends off, or change the proportions."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    """The filter of the resize; both average over all pixels covered when an image shrinks."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Subtracted from each channel after scaling to [0, 1]; one value (grey), three (red, green, blue), or as many as
    the arrays have that the network takes."""
    std: tuple[float, ...] = IMAGENET_STD
    """Divides each channel after that."""
    oversample: int = 2
    """JPEGs are decoded at the smallest of 1/2, 1/4 and 1/8 of their size that leaves the shorter side at least this
    many times R, if any does. 0: always at full size, as for classifiers that were saved before there was a choice."""

    def __post_init__(self) -> None:
        if not all(type(side) is int for side in (self.image_size, self.resize)):
            raise DataError(f"preprocessing sizes are whole numbers, not {self.image_size!r} and {self.resize!r}")
        if not 1 <= self.image_size <= self.resize <= 8192:
            raise DataError(
                f"preprocessing needs 1 <= image_size <= resize <= 8192, not {self.image_size} and {self.resize}"
            )
        if type(self.oversample) is not int or not 0 <= self.oversample <= 8:
            raise DataError(f"preprocessing oversample is a whole number from 0 to 8, not {self.oversample!r}")
        if self.fit not in ("crop", "squash"):
            raise DataError(f'preprocessing fit is "crop" or "squash", not {self.fit!r}')
        if self.interpolation not in _FILTERS:
            raise DataError(f'preprocessing interpolation is "bilinear" or "bicubic", not {self.interpolation!r}')
        if not self.mean or len(self.std) != len(self.mean):
            raise DataError(
                f"preprocessing mean and std need one value for each channel, not {len(self.mean)} and {len(self.std)}"
            )
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(self.std)) or min(self.std) <= 0:
            raise DataError("preprocessing mean and std must be finite, and std above zero")

    @property
    def channels(self) -> int:
        """C: 1 for grey, 3 for colour, another number for arrays of as many."""
        return len(self.mean)

    @property
    def short_side(self) -> int:
        """What to decode images with: how many pixels of the shorter side are needed; 0 for all there are."""
        return self.oversample * self.resize

    def with_channels(self, channels: int) -> Preprocessing:
        """The same for another number of channels: each gets the mean and the deviation of all."""
        if self.channels == channels:
            return self
        mean, std = sum(self.mean) / self.channels, sum(self.std) / self.channels
        return replace(self, mean=(mean,) * channels, std=(std,) * channels)

    def square(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(H, W, 3), or (H, W, C) where C is neither 1 nor 3, uint8 -> (R, R, C) uint8.

        Resized, and cropped around the centre to a square.
        """
        if self.channels not in IN_COLOUR:  # Pillow takes them one by one
            grey = self.with_channels(1)
            return np.concatenate(
                [grey.square(image[..., [band]].repeat(3, axis=2)) for band in range(self.channels)], axis=2
            )
        height, width = image.shape[:2]
        side = self.resize
        if self.fit == "squash" or height == width:
            picture, box = Image.fromarray(image), None
        else:
            # The largest square around the centre; resizing that box equals resize-then-crop, without the waste.
            cut = min(height, width)
            reach = math.ceil(_REACH[self.interpolation] * max(1.0, cut / side)) + 1
            picture, left = _without_sides(image, reach)
            top = (height - cut) / 2
            box = (left, top, left + cut, top + cut)
        if self.channels == 1:
            picture = picture.convert("L")
        if picture.size != (side, side) or box is not None:
            picture = picture.resize((side, side), _FILTERS[self.interpolation], box=box)
        return np.asarray(picture, dtype=np.uint8).reshape(side, side, self.channels)

    def crop(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(N, R, R, C) -> (N, S, S, C): the centre."""
        start = (self.resize - self.image_size) // 2
        end = start + self.image_size
        return images[:, start:end, start:end]

    @property
    def scale_and_shift(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(C,) each: a pixel in [0, 255] times the first, plus the second, is what the network sees."""
        scale = np.array([1 / (255 * s) for s in self.std], dtype=np.float32)
        shift = np.array([-m / s for m, s in zip(self.mean, self.std, strict=True)], dtype=np.float32)
        return scale, shift

    def normalise(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """(N, S, S, C), values in [0, 255] -> float32 (N, C, S, S), contiguous as (N, S, S, C) in memory.

        Returned as a transposed view, so that a channels-last network takes it without a copy.
        """
        scale, shift = self.scale_and_shift
        values = images.astype(np.float32, order="C")
        values *= scale
        values += shift
        channels_first: NDArray[np.float32] = np.moveaxis(values, 3, 1)
        return channels_first

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, 3) uint8 -> float32 (C, S, S): all steps for one image."""
        batch = self.normalise(self.crop(self.square(image)[None]))
        first: NDArray[np.float32] = batch[0]
        return first

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The object that `to_dict` wrote, also before there was an `oversample`.

        Raises:
            DataError: a key is unknown or absent, or a value is out of range.
        """
        known = {field.name for field in fields(cls)}
        for key in values:
            if key not in known:
                raise DataError(f"preprocessing has no setting {key!r}; {nearest(key, known)}")
        try:
            plain = {"oversample": 0} | dict(values)
            for key in ("mean", "std"):
                if key in plain:
                    plain[key] = tuple(float(v) for v in plain[key])
            return cls(**plain)
        except (TypeError, ValueError) as error:
            raise DataError(f"preprocessing can't be read: {error}") from error


def _without_sides(image: NDArray[np.uint8], reach: int) -> tuple[Image.Image, float]:
    """(H, W, 3) for Pillow, where it is wide only its middle H columns and `reach` more on either side.

    A resize never looks at the others: left out, they need not be copied, nor push the rest out of the processor's
    caches, which spares a tenth of it. A tall image is left whole: Pillow 13 shrinks such a one in another order, which
    would move its pixels by one.

    Returns:
        The image, and the left edge of its middle in it, which may lie between two pixels.
    """
    height, width = image.shape[:2]
    if width <= height:
        return Image.fromarray(image), 0.0
    left = (width - height) / 2
    first, last = max(0, math.floor(left) - reach), min(width, math.ceil(left) + height + reach)
    values = np.ascontiguousarray(image).reshape(-1)[3 * first :]
    return Image.frombuffer("RGB", (last - first, height), values, "raw", "RGB", 3 * width, 1), left - first


def in_colour(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, C) -> (H, W, 3), as pages show it: grey as it is, of more channels the first three."""
    return image[..., :3] if image.shape[-1] >= 3 else image[..., :1].repeat(3, axis=2)

"""Colour profiles: what a camera or a program meant by its numbers -> sRGB, which every network here was taught in.

An ICC profile (ICC.1:2010) that can't be read, or that is for another kind of colour than the image has, is ignored:
that is what most programs show, and what the image would be without it.
"""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 4_000_000
_SAME = 2  # steps of 255: a profile whose colours are no further from sRGB than that is sRGB, rounded differently


def convert_to_srgb(image: Image.Image, profile: object) -> Image.Image:
    """An image of mode RGB, L or CMYK -> RGB (or L, if it was) in sRGB, by perceptual intent; without alpha.

    Args:
        image: as decoded; left as it is.
        profile: the ICC profile's bytes as Pillow's `info` has them; anything else counts as none.
    """
    if isinstance(profile, bytes) and 128 < len(profile) <= MAX_PROFILE_BYTES:
        if image.mode == "L":
            table = _grey_table(profile)
            return image if table is None else image.point(table)
        transform = _transform(profile, image.mode)
        if transform is not None:
            return transform.apply(image)
    return image.convert("RGB") if image.mode == "CMYK" else image


def convert_array_to_srgb(pixels: NDArray[np.uint8], profile: object) -> NDArray[np.uint8]:
    """(H, W, 3) -> (H, W, 3): the same for an RGB array; the very array where there is nothing to convert."""
    if not (isinstance(profile, bytes) and 128 < len(profile) <= MAX_PROFILE_BYTES):
        return pixels
    transform = _transform(profile, "RGB")
    return pixels if transform is None else np.array(transform.apply(Image.fromarray(pixels)))


# Photos of one camera all bring the same profile, so the work of reading it is done once.
@functools.lru_cache(maxsize=16)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """From `mode` with this profile to sRGB; None where that changes nothing, or nothing can be done."""
    transform = _build(profile, mode)
    if transform is None or mode != "RGB":
        return transform
    steps = np.array([0, 16, 48, 96, 128, 160, 208, 240, 255], dtype=np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    return transform if _differs(colours, np.asarray(transform.apply(Image.fromarray(colours)))) else None


@functools.lru_cache(maxsize=16)
def _grey_table(profile: bytes) -> list[int] | None:
    """What each of 256 greys becomes; None where that changes nothing, or nothing can be done."""
    transform = _build(profile, "L")
    if transform is None:
        return None
    greys = np.arange(256, dtype=np.uint8)[None]
    found = np.asarray(transform.apply(Image.fromarray(greys)))[..., 1]  # three equal channels, up to rounding
    return found[0].tolist() if _differs(greys, found) else None


def _build(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.buildTransform(
            given,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.PERCEPTUAL,
            flags=ImageCms.Flags.NOCACHE,  # one transform serves all threads
        )
    except Exception:  # broken, or of another kind of colour: the pixels are readable all the same
        return None


def _differs(before: NDArray[Any], after: NDArray[Any]) -> bool:
    return int(np.abs(before.astype(np.int16) - after.astype(np.int16)).max()) > _SAME

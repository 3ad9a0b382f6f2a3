"""Small pictures inside a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.page import markup

SIDE = 96
"""The longest side of a thumbnail in pixels, where nothing else is asked for."""
QUALITY = 85
"""Of a JPEG, from 1 to 95, where nothing else is asked for."""
_TINY = 48
"""Images up to this side are kept as they are and shown enlarged, pixel by pixel."""


@dataclass(frozen=True)
class Picture:
    """A picture as a page can hold it."""

    source: str
    """A data: address, with nothing in it that HTML would take for markup."""
    width: int
    """As stored, in pixels."""
    height: int
    is_tiny: bool
    """Whether it is kept as it was, to be shown enlarged."""


def picture(image: NDArray[np.uint8], *, side: int = SIDE, quality: int = QUALITY) -> Picture:
    """The image as a PNG where it is tiny, else reduced and as a JPEG.

    Args:
        image: (H, W, 3) uint8.
        side: the longest side in pixels.
        quality: of the JPEG, from 1 to 95; below `QUALITY` tiny images may become JPEGs, too.
    """
    found, tiny = shrink(image, side), is_tiny(image)
    sources = [data_uri(found)] if tiny else []
    if not tiny or quality < QUALITY:
        sources.append(data_uri(found, as_photo=True, quality=quality))
    return Picture(min(sources, key=len), found.width, found.height, tiny)


def thumbnail(image: NDArray[np.uint8] | None, alt: str, *, side: int = SIDE) -> str:
    """An <img> with the picture inside it, or a box that says there is none.

    Args:
        image: (H, W, 3) uint8, or None where it can't be shown.
        alt: what the image is, as text.
        side: the longest side in pixels.
    """
    if image is None:
        return '<span class="thumb none">no preview</span>'
    found = picture(image, side=side)
    scale = side / max(found.width, found.height) if found.is_tiny else 1
    shown = f'width="{max(1, round(found.width * scale))}" height="{max(1, round(found.height * scale))}"'
    return (
        f'<span class="thumb"><img {"class=tiny " if found.is_tiny else ""}src="{found.source}" {shown} '
        f'alt="{markup.text(alt)}"></span>'
    )


def is_tiny(image: NDArray[np.uint8]) -> bool:
    """Whether an image (H, W, 3) has so few pixels that each is to be seen."""
    longest: int = max(image.shape[:2])
    return longest <= _TINY


def shrink(image: NDArray[np.uint8], side: int) -> Image.Image:
    """An image (H, W, 3) as a picture whose longest side is at most that long; a tiny one is left as it is."""
    found = Image.fromarray(np.ascontiguousarray(image))
    if not is_tiny(image):
        found.thumbnail((side, side), Image.Resampling.LANCZOS)
    return found


def data_uri(found: Image.Image, *, as_photo: bool = False, quality: int = QUALITY) -> str:
    """A picture as a data: URI for a page: PNG, or JPEG where it is a photo."""
    target = io.BytesIO()
    if as_photo:
        found.convert("RGB").save(target, format="JPEG", quality=quality, optimize=quality < QUALITY)
    else:
        found.save(target, format="PNG", optimize=True)
    return f"data:image/{'jpeg' if as_photo else 'png'};base64,{base64.b64encode(target.getvalue()).decode('ascii')}"

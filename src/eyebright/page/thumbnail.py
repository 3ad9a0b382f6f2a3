"""Small pictures inside a page."""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.page import markup

SIDE = 96
"""The longest side of a thumbnail in pixels, where nothing else is asked for."""
_TINY = 48
"""Images up to this side are kept as they are and shown enlarged, pixel by pixel."""


def is_tiny(image: NDArray[np.uint8]) -> bool:
    """Whether an image (H, W, 3) has so few pixels that each is to be seen."""
    longest: int = max(image.shape[:2])
    return longest <= _TINY


def thumbnail(image: NDArray[np.uint8] | None, alt: str, *, side: int = SIDE) -> str:
    """An <img> with the picture inside it, or a box that says there is none.

    Args:
        image: (H, W, 3) uint8, or None where it can't be shown.
        alt: what the image is, as text.
        side: the longest side in pixels.
    """
    if image is None:
        return '<span class="thumb none">no preview</span>'
    picture = shrink(image, side)
    scale = side / max(picture.size) if is_tiny(image) else 1
    shown = f'width="{max(1, round(picture.width * scale))}" height="{max(1, round(picture.height * scale))}"'
    return (
        f'<span class="thumb"><img {"class=tiny " if is_tiny(image) else ""}'
        f'src="{data_uri(picture, as_photo=not is_tiny(image))}" {shown} alt="{markup.text(alt)}"></span>'
    )


def shrink(image: NDArray[np.uint8], side: int) -> Image.Image:
    """An image (H, W, 3) as a picture whose longest side is at most that long; a tiny one is left as it is."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    if not is_tiny(image):
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    return picture


def data_uri(picture: Image.Image, *, as_photo: bool = False) -> str:
    """A picture as a data: URI for a page: PNG, or JPEG where it is a photo."""
    target = io.BytesIO()
    if as_photo:
        picture.convert("RGB").save(target, format="JPEG", quality=85)
    else:
        picture.save(target, format="PNG", optimize=True)
    return f"data:image/{'jpeg' if as_photo else 'png'};base64,{base64.b64encode(target.getvalue()).decode('ascii')}"

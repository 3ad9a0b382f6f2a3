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


def thumbnail(image: NDArray[np.uint8] | None, alt: str, *, side: int = SIDE) -> str:
    """An <img> with the picture inside it, or a box that says there is none.

    Args:
        image: (H, W, 3) uint8, or None where it can't be shown.
        alt: what the image is, as text.
        side: the longest side in pixels.
    """
    if image is None:
        return '<span class="thumb none">no preview</span>'
    height, width = image.shape[:2]
    picture = Image.fromarray(np.ascontiguousarray(image))
    tiny = max(height, width) <= _TINY
    target = io.BytesIO()
    if tiny:
        picture.save(target, format="PNG", optimize=True)
    else:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        picture.convert("RGB").save(target, format="JPEG", quality=85)
    kind = "png" if tiny else "jpeg"
    data = base64.b64encode(target.getvalue()).decode("ascii")
    scale = side / max(picture.size) if tiny else 1
    shown = f'width="{max(1, round(picture.width * scale))}" height="{max(1, round(picture.height * scale))}"'
    return (
        f'<span class="thumb"><img {"class=tiny " if tiny else ""}src="data:image/{kind};base64,{data}" {shown} '
        f'alt="{markup.text(alt)}"></span>'
    )

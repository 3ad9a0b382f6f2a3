"""Small pictures inside a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.page import markup

SIDE = 96
"""The longest side of a thumbnail in pixels, where nothing else is asked for."""
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


def picture(image: NDArray[np.uint8], *, side: int = SIDE, quality: int = 85) -> Picture:
    """The image as a PNG where it is tiny, else reduced and as a JPEG.

    Args:
        image: (H, W, 3) uint8.
        side: the longest side in pixels.
        quality: of the JPEG, from 1 to 95; below 85 tiny images may become JPEGs, too.
    """
    height, width = image.shape[:2]
    found = Image.fromarray(np.ascontiguousarray(image))
    tiny = max(height, width) <= _TINY
    encoded: list[tuple[str, bytes]] = []
    if tiny:
        encoded.append(("png", _saved(found, format="PNG", optimize=True)))
    else:
        found.thumbnail((side, side), Image.Resampling.LANCZOS)
    if not tiny or quality < 85:
        encoded.append(("jpeg", _saved(found.convert("RGB"), format="JPEG", quality=quality, optimize=quality < 85)))
    kind, content = min(encoded, key=lambda pair: len(pair[1]))
    data = base64.b64encode(content).decode("ascii")
    return Picture(f"data:image/{kind};base64,{data}", found.width, found.height, tiny)


def _saved(image: Image.Image, **options: Any) -> bytes:
    target = io.BytesIO()
    image.save(target, **options)
    return target.getvalue()


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

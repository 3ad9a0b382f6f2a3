"""A drawing as pixels, by resvg, which is one small package (`pip install 'eyebright[draw]'`). No torch here."""

from __future__ import annotations

import io

from eyebright.drawing.scene import Scene
from eyebright.drawing.svg import write_svg
from eyebright.errors import MissingExtraError, OutputError

SCALE = 2.0
"""Pixels of the file for each CSS pixel, so that it is sharp on today's screens."""
_MAX_SIDE = 16_384
_PROBE = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="20"><text y="16" font-family="{}">x</text></svg>'


def write_png(scene: Scene, *, is_dark: bool = False, scale: float = SCALE) -> bytes:
    """The drawing on an opaque page.

    Raises:
        MissingExtraError: resvg is not installed.
        OutputError: there is no typeface on this machine, so that all text would be missing; or it would be too large.
    """
    try:
        import resvg_py
    except ModuleNotFoundError as error:
        raise MissingExtraError("writing PNG", "draw") from error
    scale = min(scale, _MAX_SIDE / max(scene.width, scene.height))
    if not _has_ink(bytes(resvg_py.svg_to_bytes(svg_string=_PROBE.format("sans-serif")))):
        raise OutputError("this machine has no typeface to write PNG with; write .svg, .html or .pdf instead")
    drawing = write_svg(scene, theme="dark" if is_dark else "light")
    return bytes(resvg_py.svg_to_bytes(svg_string=drawing, zoom=scale))


def _has_ink(png: bytes) -> bool:
    from PIL import Image

    with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
        return image.convert("RGBA").getchannel("A").getbbox() is not None

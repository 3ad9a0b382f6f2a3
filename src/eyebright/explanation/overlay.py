"""Maps as colours, to be laid over the image; and one image's maps side by side as a PNG. No torch here.

Shapes: S side that the network sees.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from eyebright.errors import printable
from eyebright.explanation.attribution import TITLES, Attribution, Explanation
from eyebright.page.thumbnail import is_tiny

FOR, AGAINST = (109, 91, 208), (224, 112, 26)
"""What speaks for a class, and what speaks for the one that it is weighed against."""
# From weak to strong: violet, red, orange, light yellow; dark to light for every eye.
_HEAT = np.array([(74, 32, 110), (178, 52, 96), (245, 140, 62), (253, 236, 170)], dtype=np.float64)
_STRONGEST = 0.82  # the share of colour where a map is strongest: the image stays visible
_PANEL = 336
_MARGIN = 24


def tint(attribution: Attribution) -> NDArray[np.uint8]:
    """A map's colours, (S, S, 4): clear where it says nothing, opaque where it is strongest.

    A map of one class shows what speaks for it; a contrast of two also what speaks for the other.
    """
    values = attribution.values.astype(np.float64)
    if attribution.against is not None:
        strongest = float(np.abs(values).max())
        share = np.abs(values) / strongest if strongest > 0 else np.zeros_like(values)
        colours = np.where((values > 0)[..., None], FOR, AGAINST).astype(np.float64)
    else:
        share = np.maximum(values, 0)
        strongest = float(share.max())
        share = share / strongest if strongest > 0 else share
        steps = np.linspace(0, 1, len(_HEAT))
        colours = np.stack([np.interp(share, steps, _HEAT[:, part]) for part in range(3)], axis=-1)
    alpha = 255 * _STRONGEST * share
    tinted: NDArray[np.uint8] = np.rint(np.concatenate([colours, alpha[..., None]], axis=-1)).astype(np.uint8)
    return tinted


def overlay(image: NDArray[np.uint8], attribution: Attribution) -> NDArray[np.uint8]:
    """(S, S, 3) -> (S, S, 3): the image in grey under the map's colours."""
    colours = tint(attribution).astype(np.float64)
    alpha = colours[..., 3:] / 255
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float64)[..., None]
    mixed: NDArray[np.uint8] = np.rint(grey * (1 - alpha) + colours[..., :3] * alpha).astype(np.uint8)
    return mixed


def write_sheet(explanation: Explanation) -> bytes:
    """An image, its maps and the contrast side by side, as PNG."""
    assert explanation.image is not None
    confidence = explanation.prediction.probabilities[explanation.label]
    panels = [
        (explanation.image, f"{printable(explanation.label)}, {100 * confidence:.1f} %", "as the network sees it")
    ]
    for judged in explanation.maps:
        found, faithful = judged.attribution, judged.faithfulness
        said = f"insertion - deletion {faithful.score:.2f}, random map {faithful.random_score:.2f}"
        title = TITLES[found.method] + (f", {found.layer}" if found.layer else "")
        panels.append((overlay(explanation.image, found), title, said))
    if explanation.contrast is not None:
        contrast = explanation.contrast
        title = f"violet: {printable(contrast.label)}"
        panels.append((overlay(explanation.image, contrast), title, f"orange: {printable(contrast.against or '')}"))
    heading, small = ImageFont.load_default(19), ImageFont.load_default(15)
    width = _MARGIN + len(panels) * (_PANEL + _MARGIN)
    sheet = Image.new("RGB", (width, _PANEL + 2 * _MARGIN + 54), "white")
    draw = ImageDraw.Draw(sheet)
    for place, (pixels, title, said) in enumerate(panels):
        left = _MARGIN + place * (_PANEL + _MARGIN)
        method = Image.Resampling.NEAREST if is_tiny(pixels) else Image.Resampling.BICUBIC
        sheet.paste(Image.fromarray(pixels).resize((_PANEL, _PANEL), method), (left, _MARGIN))
        draw.text((left, _PANEL + _MARGIN + 10), _fitting(title, heading), "#1f1d24", font=heading)
        draw.text((left, _PANEL + _MARGIN + 36), _fitting(said, small), "#625e6b", font=small)
    target = io.BytesIO()
    sheet.save(target, format="PNG", optimize=True)
    return target.getvalue()


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A text cut to a panel's width."""
    if font.getlength(text) <= _PANEL:
        return text
    while text and font.getlength(text + "…") > _PANEL:
        text = text[:-1]
    return text + "…"

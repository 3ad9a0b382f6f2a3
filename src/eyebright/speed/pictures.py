"""Pictures to measure with where there are no photos: noise with the detail of photos. No torch here."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 800, 600


def generate_picture(seed: int) -> Image.Image:
    """800 x 600: octaves of noise, each a third weaker than the one before; its JPEG is as large as a photo's."""
    chance = np.random.default_rng(seed)
    total = np.zeros((HEIGHT, WIDTH, 3))
    for octave in range(1, 9):
        cells = chance.normal(size=(3 * 2**octave // 2, 2 * 2**octave, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(cells[..., channel]).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
            total[..., channel] += np.asarray(layer) * 60 / 1.5**octave
    return Image.fromarray(np.clip(128 + total, 0, 255).astype(np.uint8))


def encode_jpeg(picture: Image.Image, size: tuple[int, int] | None = None) -> bytes:
    """As cameras and websites write them: quality 90, colours at half the resolution; resized first if asked."""
    file = io.BytesIO()
    resized = picture if size is None else picture.resize(size, Image.Resampling.BICUBIC)
    resized.save(file, "JPEG", quality=90)
    return file.getvalue()

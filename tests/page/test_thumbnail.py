"""Thumbnails are small, true to the image, and inert."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from eyebright.page.thumbnail import SIDE, data_uri, shrink, thumbnail


def picture_in(html: str) -> Image.Image:
    data = re.search(r"base64,([^\"]+)\"", html)
    assert data is not None
    return Image.open(io.BytesIO(base64.b64decode(data[1])))


def test_a_large_image_is_made_small_and_keeps_its_proportions() -> None:
    image = np.full((300, 600, 3), (200, 30, 30), dtype=np.uint8)
    picture = picture_in(thumbnail(image, "x"))
    assert picture.size == (SIDE, SIDE // 2)
    assert abs(np.asarray(picture)[20, 40].astype(int) - (200, 30, 30)).max() < 6


def test_a_tiny_image_keeps_every_pixel_and_is_shown_enlarged() -> None:
    image = np.random.default_rng(0).integers(0, 255, (28, 14, 3), dtype=np.uint8)
    html = thumbnail(image, "x")
    assert (np.asarray(picture_in(html)) == image).all()
    assert 'width="48" height="96"' in html


def test_an_image_that_cannot_be_shown_says_so_and_names_stay_inert() -> None:
    assert "no preview" in thumbnail(None, "x")
    assert '"><script>' not in thumbnail(np.zeros((9, 9, 3), np.uint8), '"><script>')


def test_a_picture_is_kept_to_the_pixel_unless_it_is_a_photo() -> None:
    image = np.random.default_rng(1).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    exact, photo = data_uri(Image.fromarray(image)), data_uri(Image.fromarray(image), as_photo=True)
    assert exact.startswith("data:image/png;base64,")
    assert photo.startswith("data:image/jpeg;base64,")
    assert np.array_equal(np.asarray(picture_in(f'"{exact}"')), image)
    assert len(photo) < len(exact)
    assert shrink(image, 30).size == (30, 30)
    assert shrink(image[:48, :48], 30).size == (48, 48)

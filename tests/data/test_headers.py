from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from eyebright.data.headers import ImageHeader, read_header
from eyebright.errors import ImageError

Encode = Callable[..., bytes]


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_a_header_says_format_and_size(encode: Encode, kind: str) -> None:
    header = read_header(encode("L", kind), "x")
    assert (header.format, header.width, header.height) == (kind, 24, 16)
    assert (header.frames, header.orientation, header.has_alpha, header.has_profile) == (1, 1, False, False)
    assert header.mode == {"WEBP": "RGB", "GIF": "P"}.get(kind, "L")


def test_a_header_says_what_is_odd() -> None:
    image = Image.new("LA", (5, 4))
    image.getexif()[0x0112] = 6
    found = read_header(saved(image, "PNG", exif=image.getexif(), icc_profile=b"profile"), "x")
    assert found == ImageHeader(
        format="PNG", mode="LA", width=5, height=4, frames=1, orientation=6, has_alpha=True, has_profile=True
    )
    assert read_header(saved(Image.new("P", (3, 2)), "PNG", transparency=0), "x").has_alpha


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_frames_are_counted(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert read_header(content, "x").frames == 3


def test_the_previews_in_a_cameras_jpeg_are_no_frames() -> None:
    content = saved(Image.new("RGB", (8, 8)), "MPO", save_all=True, append_images=[Image.new("RGB", (4, 4))])
    assert Image.open(io.BytesIO(content)).format == "MPO"
    header = read_header(content, "x")
    assert (header.format, header.frames) == ("JPEG", 1)


def test_a_header_is_read_without_the_pixels() -> None:
    content = saved(Image.new("L", (2800, 2800)), "PNG")
    began = time.perf_counter()
    assert read_header(content[:1000], "x").width == 2800
    assert time.perf_counter() - began < 0.1


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_what_has_no_header_is_refused(content: bytes) -> None:
    with pytest.raises(ImageError, match=r"^x: is "):
        read_header(content, "x")

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from eyebright.drawing.graph import Graph
from eyebright.drawing.png import SCALE, write_png
from eyebright.drawing.scene import Scene, Text
from eyebright.drawing.volumes import draw_volumes
from eyebright.errors import MissingExtraError, OutputError

GraphOf = Callable[..., Graph]


def read(png: bytes) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def test_pixels_show_the_boxes_the_page_and_the_words(graph_of: GraphOf) -> None:
    pytest.importorskip("resvg_py")
    scene = draw_volumes(graph_of("vgg16"))
    light, dark = read(write_png(scene)), read(write_png(scene, is_dark=True))
    assert light.shape == (round(scene.height * SCALE), round(scene.width * SCALE), 3)
    assert tuple(light[0, 0]) == (255, 255, 255)
    assert tuple(dark[0, 0]) == (0x1C, 0x1B, 0x22)
    for colour in ((0x1D, 0x1C, 0x21), (0xD5, 0x34, 0x2B), (0x2B, 0xB8, 0xCF), (0xF2, 0xC2, 0x30)):
        assert (light == colour).all(axis=2).sum() > 2_000, colour
    title = light[40:90, 60:260]
    assert (title < 100).all(axis=2).sum() > 300


def test_without_a_typeface_it_says_so_and_writes_no_picture_without_words(monkeypatch: pytest.MonkeyPatch) -> None:
    resvg_py = pytest.importorskip("resvg_py")
    real = resvg_py.svg_to_bytes
    monkeypatch.setattr(resvg_py, "svg_to_bytes", lambda **asked: real(**asked, skip_system_fonts=True))
    with pytest.raises(OutputError, match="no typeface"):
        write_png(Scene(10, 10, "", "", (Text(1, 9, "x"),)))


def test_without_resvg_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'eyebright\[draw\]'"):
        write_png(Scene(10, 10, "", "", ()))

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eyebright.data.decode import decode, decode_anything
from eyebright.data.headers import read_header
from eyebright.errors import ImageError


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


gallery = _load("gallery", Path(__file__).with_name("gallery.py"))
EXHIBITS = gallery.build_gallery()


def test_the_gallery_is_large_and_no_name_stands_twice() -> None:
    names = [exhibit.name for exhibit in EXHIBITS]
    assert len(names) >= 60
    assert len(set(names)) == len(names)
    assert sum(exhibit.pixels is None for exhibit in EXHIBITS) >= 30
    assert all((exhibit.pixels is None) != (exhibit.error == "") for exhibit in EXHIBITS)


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_every_exhibit_gives_its_pixels_or_its_error_in_half_a_second(exhibit: Any) -> None:
    began = time.process_time()  # other work on the machine is not the file's fault
    try:
        found: Any = decode(exhibit.content, "x")
    except ImageError as error:
        found = error
    assert time.process_time() - began < 0.5
    if exhibit.pixels is None:
        assert isinstance(found, ImageError), f"was read as {found.shape}"
        assert re.search(exhibit.error, found.reason), found.reason
        assert len(found.reason) < 200
    else:
        assert not isinstance(found, ImageError), found
        assert found.shape == exhibit.pixels.shape
        difference = np.abs(found.astype(int) - exhibit.pixels.astype(int)).max()
        assert difference <= exhibit.tolerance


@pytest.mark.parametrize("exhibit", [e for e in EXHIBITS if e.pixels is not None], ids=lambda exhibit: exhibit.name)
def test_pillow_images_and_headers_agree_with_the_bytes(exhibit: Any) -> None:
    pixels = decode(exhibit.content, "x")
    header = read_header(exhibit.content, "x")
    stored = (header.height, header.width) if header.orientation < 5 else (header.width, header.height)
    assert pixels.shape[:2] == stored
    frames = {"png-animated": 2, "webp-animated": 2, "tiff-pages": 2, "gif-animated": 3}
    assert header.frames == frames.get(exhibit.name, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of broken EXIF, while opening
        image = Image.open(io.BytesIO(exhibit.content))
    assert np.array_equal(decode_anything(image), pixels)


def test_a_reader_that_breaks_says_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    for exhibit in EXHIBITS:
        if exhibit.name.startswith("tiff"):
            with contextlib.suppress(ImageError):
                decode(exhibit.content, "x")
    assert capfd.readouterr() == ("", "")

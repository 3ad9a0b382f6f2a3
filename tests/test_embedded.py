"""The images that come along are the ones that the figures in the documentation were measured on."""

from __future__ import annotations

import hashlib
import importlib.resources
import io
import zipfile
from collections import Counter
from collections.abc import Iterator

import pytest
from PIL import Image

NAME = "fashion-mnist-subset.zip"
SHA256 = "024a5dbbb3eb09fa243bde1299af2b96992d2c5e446dfad38935eec28f8f986f"
CLASSES = {"T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"}


@pytest.fixture
def archive() -> Iterator[zipfile.ZipFile]:
    content = (importlib.resources.files("eyebright.data") / "embedded" / NAME).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        yield opened


def test_the_archive_is_the_one_that_was_measured() -> None:
    content = (importlib.resources.files("eyebright.data") / "embedded" / NAME).read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256
    assert len(content) < 2_000_000


def test_every_class_has_250_training_and_60_test_images(archive: zipfile.ZipFile) -> None:
    counts = Counter(tuple(name.split("/")[:-1]) for name in archive.namelist())
    wanted = {("train", name): 250 for name in CLASSES} | {("test", name): 60 for name in CLASSES}
    assert counts == wanted


def test_every_image_is_a_grey_png_of_28_by_28(archive: zipfile.ZipFile) -> None:
    for name in archive.namelist():
        with Image.open(io.BytesIO(archive.read(name))) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (28, 28)), name
            image.load()


def test_no_image_is_in_both_parts(archive: zipfile.ZipFile) -> None:
    pixels: dict[str, set[bytes]] = {"train": set(), "test": set()}
    for name in archive.namelist():
        with Image.open(io.BytesIO(archive.read(name))) as image:
            pixels[name.split("/")[0]].add(image.tobytes())
    assert not pixels["train"] & pixels["test"]


def test_the_licence_stands_beside_the_images() -> None:
    text = (importlib.resources.files("eyebright.data") / "embedded" / "LICENSE-fashion-mnist.txt").read_text("utf-8")
    assert "Copyright (c) 2017 Zalando SE" in text
    assert "Permission is hereby granted" in text

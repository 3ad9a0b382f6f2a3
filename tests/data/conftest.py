"""Small images made on the spot; no test needs a file that is not made here."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Encode = Callable[..., bytes]
WriteImages = Callable[[Path, Iterable[str]], None]
HashTree = Callable[[Path], dict[str, str]]


@pytest.fixture
def encode() -> Encode:
    """(mode, format) -> the bytes of a 24 x 16 image with a gradient; the seed varies its contents."""

    def encode_image(mode: str = "RGB", kind: str = "PNG", *, seed: int = 0, size: tuple[int, int] = (24, 16)) -> bytes:
        width, height = size
        y, x = np.mgrid[:height, :width]
        pixels = np.stack([x * 7 + seed * 31, y * 11, x + y], axis=2).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(file, kind)
        return file.getvalue()

    return encode_image


@pytest.fixture
def write_images(encode: Encode) -> WriteImages:
    """Write a different PNG to each of these paths below a folder."""

    def write(root: Path, names: Iterable[str]) -> None:
        for seed, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(seed=seed))

    return write


@pytest.fixture
def hash_tree() -> HashTree:
    """Every file below a folder -> sha256."""

    def hashes(root: Path) -> dict[str, str]:
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    return hashes


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads change places between any two steps, so that one missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)

"""Write the images that come along: a small part of Fashion-MNIST as one zip of PNG class folders.

    python scripts/build_embedded_images.py [--source /usr/share/datasets/fashion-mnist]

The source is the four files of Debian's package `dataset-fashion-mnist`. Of each class the first 250 training and the
first 60 test images are taken, so the same source gives the same images. The zip is written the same way each time
(order, dates, no compression on top of PNG's); another zlib may give other bytes for the same pixels.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = (
    "T-shirt",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PARTS = {"train": ("train", 250), "test": ("t10k", 60)}  # folder -> (the source's name for it, images of each class)
DATE = (2017, 8, 25, 0, 0, 0)  # when Fashion-MNIST was published
TARGET = Path(__file__).parents[1] / "src" / "eyebright" / "data" / "embedded" / "fashion-mnist-subset.zip"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    entries: dict[str, bytes] = {}
    for part, (prefix, wanted) in PARTS.items():
        images = read_idx(options.source / f"{prefix}-images-idx3-ubyte.gz")
        labels = read_idx(options.source / f"{prefix}-labels-idx1-ubyte.gz")
        for label, name in enumerate(CLASSES):
            for row in np.flatnonzero(labels == label)[:wanted]:
                entries[f"{part}/{name}/{row:05d}.png"] = encode(images[row])
    with zipfile.ZipFile(options.out, "w") as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, date_time=DATE)
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, entries[name], compress_type=zipfile.ZIP_STORED)
    content = options.out.read_bytes()
    print(f"{options.out}: {len(entries)} images, {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


def read_idx(path: Path) -> NDArray[Any]:
    """The array in a gzipped IDX file of unsigned bytes: a magic number, the sizes as big-endian int32, the values."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    assert content[:3] == b"\x00\x00\x08", f"{path} is no IDX file of bytes"
    shape = np.frombuffer(content, dtype=">i4", count=dimensions, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """(28, 28) -> a grey PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return file.getvalue()


if __name__ == "__main__":
    main()

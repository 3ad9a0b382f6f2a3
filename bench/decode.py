#!/usr/bin/env python3
"""Time decoding JPEGs for a small target: Eyebright against Pillow's plain open().convert().resize(), one thread each.

    python bench/decode.py [--images FOLDER] [--count 30] [--rounds 7]

Each photo of the folder (without one: each of some generated pictures with the detail of photos) is brought to each
size, saved as a JPEG (quality 90, 4:2:0) in memory, then decoded and resized to a shorter side of 256 pixels in each
way. The ways take turns on each image, in another order each round; what is timed is the thread's processor time; of
each way and image the fastest round counts, and medians over the images are reported, with the ratio's quartiles.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from eyebright.data.decode import decode
from eyebright.preprocess import Preprocessing
from eyebright.speed.pictures import encode_jpeg, generate_picture

SIDE = 256
SIZES = ((500, 375), (1600, 1200), (4000, 3000))
FULL = Preprocessing(image_size=SIDE, resize=SIDE, oversample=0)
USUAL = Preprocessing(image_size=SIDE, resize=SIDE)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--images", type=Path, help="a folder of photos")
    parser.add_argument("--count", type=int, default=30, help="how many of them")
    parser.add_argument("--rounds", type=int, default=7, help="how often each is decoded in each way")
    options = parser.parse_args()
    photos = read_photos(options.images, options.count)
    print(
        json.dumps(
            {
                "machine": platform.processor() or platform.machine(),
                "cpus": os.cpu_count(),
                "load": os.getloadavg()[0],
                "pillow": PIL.__version__,
                "simplejpeg": simplejpeg.__version__,
                "images": len(photos),
                "rounds": options.rounds,
            }
        )
    )
    for size in SIZES:
        report(size, [encode_jpeg(photo, size) for photo in photos], options.rounds)


def report(size: tuple[int, int], contents: list[bytes], rounds: int) -> None:
    """Median milliseconds of each way, and how many times as fast as each of Pillow's the two of ours are."""
    times = {way: [float("inf")] * len(contents) for way in WAYS}
    order, turns = list(WAYS), random.Random(0)
    for row, content in enumerate(contents):
        for _ in range(rounds):
            turns.shuffle(order)
            for way in order:
                began = time.thread_time()
                WAYS[way](content)
                times[way][row] = min(times[way][row], 1000 * (time.thread_time() - began))
    print(f"\n{size[0]} x {size[1]}, {statistics.mean(map(len, contents)) / 1000:.0f} kB each")
    for way, values in times.items():
        print(f"  {way:58} {statistics.median(values):8.2f} ms")
    for ours in [way for way in WAYS if way.startswith("Eyebright")]:
        for theirs in [way for way in WAYS if way.startswith("Pillow")]:
            ratios = [slow / fast for slow, fast in zip(times[theirs], times[ours], strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(f"  {ours} vs {theirs}: {middle:.2f} times as fast (quartiles {low:.2f} to {high:.2f})")


def target(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of the whole image with a shorter side of 256."""
    return round(size[0] * SIDE / min(size)), round(size[1] * SIDE / min(size))


def pillow(content: bytes, resample: Image.Resampling | None) -> NDArray[np.uint8]:
    image = Image.open(io.BytesIO(content)).convert("RGB")
    return np.asarray(image.resize(target(image.size), resample))


def eyebright_whole(content: bytes) -> NDArray[np.uint8]:
    """The whole image, as Pillow does it: decoded by us, then the same resize."""
    image = Image.fromarray(decode(content, "bench", short_side=USUAL.short_side))
    return np.asarray(image.resize(target(image.size), Image.Resampling.BILINEAR))


WAYS: dict[str, Callable[[bytes], Any]] = {
    "Pillow, as plain as it goes (bicubic)": lambda content: pillow(content, None),
    "Pillow, bilinear": lambda content: pillow(content, Image.Resampling.BILINEAR),
    "Eyebright, the square that networks see": lambda content: USUAL.square(
        decode(content, "bench", short_side=USUAL.short_side)
    ),
    "Eyebright, the whole image, bilinear": eyebright_whole,
    "(at full size, the square)": lambda content: FULL.square(decode(content, "bench", short_side=FULL.short_side)),
}


def read_photos(folder: Path | None, count: int) -> list[Image.Image]:
    """Photos spread evenly over a folder; without one, noise of which coarse parts are strong and fine parts weak."""
    if folder is None:
        return [generate_picture(seed) for seed in range(count)]
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = paths[:: max(1, len(paths) // count)][:count]
    return [Image.open(path).convert("RGB") for path in chosen]


if __name__ == "__main__":
    main()

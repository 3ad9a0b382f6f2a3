#!/usr/bin/env python3
"""Time the search for near-duplicates' candidates among many shapes, and count how many planted copies it finds.

    python bench/near_pairs.py --images FOLDER [--count 100000] [--list 1024] [--exact]

The shapes are drawn with the mean and covariance of those of the folder's photos. 1,000 of them are copies of others,
changed as cropping by 5 % or brightening by 25 % changes a photo's shape, every second one mirrored. `--exact` compares
all with all as well, and counts the pairs found of those that are there. Times are processor time; on a busy machine
set OPENBLAS_NUM_THREADS=1, for OpenBLAS's threads wait for each other with all their might.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from eyebright.checking import duplicates
from eyebright.checking.duplicates import NEAR, near_pairs
from eyebright.checking.look import measure_shape, mirror_shapes

PLANTED = 1000
CHANGED = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--count", type=int, default=100_000, help="how many shapes")
    parser.add_argument("--list", type=int, default=duplicates.LIST, help="how many shapes share a centre")
    parser.add_argument("--exact", action="store_true", help="compare all with all, too")
    options = parser.parse_args()
    duplicates.LIST = options.list
    chance = np.random.default_rng(0)
    paths = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    shapes = draw(np.stack([shape_of(read(path)) for path in paths]), options.count, chance)
    changes = changes_of([read(path) for path in random.Random(3).sample(paths, CHANGED)])
    places = chance.permutation(options.count)[: 2 * PLANTED]
    originals, copies = places[:PLANTED], places[PLANTED:]
    shapes[copies] = scale(shapes[originals] + changes[chance.integers(len(changes), size=PLANTED)])
    near = (shapes[originals] * shapes[copies]).sum(axis=1) > NEAR
    mirrored = np.arange(PLANTED) % 2
    shapes[copies[mirrored == 1]] = mirror_shapes(shapes[copies[mirrored == 1]])
    halves = shapes.astype(np.float16)
    del shapes
    found, seconds = timed(halves)
    print(f"{options.count:,} shapes: {seconds:.1f} s, {len(found):,} pairs")
    lower, upper = np.minimum(originals, copies), np.maximum(originals, copies)
    planted = set(zip(lower[near].tolist(), upper[near].tolist(), mirrored[near].tolist(), strict=True))
    print(f"planted copies that are near enough: {len(planted):,}, found {len(planted & found):,}")
    if options.exact:
        duplicates.LIST = options.count
        duplicates._FARTHEST_BEHIND = options.count
        every, seconds = timed(halves)
        print(f"all with all: {seconds:.1f} s, {len(every):,} pairs, of which the lists find {len(every & found):,}")


def timed(shapes: NDArray[np.float16]) -> tuple[set[tuple[int, ...]], float]:
    began = time.process_time()
    pairs = near_pairs(shapes)
    seconds = time.process_time() - began
    return {tuple(pair) for pair in pairs.tolist()}, seconds


def draw(shapes: NDArray[np.float32], count: int, chance: np.random.Generator) -> NDArray[np.float32]:
    """(count, D) normally distributed like the (N, D) given, each of length 1."""
    values, axes = np.linalg.eigh(np.cov(shapes.astype(np.float64).T))
    strengths = (np.sqrt(np.maximum(values, 0)) * axes).T.astype(np.float32)
    return scale(shapes.mean(axis=0) + chance.normal(size=(count, len(values))).astype(np.float32) @ strengths)


def changes_of(photos: list[Image.Image]) -> NDArray[np.float32]:
    """What cropping or brightening adds to each photo's shape."""
    changes = []
    for number, photo in enumerate(photos):
        if number % 2:
            other = photo.crop((round(photo.width * 0.05), round(photo.height * 0.05), photo.width, photo.height))
        else:
            other = ImageEnhance.Brightness(photo).enhance(1.25)
        changes.append(shape_of(other) - shape_of(photo))
    return np.stack(changes)


def shape_of(photo: Image.Image) -> NDArray[np.float32]:
    return measure_shape(photo.convert("L"))


def read(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def scale(shapes: NDArray[np.float32]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (shapes / np.linalg.norm(shapes, axis=1, keepdims=True)).astype(np.float32)
    return scaled


if __name__ == "__main__":
    main()

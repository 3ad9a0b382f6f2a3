#!/usr/bin/env python3
"""Measure how faithful heat maps are, by deletion and insertion, for each method and layer, against random maps.

    python bench/explanation.py --images FOLDER [--run RUN | --weights FILE --layout 1x1 --size 224] [--count 100]
                                [--method grad-cam ...] [--layer layer4 ...]

The classifier of a run, or ResNet-50 with 1,000 classes of ImageNet (the starter weights, or a file). The images
stand in folders, of which the same number is taken from each; the class that is explained is the network's own answer.
For each method and layer: the mean area under the insertion and the deletion curve, their difference with two standard
errors, the same of random maps as coarse as the map, how many images have the better map, and seconds a map.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eyebright.bundle.store import load_bundle
from eyebright.data.decode import decode, read_file
from eyebright.explanation.attribution import METHODS, Faithfulness, area
from eyebright.explanation.explain import Explainer
from eyebright.models.weights import load_pretrained
from eyebright.preprocess import Preprocessing


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--images", type=Path, required=True, help="a folder of folders of photos")
    parser.add_argument("--run", type=Path, help="a run's folder")
    parser.add_argument("--weights", default="starter", help="a file of ResNet-50's weights")
    parser.add_argument("--layout", choices=("1x1", "3x3"), help="where that file has its strides")
    parser.add_argument("--count", type=int, default=100, help="how many images")
    parser.add_argument("--size", type=int, default=224, help="side of what the network sees in pixels")
    parser.add_argument("--method", action="append", choices=METHODS, help="may be given several times")
    parser.add_argument("--layer", action="append", help="may be given several times; by default the one chosen")
    options = parser.parse_args()
    if options.run is not None:
        bundle = load_bundle(options.run)
        model, preprocessing, names = bundle.model, bundle.manifest.preprocessing, bundle.manifest.class_names
    else:
        model = load_pretrained("resnet50", options.weights, num_classes=1000, stride_in=options.layout).model
        preprocessing = Preprocessing(image_size=options.size, resize=round(options.size * 256 / 224))
        names = tuple(str(number) for number in range(1000))
    squares = read_squares(options.images, options.count, preprocessing)
    size, load = preprocessing.image_size, os.getloadavg()[0]
    print(f"{len(squares)} images of {size} pixels, load {load:.1f}, torch {torch.__version__}", flush=True)
    print(f"{'method':22} {'layer':10} {'grid':8} insertion deletion difference | random | better | s a map")
    for layer in options.layer or [None]:
        explainer = Explainer(model, preprocessing, names, layer=layer)
        for method in options.method or METHODS:
            if layer is None or explainer.attribute(explainer.prepare(squares[0]), 0, method=method).layer:
                report(explainer, method, squares)


def report(explainer: Explainer, method: Any, squares: list[Any]) -> None:
    found: list[Faithfulness] = []
    seconds = 0.0
    for square in squares:
        image = explainer.prepare(square)
        label = int(explainer.classify(image).argmax())
        began = time.monotonic()
        attribution = explainer.attribute(image, label, method=method)
        seconds += time.monotonic() - began
        found.append(explainer.judge(image, attribution).faithfulness)
    scores = np.array([faithfulness.score for faithfulness in found])
    random = np.array([faithfulness.random_score for faithfulness in found])
    inserted = np.mean([area(faithfulness.insertion) for faithfulness in found])
    deleted = np.mean([area(faithfulness.deletion) for faithfulness in found])
    grid = f"{attribution.grid[0]} x {attribution.grid[1]}"
    print(
        f"{method:22} {attribution.layer or '-':10} {grid:8} {inserted:9.3f} {deleted:8.3f} {scores.mean():7.3f} "
        f"± {2 * scores.std() / np.sqrt(len(scores)):.3f} | {random.mean():6.3f} | {(scores > random).sum():3} of "
        f"{len(scores)} | {seconds / len(squares):.2f}",
        flush=True,
    )


def read_squares(folder: Path, count: int, preprocessing: Preprocessing) -> list[Any]:
    """The first images of each folder, as squares."""
    folders = sorted(path for path in folder.iterdir() if path.is_dir())
    each = max(1, round(count / len(folders)))
    paths = [path for inner in folders for path in sorted(inner.iterdir())[:each]]
    return [
        preprocessing.square(decode(read_file(path, path.name), path.name, short_side=preprocessing.short_side))
        for path in paths
    ]


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Growth: does `predict --out` of ten times as many images take ten times as long, and no more memory?

    python bench/growth.py [--counts 1000,10000,100000]

Small JPEGs (64 x 48) and the plain CNN as ONNX, so that what is around the network weighs as much as it can. Each count
has a process of its own, which tells the most memory that it held.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from eyebright.jobs.predict import predict_into
from eyebright.speed.costs import read_peak


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--counts", default="1000,10000,100000")
    parser.add_argument("--one", nargs=3, type=Path, metavar=("BUNDLE", "FOLDER", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        answer(*options.one)
        return
    from material import build_bundle, draw_labelled, draw_many  # torch, which is not to count below

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        engines = build_bundle(
            folder / "bundle", "cnn", draw_labelled(folder / "images", 2, (64, 48)), ["onnx"], image_size=28
        )
        print(
            f"The plain CNN, {engines[-1]}.\n\n| images | seconds | images a second | most memory |\n|---|---|---|---|"
        )
        for count in map(int, options.counts.split(",")):
            many = draw_many(folder / f"{count}", count)
            command = [sys.executable, __file__, "--one", *map(str, (folder / "bundle", many, folder / f"{count}.csv"))]
            began = time.perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            seconds = time.perf_counter() - began
            peak = int(done.stdout)
            print(f"| {count:,} | {seconds:.1f} | {count / seconds:,.0f} | {peak / 1e6:,.0f} MB |", flush=True)
    print(f"\nThe whole process, load {os.getloadavg()[0]:.1f} at the end.")


def answer(bundle: Path, folder: Path, out: Path) -> None:
    """What the process of one count does: every image answered, and its own peak."""
    total, errors = predict_into(out, bundle, [folder])
    assert errors == 0, f"{errors} of {total} images could not be read"
    print(read_peak() or 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Whole processes: from a cold start to the answer for one image, what importing others' libraries takes, and memory.

    python bench/processes.py [--model resnet50] [--rounds 5] [--peer PYTHON]

The commands take turns. Files that they read are in the system's cache after the first round, which does not count.
Memory is the most that a process which classifies 16 photos holds, each engine in one of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from material import build_bundle, draw_labelled

from eyebright.bundle.engines import ONNX, ONNX_INT8, OPENVINO, TORCH_BF16
from eyebright.progress import SilentProgress
from eyebright.speed.alone import run_alone
from eyebright.speed.rounds import find_spread, take_turns


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--peer", help="a Python that has keras")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        images = draw_labelled(folder / "images", max(2, options.images // 6))
        wanted = (TORCH_BF16, ONNX, ONNX_INT8, OPENVINO)
        engines = build_bundle(folder / "bundle", options.model, images, wanted, image_size=options.side)
        compare_starts(folder, images, engines, options)
        print("\n| engine | most memory while it classifies |\n|---|---|")
        for engine in engines:
            peak = run_alone(folder / "bundle", engine, images).peak_bytes
            print(f"| {engine} | {'not told' if peak is None else f'{peak / 1e6:,.0f} MB'} |", flush=True)


def compare_starts(folder: Path, images: Path, engines: list[str], options: argparse.Namespace) -> None:
    """Prints a table: seconds of each command."""
    program = [sys.executable, "-m", "eyebright"]
    image = str(next(images.rglob("*.jpg")))
    commands = {
        "`eyebright --help`": [*program, "--help"],
        "`import torch` alone": [sys.executable, "-c", "import torch"],
    }
    for engine in engines:
        commands[f"`eyebright predict` of one image, {options.model}, {engine}"] = [
            *(*program, "predict", str(folder / "bundle"), image, "--engine", engine),
        ]
    if options.peer:
        commands["`import keras` alone"] = [options.peer, "-c", "import keras"]
    ways = {
        name: partial(subprocess.run, command, check=True, capture_output=True) for name, command in commands.items()
    }
    seconds = take_turns(ways, rounds=options.rounds, progress=SilentProgress())
    print("| whole process | seconds (quartiles) |\n|---|---|")
    for name, values in seconds.items():
        spread = find_spread(values)
        print(f"| {name} | {spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f}) |", flush=True)


if __name__ == "__main__":
    main()

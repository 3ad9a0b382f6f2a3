#!/usr/bin/env python3
"""Time to a trained classifier: from images on disk to a report, the whole command, and what it achieves.

    python bench/trained.py [--data FOLDER] [--ways cnn:standard,resnet50:quick]

Without --data: the 2,500 images of 28 x 28 that come along. Once each: minutes of training do not vary as steps do.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from eyebright.data.sources import read_samples
from eyebright.jobs.demo import embedded_images


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--ways", default="cnn:standard,resnet50:quick", help="network:effort, with commas between")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as for eyebright train")
    options = parser.parse_args()
    data = options.data or embedded_images()
    print(f"{len(read_samples(data)):,} images.\n\n| network, effort | test accuracy (95 % interval) | seconds |")
    print("|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for way in options.ways.split(","):
            model, effort = way.split(":")
            out = Path(scratch) / f"{model}-{effort}"
            command = [sys.executable, "-m", "eyebright", "train", str(data), "--model", model, "--effort", effort]
            command += ["--out", str(out), "--seed", "0"]
            for setting in options.set:
                command += ["--set", setting]
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds = time.perf_counter() - began
            found = json.loads((out / "report.json").read_text(encoding="utf-8"))["contestants"][0]["report"]
            low, high = 100 * found["accuracy_low"], 100 * found["accuracy_high"]
            print(f"| {model}, {effort} | {100 * found['accuracy']:.1f} % ({low:.1f} to {high:.1f}) | {seconds:.0f} |")


if __name__ == "__main__":
    main()

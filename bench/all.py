#!/usr/bin/env python3
"""All benchmarks, one after the other and alone, into the tables of docs/bench.md and the picture beside it.

    python bench/all.py [--weights FOLDER --images FOLDER] [--peer PYTHON] [--only decode,growth] [--quick] [--out FILE]

`make bench` sets up the peers and calls it. What a part prints replaces what stands between its markers in the file;
what people wrote around them stays, and a part without markers is put at the end. A part that fails keeps what stood
there, and the command ends with an error. --quick runs every part on tiny inputs, to see that it works: its figures
say nothing, and it refuses to write them into docs/. --out is for a machine of another kind, which gets a page of its
own, such as docs/bench-avx2.md, and a picture beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from picture import Bar, draw_bars

from eyebright.drawing.svg import write_svg
from eyebright.jobs.provenance import describe_machine, list_versions, now
from eyebright.writing import write_text

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "bench.md"
BUSY = 0.5


@dataclass(frozen=True, kw_only=True)
class Part:
    """A script with what it is called with; `quick` instead of `usual` for a first look."""

    name: str
    title: str
    script: str
    usual: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    """In both forms."""
    given: tuple[str, ...] = ()
    """Of this command's own options, those that are handed on where they were given."""


PARTS = (
    Part(
        name="inference-resnet50",
        title="From a JPEG file to its label: ResNet-50",
        script="inference.py",
        same=("--model", "resnet50"),
        quick=("--count", "1", "--rounds", "1", "--only", "onnx"),
        usual=("--count", "32", "--rounds", "9"),
        given=("weights", "images"),
    ),
    Part(
        name="inference-vgg16",
        title="From a JPEG file to its label: VGG-16",
        script="inference.py",
        same=("--model", "vgg16"),
        quick=("--count", "1", "--rounds", "1", "--only", "onnx"),
        usual=("--count", "8", "--rounds", "7"),
        given=("weights", "images"),
    ),
    Part(
        name="peers-inference",
        title="The same with Keras",
        script="peers.py",
        same=("inference",),
        quick=("--count", "2", "--rounds", "1", "--models", "resnet50"),
        given=("peer",),
    ),
    Part(
        name="decode",
        title="Decoding",
        script="decode.py",
        quick=("--count", "2", "--rounds", "1"),
        given=("images",),
    ),
    Part(
        name="training",
        title="A training step",
        script="training.py",
        quick=("--model", "cnn", "--batch", "8", "--side", "32", "--rounds", "2", "--no-compile"),
    ),
    Part(
        name="gpu",
        title="On a GPU",
        script="gpu.py",
        quick=(
            *("--device", "cpu", "--models", "resnet18", "--batch", "2", "--train-batch", "2", "--side", "64"),
            *("--product", "64", "--rounds", "2", "--no-compile"),
        ),
    ),
    Part(
        name="peers-training",
        title="A training step with Keras, and a head with scikit-learn",
        script="peers.py",
        same=("training",),
        quick=("--count", "2", "--rounds", "1", "--side", "64"),
        given=("peer",),
    ),
    Part(
        name="trained",
        title="Time to a trained classifier",
        script="trained.py",
        quick=("--ways", "cnn:quick", "--set", "training.epochs=1"),
    ),
    Part(
        name="processes",
        title="Cold start and memory",
        script="processes.py",
        quick=("--model", "cnn", "--side", "28", "--rounds", "1", "--images", "6"),
        given=("peer",),
    ),
    Part(
        name="growth",
        title="Growth",
        script="growth.py",
        quick=("--counts", "20,200"),
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--weights", help="published weights, as for inference.py")
    parser.add_argument("--images", help="photos; generated ones by default")
    parser.add_argument("--peer", help="a Python that has keras and scikit-learn; their parts are skipped without it")
    parser.add_argument("--only", help=f"of {','.join(part.name for part in PARTS)}")
    parser.add_argument("--quick", action="store_true", help="tiny inputs, to see that every part works")
    parser.add_argument("--out", type=Path, default=PAGE, help="the page to write into")
    options = parser.parse_args()
    names = [part.name for part in PARTS]
    wanted = options.only.split(",") if options.only else names
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"there is no part {', '.join(unknown)}; there are {', '.join(names)}")
    if options.quick and options.out.resolve().parent == PAGE.parent:
        parser.error(f"what --quick measures is not fit for docs/{options.out.name}; give another --out")
    before = os.getloadavg()[0]
    if before > BUSY and not options.quick:
        print(f"The machine is busy (load {before:.1f}): wait until it is idle, or figures are no good.", flush=True)
    page = options.out.read_text(encoding="utf-8") if options.out.is_file() else "# Benchmarks\n"
    versions = ", ".join(f"{name} {version}" for name, version in list_versions().items())
    about = f"{describe_machine()}; {versions}; {now()}."
    failed = []
    with tempfile.TemporaryDirectory() as scratch:
        for part in PARTS:
            if part.name not in wanted:
                continue
            numbers = Path(scratch) / f"{part.name}.json"
            text = run_part(part, options, numbers)
            if text is None:
                failed.append(part.name)
                continue
            page = replace_part(page, part.name, f"## {part.title}\n{text}\n\n{about}")
            write_text(options.out, page)  # after each part, so that an interrupted hour is not lost
        groups = read_bars(Path(scratch))
    if groups:
        note = f"{describe_machine()}, {now()}. Medians; the thin lines are quartiles."
        drawing = draw_bars("From a JPEG file to its label, images a second", groups, note)
        picture = options.out.with_suffix(".svg")
        write_text(picture, write_svg(drawing))
        page = replace_part(page, "picture", f"![Images a second of every engine]({picture.name})")
        write_text(options.out, page)
    for name in failed:
        print(f"{name} failed; what stood on the page was left there", file=sys.stderr)
    return 1 if failed else 0


def run_part(part: Part, options: argparse.Namespace, numbers: Path) -> str | None:
    """What a script prints, as Markdown, with the load around it and the command; None if it failed."""
    arguments = [*part.same, *(part.quick if options.quick else part.usual)]
    for name in part.given:
        value = getattr(options, name)
        if value is not None:
            arguments += [f"--{name}", value]
    if part.script == "peers.py" and options.peer is None:
        return "Skipped: Keras and scikit-learn are not set up (`make bench` does it)."
    extra = ["--json", str(numbers)] if part.script == "inference.py" else []
    print(f"{part.name} ...", file=sys.stderr, flush=True)
    before, began = os.getloadavg()[0], time.monotonic()
    done = subprocess.run(
        [sys.executable, str(HERE / part.script), *arguments, *extra], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        print(done.stderr.strip(), file=sys.stderr)
        return None
    text = done.stdout.strip()
    if "|---" not in text and not text.startswith("Skipped"):
        text = f"```\n{text}\n```"
    command = " ".join(["python", f"bench/{part.script}", *arguments])
    took = time.monotonic() - began
    return f"{text}\n\n`{command}`, {took:.0f} s, load {before:.1f} before and {os.getloadavg()[0]:.1f} after."


def replace_part(page: str, name: str, text: str) -> str:
    """The page with what stands between the markers of `name` replaced, or put at the end with new markers."""
    first, last = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    block = f"{first}\n{text}\n{last}"
    before, found, rest = page.partition(first)
    if not found:
        return f"{page.rstrip()}\n\n{block}\n"
    _, closed, after = rest.partition(last)
    if not closed:
        raise SystemExit(f"the page has {first} but no {last} after it; put it where the part ends")
    return f"{before}{block}{after}"


def read_bars(folder: Path) -> list[tuple[str, Sequence[Bar]]]:
    """What the picture shows, from the numbers that `inference.py` has left."""
    groups: list[tuple[str, Sequence[Bar]]] = []
    for name, title in (("inference-resnet50", "ResNet-50, 224 pixels"), ("inference-vgg16", "VGG-16, 224 pixels")):
        path = folder / f"{name}.json"
        if not path.is_file():
            continue
        found = json.loads(path.read_text(encoding="utf-8"))
        bars = [Bar(name="Pillow and torch, plain", **spread) for spread in found["others"].values()]
        bars += [Bar(name=one["engine"], times=one["times"], **one["from_files"]) for one in found["engines"]]
        groups.append((title, bars))
    return groups


if __name__ == "__main__":
    sys.exit(main())

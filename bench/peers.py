#!/usr/bin/env python3
"""The same work with Keras and scikit-learn, in an environment of their own (`make bench` sets it up).

    python bench/peers.py inference --peer .bench-venv/bin/python [--models resnet50,vgg16] [--count 16] [--rounds 5]
    python bench/peers.py training --peer .bench-venv/bin/python [--side 224] [--rounds 5]

inference: from a JPEG file to its label as in Keras' guides (load_img, preprocess_input, predict), and the network
alone. training: `train_on_batch` of ResNet-50, 16 images; and the linear head of 2,000 embeddings of 2,048 numbers, for
as many strengths as Eyebright tries, with scikit-learn's LogisticRegression and with Eyebright's. Weights are random.

Measured right after Eyebright's own ways and not in turns with them, since the two don't share a process.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

BATCH, CLASSES = 16, 6
BUILDERS = {"resnet50": "ResNet50", "vgg16": "VGG16"}
STRENGTHS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("what", choices=("inference", "training"))
    parser.add_argument("--peer", required=True, help="a Python that has keras and scikit-learn")
    parser.add_argument("--models", default="resnet50,vgg16")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # given where the peer's Python runs this file
    options = parser.parse_args()
    if options.folder is not None:
        (infer if options.what == "inference" else train)(options)
        return
    with tempfile.TemporaryDirectory() as scratch:
        prepare(Path(scratch), options)
        arguments = [*sys.argv[1:], "--folder", scratch]
        # Keras and TensorFlow say much on standard error; it is shown where something fails.
        done = subprocess.run(
            [options.peer, "-P", __file__, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        if done.returncode != 0:
            sys.exit(done.stderr.strip() or "the peer failed without a word")
        print("| way | median (quartiles) |\n|---|---|")
        if options.what == "training":
            print_our_head(Path(scratch), options.rounds)
        print(done.stdout.strip())


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """What both sides work on: pictures, or embeddings that a linear head can tell apart in most cases."""
    if options.what == "inference":
        from eyebright.speed.pictures import encode_jpeg, generate_picture

        for number in range(options.count):
            (folder / f"{number:04}.jpg").write_bytes(encode_jpeg(generate_picture(number)))
        return
    chance = np.random.default_rng(0)
    labels = chance.integers(0, CLASSES, 2000 if options.side == 224 else 200)
    means = chance.normal(size=(CLASSES, 2048))
    embeddings = (0.1 * means[labels] + chance.normal(size=(len(labels), 2048))).astype(np.float32)
    np.savez(folder / "embeddings.npz", embeddings=embeddings, labels=labels)


def print_our_head(folder: Path, rounds: int) -> None:
    from eyebright.embedding.linear import fit_linear_head

    x, y, val, val_y = read_embeddings(folder)
    found: list[float] = []

    def run() -> None:
        head = fit_linear_head(x, y, val, val_y, CLASSES, strengths=STRENGTHS)
        found.append(float(((val @ head.weight.T + head.bias).argmax(axis=1) == val_y).mean()))

    seconds = measure(run, rounds)
    print_row(f"a head, Eyebright ({100 * found[-1]:.1f} % right)", seconds, "s")


def read_embeddings(folder: Path) -> tuple[Any, Any, Any, Any]:
    """Embeddings and labels to learn from (four fifths), and to choose the strength on."""
    with np.load(folder / "embeddings.npz") as stored:
        x, y = stored["embeddings"], stored["labels"]
    rows = len(y) * 4 // 5
    return x[:rows], y[:rows], x[rows:], y[rows:]


def measure(run: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of each round after one to warm up."""
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return taken[1:]


def print_row(name: str, values: list[float], unit: str) -> None:
    low, median, high = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    print(f"| {name} | {median:.3g} {unit} ({low:.3g} to {high:.3g}) |", flush=True)


def infer(options: argparse.Namespace) -> None:
    """In the peer's Python: rows of images a second with Keras."""
    import keras

    applications: Any = keras.applications
    paths = sorted(options.folder.glob("*.jpg"))
    for name in options.models.split(","):
        room: Any = getattr(applications, name)
        model = getattr(room, BUILDERS[name])(weights=None)

        def read(path: Path, room: Any = room) -> Any:
            return room.preprocess_input(
                keras.utils.img_to_array(keras.utils.load_img(path, target_size=(224, 224), interpolation="bilinear"))
            )

        def from_files(model: Any = model, read: Callable[[Path], Any] = read) -> None:
            for start in range(0, len(paths), BATCH):
                batch = np.stack([read(path) for path in paths[start : start + BATCH]])
                model.predict(batch, verbose=0).argmax(axis=1)

        pixels = np.stack([read(path) for path in paths])
        ways: dict[str, Callable[[], object]] = {
            "from files": from_files,
            "network alone": partial(model.predict, pixels, batch_size=BATCH, verbose=0),
        }
        for way, run in ways.items():
            rates = [len(paths) / seconds for seconds in measure(run, options.rounds)]
            print_row(f"Keras {keras.__version__}, {name}, {way}", rates, "images/s")


def train(options: argparse.Namespace) -> None:
    """In the peer's Python: rows of a training step with Keras, and of a head with scikit-learn."""
    import sklearn
    from sklearn.linear_model import LogisticRegression

    x, y, val, val_y = read_embeddings(options.folder)
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-6
    found: list[float] = []

    def fit() -> None:
        best = 0.0
        for strength in STRENGTHS:
            head = LogisticRegression(C=1 / (strength * len(y)), max_iter=1000).fit((x - mean) / spread, y)
            best = max(best, float(head.score((val - mean) / spread, val_y)))
        found.append(best)

    seconds = measure(fit, options.rounds)
    print_row(f"a head, scikit-learn {sklearn.__version__} ({100 * found[-1]:.1f} % right)", seconds, "s")
    import keras

    count = min(options.count, BATCH)
    model: Any = keras.applications.ResNet50(
        weights=None, classes=CLASSES, input_shape=(options.side, options.side, 3), classifier_activation=None
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.AdamW(1e-5), loss=loss)
    images = np.random.default_rng(0).normal(size=(count, options.side, options.side, 3)).astype(np.float32)
    step = partial(model.train_on_batch, images, np.arange(count) % CLASSES)
    rates = [count / seconds for seconds in measure(step, options.rounds)]
    print_row(f"a training step of ResNet-50, Keras {keras.__version__}, {count} images", rates, "images/s")


if __name__ == "__main__":
    main()

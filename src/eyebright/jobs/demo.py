"""The main job on the images that come along: `compare` on them, then three answers."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from eyebright.data.sources import read_samples
from eyebright.inference.predictor import Prediction
from eyebright.jobs.compare import ComparedRuns, compare
from eyebright.progress import Progress, SilentProgress

EMBEDDED = "fashion-mnist-subset.zip"
EXAMPLES = 3


@dataclass(frozen=True)
class Demo:
    """What the demonstration made."""

    runs: ComparedRuns
    examples: tuple[tuple[str, Prediction], ...]
    """True label and answer of three test images; empty if it was interrupted."""


def embedded_images() -> Path:
    """The zip of images inside the package: 10 classes of clothing, 28 x 28 grey."""
    return Path(str(resources.files("eyebright.data").joinpath("embedded", EMBEDDED)))


def demo(
    *,
    out: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Demo:
    """Compare the three networks on the embedded images, and let the best classify three of the test images.

    Raises:
        EyebrightError: see `eyebright.errors`.
    """
    progress = progress or SilentProgress()
    path = embedded_images()
    compared = compare(path, out=out, seed=seed, command=command, progress=progress)
    if compared.comparison is None or compared.interrupted:
        return Demo(compared, ())
    test = read_samples(path).split("test")
    test = test.take(np.linspace(0, len(test) - 1, num=EXAMPLES).astype(np.int64))
    answers = compared.predictor().predict_files(test.store, test.names)
    examples = [
        (test.classes[label], replace(answer, name=name))  # the long way to the zip says nothing here
        for label, name, answer in zip(test.labels, test.names, answers, strict=True)
    ]
    return Demo(compared, tuple(examples))

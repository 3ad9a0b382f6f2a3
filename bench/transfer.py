"""What a pretrained network saves, measured small: the same linear head on raw pixels and on a network's embeddings.

    python bench/transfer.py --photos ../shared/data/trashnet --out src/eyebright/lessons/transfer.json

The embeddings are those of the starter ResNet-50, which has seen ImageNet and none of these images: the embedded images
at 48 pixels, the photos at 128. Raw pixels are those of the image itself (28 x 28 grey), or of a photo shrunk to
32 x 32.
From each class a few images are drawn; every fifth of them (one at least) chooses how strongly the head is held back.
Shapes: N images, R side of a square, D numbers an image, K classes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from eyebright.data.cache import iter_squares
from eyebright.data.samples import SampleTable
from eyebright.data.sources import read_samples
from eyebright.embedding.embed import embed
from eyebright.embedding.linear import fit_linear_head
from eyebright.jobs.demo import embedded_images
from eyebright.models.weights import load_pretrained
from eyebright.preprocess import Preprocessing

_PHOTO_SIDE, _SMALL_SIDE, _RAW_SIDE = 128, 48, 32
_TEST_PHOTOS = 400


@dataclass(frozen=True, kw_only=True)
class Task:
    """Images as numbers in two ways, and which are to test on."""

    title: str
    side: int
    """Of an image in pixels, as the network sees it."""
    values: Mapping[str, NDArray[np.float32]]
    """ "pixels" and "embeddings", (N, D) each."""
    labels: NDArray[np.int64]
    is_test: NDArray[np.bool_]
    counts: tuple[int, ...]
    """How many images of each class to learn from."""


def seen_at(side: int) -> Preprocessing:
    return replace(load_pretrained("resnet50", "starter", num_classes=10).preprocessing, image_size=side, resize=side)


def read_squares(table: SampleTable, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """(N, R, R, C) in the order of the table."""
    return np.concatenate([found for found, _ in iter_squares(table.store, table.names, preprocessing)])


def look(squares: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(N, R, R, 3) -> embeddings (N, D) of the starter ResNet-50."""
    loaded = load_pretrained("resnet50", "starter", num_classes=10)
    return embed(loaded.model, squares, np.arange(len(squares)), preprocessing)


def embedded_task() -> Task:
    """The images that come along, split as they come."""
    table = read_samples(embedded_images())
    grey = Preprocessing(image_size=28, resize=28, mean=(0.0,), std=(1.0,))
    images, seen = read_squares(table, grey), seen_at(_SMALL_SIDE)
    return Task(
        title="Fashion-MNIST, 28 x 28, grey",
        side=_SMALL_SIDE,
        values={
            "pixels": images.reshape(len(images), -1).astype(np.float32) / np.float32(255),
            "embeddings": look(read_squares(table, seen), seen),
        },
        labels=table.labels,
        is_test=np.isin(np.arange(len(table)), table.rows("test")),
        counts=(5, 20, 80),
    )


def photo_task(folder: Path) -> Task:
    """A folder of class folders, of which 400 images drawn by seed 0 are to test on."""
    table = read_samples(folder)
    preprocessing = seen_at(_PHOTO_SIDE)
    squares = read_squares(table, preprocessing)
    small = [
        np.asarray(Image.fromarray(square).resize((_RAW_SIDE, _RAW_SIDE), Image.Resampling.BOX)) for square in squares
    ]
    is_test = np.zeros(len(squares), dtype=np.bool_)
    is_test[np.random.default_rng(0).permutation(len(squares))[:_TEST_PHOTOS]] = True
    return Task(
        title="TrashNet, photos",
        side=_PHOTO_SIDE,
        values={
            "pixels": np.stack(small).reshape(len(squares), -1).astype(np.float32) / np.float32(255),
            "embeddings": look(squares, preprocessing),
        },
        labels=table.labels,
        is_test=is_test,
        counts=(5, 20, 80),
    )


def accuracy(values: NDArray[np.float32], task: Task, chosen: NDArray[np.int64]) -> float:
    """On the test images, of a linear head fitted on the chosen ones, every fifth of which chooses its strength."""
    num_classes = int(task.labels.max()) + 1
    labels = task.labels[chosen]
    place = np.concatenate([np.arange((labels == label).sum()) for label in range(num_classes)])
    judge, learn = chosen[place % 5 == 0], chosen[place % 5 != 0]
    head = fit_linear_head(values[learn], task.labels[learn], values[judge], task.labels[judge], num_classes)
    logits = values[task.is_test] @ head.weight.T + head.bias
    return float((logits.argmax(axis=1) == task.labels[task.is_test]).mean())


def measure(task: Task, draws: int) -> dict[str, object]:
    rows = []
    for count in task.counts:
        reached: dict[str, list[float]] = {kind: [] for kind in task.values}
        for draw in range(draws):
            generator = np.random.default_rng(draw)
            of_class = [np.flatnonzero((task.labels == k) & ~task.is_test) for k in range(int(task.labels.max()) + 1)]
            chosen = np.concatenate([generator.permutation(found)[:count] for found in of_class])
            for kind, values in task.values.items():
                reached[kind].append(round(accuracy(values, task, chosen), 4))
        rows.append({"per_class": count, **reached})
        print(task.title, rows[-1], flush=True)
    return {"title": task.title, "side": task.side, "test_images": int(task.is_test.sum()), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.process_time()
    tasks = [measure(task, given.draws) for task in (embedded_task(), photo_task(given.photos))]
    print(f"{time.process_time() - begin:.0f} s of processor time")
    if given.out is not None:
        found = {
            "command": f"python bench/transfer.py --photos {given.photos} --draws {given.draws}",
            "torch": torch.__version__.partition("+")[0],
            "tasks": tasks,
        }
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""How well wrong labels are found, and what decisions about them are worth; the figures in docs/log.md.

    python scripts/measure_decisions.py ../shared/data/trashnet --seeds 5

For each seed 5 % of the labels are changed. First in all of the data: precision and recall of the search. Then in train
and val only, with 20 test images also copied into train: the accuracy of what `eyebright train --effort quick` fits
(ResNet-50's embeddings at 128 pixels, a linear head) on the other test images, whose labels are untouched.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyebright.checking.wrong_labels import FOLDS, IMAGE_SIZE, deal_folds, judge, suspects
from eyebright.data.cache import read_squares
from eyebright.data.sources import read_samples
from eyebright.data.splits import assign_splits
from eyebright.embedding.embed import embed
from eyebright.embedding.linear import fit_linear_head
from eyebright.models.weights import load_pretrained

SHARE = 0.05
COPIES = 20


def flip(
    labels: NDArray[np.int64], among: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels of which a share of `among` is another class's, and the rows of these."""
    rows = rng.choice(among, round(SHARE * len(among)), replace=False)
    changed = labels.copy()
    num_classes = int(labels.max()) + 1
    changed[rows] = (labels[rows] + rng.integers(1, num_classes, len(rows))) % num_classes
    return changed, rows


def find(embeddings: NDArray[np.float32], labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows whose label is probably wrong, and what each of them looks like."""
    num_classes = int(labels.max()) + 1
    folds = deal_folds(labels, None, count=FOLDS, seed=0)
    probabilities = judge(embeddings, labels, folds, num_classes)
    rows = suspects(probabilities, labels)
    probabilities[np.arange(len(labels)), labels] = -1
    return rows, probabilities[rows].argmax(axis=1)


def show(title: str, values: Sequence[float]) -> None:
    spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    print(
        f"{title}: {100 * np.mean(values):.1f}{spread} %   ({', '.join(f'{100 * v:.1f}' for v in values)})", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    arguments = parser.parse_args()
    table = read_samples(arguments.data)
    truth, count = table.labels, len(table.classes)
    loaded = load_pretrained("resnet50", "starter", num_classes=count, embed_stages=2, offline=True)
    preprocessing = replace(loaded.preprocessing, image_size=IMAGE_SIZE, resize=IMAGE_SIZE, fit="squash")
    squares = read_squares(table, preprocessing)
    embeddings = embed(loaded.model, squares.images, np.arange(len(table)), preprocessing)
    figures: dict[str, list[float]] = {}
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        rng = np.random.default_rng(seed)
        labels, rows = flip(truth, np.arange(len(table)), rng)
        found, likely = find(embeddings, labels)
        hit = np.isin(found, rows)
        figures.setdefault("search: precision", []).append(float(hit.mean()))
        figures.setdefault("search: recall", []).append(float(hit.sum() / len(rows)))
        figures.setdefault("search: right label proposed", []).append(float((likely == truth[found])[hit].mean()))

        split = assign_splits(table, seed=seed, val_fraction=0.1, test_fraction=0.2, digests=squares.digests)
        train, val, test = (split.rows(name) for name in ("train", "val", "test"))
        labels, rows = flip(truth, np.concatenate([train, val]), rng)
        copied = rng.choice(test, COPIES, replace=False)
        measured = np.setdiff1d(test, copied)
        found, likely = find(embeddings, labels)
        inside = ~np.isin(found, test)
        found, likely = found[inside], likely[inside]
        flipped = np.isin(found, rows)
        accepted, looked_at = labels.copy(), labels.copy()
        accepted[found] = likely
        looked_at[found[flipped]] = truth[found[flipped]]
        for words, given, learned in (
            ("as it is, with the copies", labels, np.concatenate([train, copied])),
            ("every finding accepted unseen", accepted, train),
            ("only true findings accepted", looked_at, train),
            ("never a wrong label", truth, train),
        ):
            head = fit_linear_head(embeddings[learned], given[learned], embeddings[val], given[val], count)
            for what, where in (("other test images", measured), ("copied test images", copied)):
                right = (embeddings[where] @ head.weight.T + head.bias).argmax(axis=1) == truth[where]
                figures.setdefault(f"{words}: accuracy on the {what}", []).append(float(right.mean()))
    for title, values in figures.items():
        show(title, values)


if __name__ == "__main__":
    main()

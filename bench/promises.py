"""Do intervals, prediction sets, thresholds and novelty keep what they promise? On real embeddings of a trained run.

    python bench/promises.py --run runs/trashnet-resnet50 --data trashnet/ --other imagenet-val-250/
        [--keep FILE.safetensors]

The run's own validation and test images first: calibration error before and after, and how well images of another kind
are told apart by novelty, energy and confidence. Then 200 random splits: a head is fitted on 600 embeddings, and the
rest stands for all the images there are. From these, validation and test sets are drawn with replacement, so that what
is true is known, and it is counted how often intervals hold it and sets hold the label.

Needs scikit-learn, for heads and AUROC.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from eyebright import metrics
from eyebright.bundle.store import load_bundle
from eyebright.calibration.calibrate import calibrate
from eyebright.calibration.calibration import Promises
from eyebright.calibration.conformal import METHODS
from eyebright.calibration.novelty import choose_references
from eyebright.calibration.temperature import log_softmax
from eyebright.data.cache import iter_squares
from eyebright.data.samples import ImageStore
from eyebright.data.sources import read_samples, read_unlabelled
from eyebright.evaluation.measures import measure
from eyebright.inference.torch_engine import TorchEngine
from eyebright.models.protocol import Network

SPLITS = 200
TO_FIT, TO_CALIBRATE, TO_TEST = 600, 300, 400
WIDTH = 96  # embeddings are projected, so that 200 heads are fitted in a minute or two

Arrays = dict[str, NDArray[np.float32]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--other", type=Path, required=True, help="images of another kind")
    parser.add_argument("--keep", type=Path, help="where embeddings are kept between calls")
    parser.add_argument("--splits", type=int, default=SPLITS)
    given = parser.parse_args()
    if given.keep is not None and given.keep.exists():
        arrays = load_file(given.keep)
    else:
        arrays = embed_all(given.run, given.data, given.other)
        if given.keep is not None:
            save_file(arrays, given.keep)
    print_run(arrays)
    print_splits(arrays, given.splits)


def embed_all(run: Path, data: Path, other: Path) -> Arrays:
    """Embeddings and labels of the run's three splits, embeddings of the other images, and the head."""
    loaded = load_bundle(run / "bundle")
    manifest = loaded.manifest
    engine = TorchEngine(loaded.model, manifest.preprocessing)
    with (run / "samples.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found: Arrays = {}

    def look(store: ImageStore, names: tuple[str, ...]) -> NDArray[np.float32]:
        parts = []
        for squares, _ in iter_squares(store, names, manifest.preprocessing):
            parts.append(engine.run_and_embed(np.moveaxis(manifest.preprocessing.crop(squares), 3, 1))[1])
        return np.concatenate(parts)

    table = read_samples(data)
    for split in ("train", "val", "test"):
        inside = [row for row in rows if row["split"] == split]
        found[split] = look(table.store, tuple(row["path"] for row in inside))
        found[f"{split}_y"] = np.array([manifest.class_names.index(row["label"]) for row in inside], dtype=np.float32)
    found["ood"] = look(*read_unlabelled([other]))
    assert isinstance(loaded.model, Network)
    head = loaded.model.head
    found["w"], found["b"] = (part.detach().numpy() for part in (head.weight, head.bias))
    return found


def print_run(arrays: Arrays) -> None:
    """What the run's own validation images make of its test images and of others."""
    logits = {split: arrays[split] @ arrays["w"].T + arrays["b"] for split in ("val", "test", "ood")}
    val, test = arrays["val_y"].astype(np.int64), arrays["test_y"].astype(np.int64)
    references = arrays["train"][choose_references(len(arrays["train"]), 0)]
    found = calibrate(logits["val"], val, embeddings=arrays["val"], references=references)
    print(f"calibrated on {len(val)}: temperature {found.temperature:.3f}, {found.abstention}")
    for temperature in (1.0, found.temperature):
        p = softmax(logits["test"], temperature)
        error, loss = metrics.expected_calibration_error(p, test), metrics.log_loss(p, test)
        print(f"temperature {temperature:.3f}: calibration error {error:.4f}, log loss {loss:.4f}")
    sure = p.max(axis=1) >= found.abstention.threshold
    wrong = int((p[sure].argmax(axis=1) != test[sure]).sum())
    print(f"sure: {sure.sum()} of {len(test)}, {wrong} of them wrong")
    both = {split: found.measure_novelty(arrays[split]) for split in ("test", "ood")}
    energy = {split: -np.log(np.exp(logits[split].astype(np.float64)).sum(axis=1)) for split in ("test", "ood")}
    doubt = {split: -softmax(logits[split], 1.0).max(axis=1) for split in ("test", "ood")}
    for name, scores in (("novelty", both), ("energy", energy), ("highest probability", doubt)):
        normal, other = np.asarray(scores["test"]), np.asarray(scores["ood"])
        area = roc_auc_score(np.r_[np.zeros(len(normal)), np.ones(len(other))], np.r_[normal, other])
        print(f"AUROC by {name}: {area:.4f}")
    for split, novelty in both.items():
        print(f"called unlike, {split}: {(np.asarray(novelty) > found.novelty_threshold).mean():.3f}")


def print_splits(arrays: Arrays, splits: int) -> None:
    """How often intervals hold what is true, and sets the label."""
    x = np.concatenate([arrays[split] for split in ("train", "val", "test")])
    y = np.concatenate([arrays[f"{split}_y"] for split in ("train", "val", "test")]).astype(np.int64)
    x = PCA(WIDTH, random_state=0).fit_transform(x).astype(np.float32)
    x /= x.std()
    classes = int(y.max()) + 1
    names = [str(k) for k in range(classes)]
    held: dict[str, int] = {}
    covered: dict[tuple[str, float], list[float]] = {(m, c): [] for m in METHODS for c in (0.8, 0.9, 0.95)}
    certain = broken = 0
    answered: list[float] = []
    for seed in range(splits):
        rng = np.random.default_rng([seed, 7])
        order = rng.permutation(len(y))
        fit, rest = order[:TO_FIT], order[TO_FIT:]
        head = LogisticRegression(C=0.1, max_iter=200).fit(x[fit], y[fit])
        logits = head.decision_function(x[rest])
        val, test = (rng.integers(0, len(rest), size) for size in (TO_CALIBRATE, TO_TEST))
        found = calibrate(logits[val], y[rest[val]])
        p = softmax(logits, found.temperature)
        truth, drawn = measure(p, y[rest], names), measure(p[test], y[rest[test]], names)
        pool_right = p.argmax(axis=1) == y[rest]
        interval = metrics.wilson_interval(int(pool_right[test].sum()), TO_TEST)
        held["accuracy (Wilson)"] = held.get("accuracy (Wilson)", 0) + (
            interval.low <= pool_right.mean() <= interval.high
        )
        for name, one in drawn.overall.items():
            assert one.low is not None
            assert one.high is not None
            held[name] = held.get(name, 0) + (one.low <= truth.overall[name].value <= one.high)
        for method, coverage in covered:
            sets = found.promising(Promises(coverage=coverage)).sets(p[test], method)
            covered[method, coverage].append(float(sets[np.arange(TO_TEST), y[rest[test]]].mean()))
        sure = p.max(axis=1) >= found.abstention.threshold
        if found.abstention.certain and sure.any():
            certain += 1
            answered.append(float(sure.mean()))
            broken += (1 - pool_right[sure].mean()) > found.promises.error_rate
    print(f"{splits} splits: how often the 95 % interval holds the true value")
    for name, count in held.items():
        print(f"  {name}: {100 * count / splits:.1f} %")
    for (method, coverage), shares in covered.items():
        error = np.std(shares, ddof=1) / np.sqrt(splits)
        print(f"  {method} at {coverage}: {np.mean(shares):.4f}, standard error {error:.4f}")
    share = np.mean(answered) if answered else 0.0
    print(f"  threshold for 5 % errors: certain in {certain}, broken in {broken} of these; answers {100 * share:.1f} %")


def softmax(logits: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    return np.exp(log_softmax(np.asarray(logits, dtype=np.float64) / temperature))


if __name__ == "__main__":
    main()

"""A classifier without a network: outlines and colours (`embedding.descriptors`) into a regularised linear model.

It sees the same training and validation samples as the networks and is calibrated like them; only what it looks at is
not learned.

Shapes: N samples, D width of the description, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eyebright.calibration.calibrate import calibrate
from eyebright.calibration.calibration import Calibration
from eyebright.calibration.novelty import choose_references
from eyebright.data.cache import read_squares
from eyebright.data.disk_cache import FOLDER, SquareCache
from eyebright.data.samples import SampleTable
from eyebright.embedding.descriptors import describe_squares
from eyebright.embedding.linear import LinearHead, fit_linear_head
from eyebright.models.download import cache_folder
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress
from eyebright.training.settings import Settings
from eyebright.training.start import usable_rows

SIDE = 64
"""Pixels on the side of the square that is described: enough for outlines, and quick."""
MOST_SAMPLES = 20_000
"""How many training samples it learns from at the most, so that its descriptions need no more than about 160 MB. Every
class keeps its share, and at least `FEWEST_OF_CLASS`. As many validation samples choose its strength."""
FEWEST_OF_CLASS = 20
"""So many of a class are kept where it has them: one or two could all turn out to be unreadable."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The classifier as it was fitted."""

    head: LinearHead
    preprocessing: Preprocessing
    calibration: Calibration
    num_train: int
    """How many training samples it learned from."""
    seconds: float
    """From the first image read to the last number."""


def fit_baseline(
    table: SampleTable, settings: Settings, *, digests: Sequence[str] | None = None, progress: Progress
) -> Baseline:
    """Describe the training and validation samples, fit the linear model, and calibrate it.

    Args:
        table: with every sample in a split and one class each.
        settings: the seed, threads, and whether decoded images are kept.
        digests: (N,) sha256 of each sample's content, if known.
        progress: told how far it is.

    Raises:
        DataError: no readable training image of a class is left, or no readable validation image.
        KeyboardInterrupt: a stop was requested.
    """
    began = time.monotonic()
    train, val = table.rows("train"), table.rows("val")
    train, val = (_choose(part, table.labels[part], settings.seed) for part in (train, val))
    rows = np.concatenate([train, val])
    seen = table.take(rows)
    fit: Literal["crop", "squash"] = "crop" if settings.data.fit == "crop" else "squash"
    preprocessing = Preprocessing(image_size=SIDE, resize=SIDE, fit=fit)
    squares = read_squares(
        seen,
        preprocessing,
        progress=progress,
        threads=settings.training.threads or None,
        digests=None if digests is None else [digests[row] for row in rows.tolist()],
        cache=SquareCache(cache_folder() / FOLDER) if settings.data.cache else None,
    )
    train_rows, val_rows = usable_rows(seen, squares)
    described = [_describe(squares.images, part, progress) for part in (train_rows, val_rows)]
    labels = [seen.labels[part] for part in (train_rows, val_rows)]
    head = fit_linear_head(described[0], labels[0], described[1], labels[1], len(table.classes), progress=progress)
    if progress.stop_requested:
        raise KeyboardInterrupt
    return Baseline(
        head=head,
        preprocessing=preprocessing,
        calibration=calibrate(
            described[1] @ head.weight.T + head.bias,
            labels[1],
            embeddings=described[1],
            references=described[0][choose_references(len(train_rows), settings.seed)],
        ),
        num_train=len(train_rows),
        seconds=time.monotonic() - began,
    )


def _choose(rows: NDArray[np.int64], labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most about `MOST_SAMPLES`, the same share of every class, but no class down to a few; in the table's order."""
    if len(rows) <= MOST_SAMPLES:
        return rows
    shuffled = np.random.default_rng(seed).permutation(len(rows))
    kept: list[int] = []
    for label in np.unique(labels).tolist():
        of_class = shuffled[labels[shuffled] == label]
        kept += of_class[: max(FEWEST_OF_CLASS, -(-len(of_class) * MOST_SAMPLES // len(rows)))].tolist()
    return rows[np.sort(np.array(kept, dtype=np.int64))]


def _describe(squares: NDArray[np.uint8], rows: NDArray[np.int64], progress: Progress) -> NDArray[np.float32]:
    """(N, S, S, 3) and M rows of them -> (M, D), stopping between batches where that is asked for."""
    parts = []
    for start in range(0, len(rows), 512):
        if progress.stop_requested:
            raise KeyboardInterrupt
        parts.append(describe_squares(squares[rows[start : start + 512]]))
    return np.concatenate(parts)

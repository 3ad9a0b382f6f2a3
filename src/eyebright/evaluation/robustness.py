"""How a classifier bears what happens to images, and what it gains by looking at several views of each.

Shapes: N images, R side of a square, C channels, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.data.cache import iter_squares
from eyebright.data.samples import SampleTable
from eyebright.errors import DataError
from eyebright.evaluation.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from eyebright.evaluation.plain import to_plain
from eyebright.evaluation.report import percent
from eyebright.metrics import log_loss, mcnemar_exact, wilson_interval
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress

MOST_IMAGES = 500
"""Each is classified 86 times; of a larger table so many are drawn."""
BATCH_SIZE = 32
SHIFT = 1 / 16
"""How far views are moved, as a share of the side."""

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""(N, R, R, C) squares -> probabilities (N, K)."""


@dataclass(frozen=True, kw_only=True)
class LabelledSquares:
    """Images as a classifier's preprocessing makes them, readable ones only."""

    squares: NDArray[np.uint8]
    """(N, R, R, C)"""
    labels: NDArray[np.int64]
    """(N,)"""
    drawn_from: int
    """How many images there were."""
    unreadable: int


@dataclass(frozen=True, kw_only=True)
class CorruptionResult:
    """What one kind of corruption does."""

    name: str
    group: str
    accuracies: tuple[float, ...]
    """By severity, from 1 to 5."""
    confidences: tuple[float, ...]
    """The mean confidence, by severity: one that stays high while accuracy falls is not to be trusted."""


@dataclass(frozen=True, kw_only=True)
class RobustnessReport:
    """Accuracy on the same images, untouched and corrupted."""

    num_samples: int
    drawn_from: int
    """Of how many images these were drawn."""
    unreadable: int
    """Left out."""
    seed: int
    accuracy: float
    """On the images as they are."""
    accuracy_low: float
    accuracy_high: float
    confidence: float
    """The mean, on the images as they are."""
    mean_corrupted_accuracy: float
    """Over all kinds and severities."""
    results: tuple[CorruptionResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    def __str__(self) -> str:
        worst = min(self.results, key=lambda result: result.accuracies[-1])
        drawn = f", drawn from {self.drawn_from:,}" if self.num_samples < self.drawn_from - self.unreadable else ""
        return (
            f"accuracy {percent(self.accuracy)} on {self.num_samples:,} images as they are{drawn}, "
            f"{percent(self.mean_corrupted_accuracy)} on average over {len(self.results)} corruptions at 5 severities; "
            f"worst at the highest: {worst.name}, {percent(worst.accuracies[-1])}"
        )


@dataclass(frozen=True, kw_only=True)
class ViewsResult:
    """What a number of views of each image gives."""

    views: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    log_loss: float
    gained: int
    """Images that one view gets wrong and these get right."""
    lost: int
    p_value: float
    """McNemar's exact test against one view."""
    cost: float
    """How many times the time of one view."""


def read_labelled(
    table: SampleTable, preprocessing: Preprocessing, *, most: int, seed: int, progress: Progress
) -> LabelledSquares:
    """Up to so many images of a table, drawn at random but the same for the same seed.

    Raises:
        DataError: none can be read.
        KeyboardInterrupt: a stop was requested.
    """
    rows = np.arange(len(table))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
    names = tuple(table.names[row] for row in rows)
    progress.start("reading images", len(names))
    parts, kept = [], []
    start = 0
    for squares, errors in iter_squares(table.store, names, preprocessing, batch_size=BATCH_SIZE):
        if progress.stop_requested:
            raise KeyboardInterrupt
        fine = [position for position in range(len(squares)) if position not in errors]
        parts.append(squares[fine])
        kept += [start + position for position in fine]
        start += len(squares)
        progress.advance(start)
    progress.finish()
    if not kept:
        raise DataError("none of the images can be read, so nothing can be measured")
    return LabelledSquares(
        squares=np.concatenate(parts),
        labels=table.labels[rows[kept]],
        drawn_from=len(table),
        unreadable=len(names) - len(kept),
    )


def evaluate_corruptions(
    answer: Answer,
    images: LabelledSquares,
    *,
    seed: int = 0,
    corruptions: Sequence[Corruption] = CORRUPTIONS,
    progress: Progress,
) -> RobustnessReport:
    """Classify the same images untouched and at every severity of every corruption.

    Raises:
        KeyboardInterrupt: a stop was requested.
    """
    count = len(images.labels)
    progress.start("corrupting and classifying", (1 + len(corruptions) * len(SEVERITIES)) * count)
    done = 0

    def measure(change: Callable[[int], NDArray[np.uint8]]) -> tuple[int, float]:
        nonlocal done
        right, sure = 0, 0.0
        for start in range(0, count, BATCH_SIZE):
            if progress.stop_requested:
                raise KeyboardInterrupt
            batch = np.stack([change(row) for row in range(start, min(start + BATCH_SIZE, count))])
            p = answer(batch)
            right += int((p.argmax(axis=1) == images.labels[start : start + BATCH_SIZE]).sum())
            sure += float(p.max(axis=1).sum(dtype=np.float64))
            done += len(batch)
            progress.advance(done)
        return right, sure / count

    right, confidence = measure(lambda row: images.squares[row])
    interval = wilson_interval(right, count)
    results = []
    for corruption in corruptions:
        found = [measure(partial(_corrupt, corruption, severity, seed, images.squares)) for severity in SEVERITIES]
        results.append(
            CorruptionResult(
                name=corruption.name,
                group=corruption.group,
                accuracies=tuple(hits / count for hits, _ in found),
                confidences=tuple(sure for _, sure in found),
            )
        )
    progress.finish()
    return RobustnessReport(
        num_samples=count,
        drawn_from=images.drawn_from,
        unreadable=images.unreadable,
        seed=seed,
        accuracy=right / count,
        accuracy_low=interval.low,
        accuracy_high=interval.high,
        confidence=confidence,
        mean_corrupted_accuracy=float(np.mean([result.accuracies for result in results])),
        results=tuple(results),
    )


def _corrupt(
    corruption: Corruption, severity: int, seed: int, squares: NDArray[np.uint8], row: int
) -> NDArray[np.uint8]:
    return corruption(squares[row], severity, (seed, row))


def iter_views(squares: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """(N, R, R, C) -> ten of the same: as it is and moved to four corners, each also mirrored; made when asked for.

    The first two are of one place. Edges are repeated where an image was moved away from them.
    """
    yield squares
    yield np.ascontiguousarray(squares[:, :, ::-1])
    side = squares.shape[1]
    step = max(1, round(side * SHIFT))
    padded = np.pad(squares, ((0, 0), (step, step), (step, step), (0, 0)), mode="edge")
    for y in (0, 2 * step):
        for x in (0, 2 * step):
            moved = padded[:, y : y + side, x : x + side]
            yield np.ascontiguousarray(moved)
            yield np.ascontiguousarray(moved[:, :, ::-1])


def evaluate_views(answer: Answer, images: LabelledSquares, *, progress: Progress) -> tuple[ViewsResult, ...]:
    """What two views (with the mirror image) and ten give, beside one: the mean of their probabilities.

    Raises:
        KeyboardInterrupt: a stop was requested.
    """
    count = len(images.labels)
    sizes = (1, 2, 10)
    sums = np.zeros((len(sizes), count, 0))
    seconds = np.zeros(len(sizes))
    progress.start("looking at several views", count)
    for start in range(0, count, BATCH_SIZE):
        if progress.stop_requested:
            raise KeyboardInterrupt
        batch = images.squares[start : start + BATCH_SIZE]
        began = time.perf_counter()
        total: NDArray[np.float64] | None = None
        for number, view in enumerate(iter_views(batch), start=1):
            p = answer(view).astype(np.float64)
            total = p if total is None else total + p
            if number in sizes:
                if sums.shape[2] == 0:
                    sums = np.zeros((len(sizes), count, p.shape[1]))
                sums[sizes.index(number), start : start + len(batch)] = total / number
                seconds[sizes.index(number)] += time.perf_counter() - began
        progress.advance(start + len(batch))
    progress.finish()
    right = sums.argmax(axis=2) == images.labels
    return tuple(
        _describe(sums[i], right[i], right[0], images.labels, views, seconds[i] / seconds[0])
        for i, views in enumerate(sizes)
    )


def _describe(
    p: NDArray[np.float64],
    right: NDArray[np.bool_],
    single: NDArray[np.bool_],
    labels: NDArray[np.int64],
    views: int,
    cost: float,
) -> ViewsResult:
    interval = wilson_interval(int(right.sum()), len(right))
    gained, lost = int((right & ~single).sum()), int((single & ~right).sum())
    return ViewsResult(
        views=views,
        accuracy=float(right.mean()),
        accuracy_low=interval.low,
        accuracy_high=interval.high,
        log_loss=log_loss(p, labels),
        gained=gained,
        lost=lost,
        p_value=mcnemar_exact(gained, lost),
        cost=float(cost),
    )

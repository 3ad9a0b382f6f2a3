"""Batches for training: which samples come when is a pure function of (seed, epoch).

Shapes: N samples, B samples of one batch, R side of the cached square, C channels, S side that the network sees,
K classes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyebright.data.augment import FLIP, AugmentationSettings, augment, draw_uniform
from eyebright.data.mixing import mix
from eyebright.data.sending import send
from eyebright.memory import is_out_of_memory
from eyebright.preprocess import Preprocessing

_ORDER = 1000  # the purpose under which the order of samples is drawn


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one step learns from."""

    images: Tensor
    """(B, C, S, S) float32"""
    targets: Tensor
    """(B, K) float32: the share of each class; of each on its own where a sample may have several."""
    taught: Tensor | None = None
    """(B, K) float32: what a teacher says, as logits."""

    def __len__(self) -> int:
        return len(self.targets)

    def split(self, sizes: Sequence[int]) -> list[Batch]:
        """In runs of neighbours of these sizes."""
        images, targets = torch.split(self.images, list(sizes)), torch.split(self.targets, list(sizes))
        taught = [None] * len(images) if self.taught is None else torch.split(self.taught, list(sizes))
        return [Batch(images=i, targets=t, taught=h) for i, t, h in zip(images, targets, taught, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Augmented training batches, epoch by epoch."""

    squares: NDArray[np.uint8]
    """(N, R, R, C), as `Preprocessing.square` made them."""
    targets: NDArray[np.float32]
    """(N, K)"""
    rows: NDArray[np.int64]
    """The row numbers to train on."""
    preprocessing: Preprocessing
    augmentation: AugmentationSettings
    batch_size: int
    seed: int
    taught: NDArray[np.float32] | None = None
    """(2, N, K) a teacher's logits for each square and for its mirror image."""
    sides: tuple[int, ...] = ()
    """S of each epoch, the last for all that follow; empty: always that of the preprocessing."""
    chances: NDArray[np.float64] | None = None
    """(len(rows),) how likely each row is drawn, in any unit; None: every row once an epoch."""
    workers: int = 0
    """How many threads prepare batches ahead; 0 prepares each when it is asked for. The batches are the same."""
    device: str = "cpu"
    """Where images are changed, and where batches lie."""
    share: Callable[[int], range] = range
    """How many samples a batch has -> which of them this process takes."""

    @property
    def per_epoch(self) -> int:
        """How many batches an epoch has; they are of almost equal size, none much smaller than the others."""
        return max(1, round(len(self.rows) / self.batch_size))

    def epoch(self, number: int, start: int = 0) -> Iterator[tuple[Batch, int]]:
        """An epoch's batches from the one numbered `start`: this process's share of each, and the size of the whole."""
        draws, rows = self._order(number)
        wholes = np.array_split(np.arange(len(rows)), self.per_epoch)[start:]
        if not self.workers:
            for whole in wholes:
                yield self._batch(number, draws[whole], rows[whole]), len(whole)
            return
        waiting: deque[tuple[Future[Batch | None], NDArray[np.int64]]] = deque()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="augment")
        try:
            for whole in wholes:
                waiting.append((pool.submit(self._try_batch, number, draws[whole], rows[whole]), whole))
                if len(waiting) > self.workers:
                    future, due = waiting.popleft()
                    yield self._wait(future, number, draws[due], rows[due]), len(due)
            for future, due in waiting:
                yield self._wait(future, number, draws[due], rows[due]), len(due)
        finally:
            pool.shutdown(cancel_futures=True)

    def rows_of(self, number: int, batch: int) -> NDArray[np.int64]:
        """The row numbers of a whole batch, such as (epoch 3, its first batch 0)."""
        _, rows = self._order(number)
        return np.array_split(rows, self.per_epoch)[batch]

    def _order(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """An epoch's rows in order, and what their randomness depends on: the row, and how often it came before."""
        if self.chances is None:
            order = self.rows[np.argsort(draw_uniform(self.seed, number, self.rows, _ORDER), kind="stable")]
            return order, order
        # Evenly spaced points on the line of all chances: each row comes as often as it should, give or take one.
        count = len(self.rows)
        ends = np.cumsum(self.chances / self.chances.sum())
        offset = draw_uniform(self.seed, number, np.zeros(1, dtype=np.int64), _ORDER + 1)
        drawn = self.rows[np.searchsorted(ends, (np.arange(count) + offset) / count, side="right").clip(max=count - 1)]
        # The second time in an epoch a row is changed differently: it counts as a sample beyond the table.
        draws = drawn + (np.arange(count) - _first_places(drawn)) * len(self.squares)
        order = np.argsort(draw_uniform(self.seed, number, draws, _ORDER), kind="stable")
        return draws[order], drawn[order]

    def _wait(
        self, future: Future[Batch | None], number: int, draws: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> Batch:
        """What a thread has prepared; prepared once more where it found no room on the GPU beside a backward pass."""
        batch = future.result()
        if batch is not None:
            return batch
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._batch(number, draws, rows)

    def _try_batch(self, number: int, draws: NDArray[np.int64], rows: NDArray[np.int64]) -> Batch | None:
        """A batch; None if memory ran out. The error is not passed on: it would hold on to what was made so far."""
        try:
            return self._batch(number, draws, rows)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        return None

    def _batch(self, number: int, draws: NDArray[np.int64], rows: NDArray[np.int64]) -> Batch:
        """This process's share of one batch."""
        own = self.share(len(rows))
        places = np.arange(own.start, own.stop)
        if len(places) == 0:  # fewer parts than processes
            side = self.preprocessing.image_size
            nothing = self._targets(rows[places])
            return Batch(images=torch.empty(0, self.squares.shape[-1], side, side), targets=nothing)
        if not self.augmentation.mixup and not self.augmentation.cutmix:
            return Batch(
                images=self._augment(number, draws[places], rows[places]),
                targets=self._targets(rows[places]),
                taught=self._taught(number, draws[places], rows[places]),
            )
        partners = len(rows) - 1 - places
        needed, where = np.unique(np.concatenate([places, partners]), return_inverse=True)
        one, two = send(where[: len(places)], self.device), send(where[len(places) :], self.device)
        images = self._augment(number, draws[needed], rows[needed])
        targets = self._targets(rows[needed])
        taught = self._taught(number, draws[needed], rows[needed])
        mixed, kept = mix(images[one], images[two], draws[places], self.augmentation, seed=self.seed, epoch=number)
        return Batch(
            images=mixed,
            targets=torch.lerp(targets[two], targets[one], kept[:, None]),
            taught=None if taught is None else torch.lerp(taught[two], taught[one], kept[:, None]),
        )

    def _augment(self, number: int, draws: NDArray[np.int64], rows: NDArray[np.int64]) -> Tensor:
        side = self.sides[min(number, len(self.sides)) - 1] if self.sides else None
        return augment(
            self.squares[rows],
            draws,
            self.preprocessing,
            self.augmentation,
            seed=self.seed,
            epoch=number,
            side=side,
            device=self.device,
        )

    def _targets(self, rows: NDArray[np.int64]) -> Tensor:
        return send(self.targets[rows], self.device)

    def _taught(self, number: int, draws: NDArray[np.int64], rows: NDArray[np.int64]) -> Tensor | None:
        if self.taught is None:
            return None
        mirrored = np.zeros(len(rows), dtype=np.int64)
        if self.augmentation.flip:
            mirrored = (draw_uniform(self.seed, number, draws, FLIP) < 0.5).astype(np.int64)
        return send(self.taught[mirrored, rows], self.device)


def _first_places(drawn: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each place of runs of equal numbers, the first place of its run."""
    starts = np.flatnonzero(np.r_[True, drawn[1:] != drawn[:-1]])
    return np.repeat(starts, np.diff(np.r_[starts, len(drawn)]))

"""Samples dealt out into k folds, for cross-validation.

N samples, U units (whole groups, or single samples), K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from eyebright.data.samples import SampleTable
from eyebright.data.units import draw_places, gather, join_units
from eyebright.errors import DataError, SettingsError


def assign_folds(
    table: SampleTable,
    k: int,
    *,
    seed: int = 0,
    digests: Sequence[str] | None = None,
    together: Iterable[Sequence[int]] = (),
) -> NDArray[np.int64]:
    """(N,) the fold of each sample in [0, k), for cross-validation; splits are not looked at.

    Each class is spread evenly: without groups its folds differ by one sample at the most. Groups, equal files and
    what `together` joins stay in one fold. The order of the samples and their names (given digests) change nothing.

    Args:
        k: how many folds, at least 2.
        seed, digests, together: as for `assign_splits`.

    Raises:
        SettingsError: k is below 2.
        DataError: there are fewer samples or groups than folds.
    """
    if k < 2:
        raise SettingsError(f"the number of folds is {k}; it must be at least 2")
    rows = np.arange(len(table))
    units = gather(table, rows, join_units(table, digests, together), draw_places(table, rows, seed, digests)[:, 2])
    if len(units.place) < k:
        what = "samples" if len(units.place) == len(table) else "groups of samples that belong together"
        raise DataError(f"{len(units.place):,} {what} can't be divided into {k} folds; ask for fewer folds")
    fold_of = np.full(len(units.place), -1, dtype=np.int64)
    held = np.zeros((len(table.classes), k), dtype=np.int64)  # samples of each class in each fold
    rows_of = np.split(units.rows_by_unit, np.cumsum(units.size)[:-1])
    large = np.flatnonzero(units.size > 1)
    for unit in large[np.lexsort((units.place[large], -units.size[large]))].tolist():
        fold = int(np.lexsort((held.sum(axis=0), held[units.label[unit]]))[0])
        fold_of[unit] = fold
        np.add.at(held, (units.labels[rows_of[unit]], fold), 1)
    alone = np.flatnonzero(units.size == 1)
    alone = alone[np.lexsort((units.place[alone], units.label[alone]))]
    for label, members in zip(*_runs(units.label[alone], alone), strict=True):
        free = _fill(held[label], len(members), held.sum(axis=0))
        fold_of[members] = free
        held[label] += np.bincount(free, minlength=k)
    return fold_of[units.unit_of]


def _fill(held: NDArray[np.int64], count: int, total: NDArray[np.int64]) -> NDArray[np.int64]:
    """(count,) folds that bring `held` (k,) as near to even as can be, in turn; the emptier of `total` first."""
    k = len(held)
    order = np.lexsort((np.arange(k), total, held))
    level = held[order]
    # How many it takes to raise the lowest j folds to the height of the next; those beyond get none.
    needed = np.arange(1, k) * level[1:] - np.cumsum(level[:-1])
    raised = int(np.searchsorted(needed, count, side="left")) + 1
    height, rest = divmod(count + int(level[:raised].sum()), raised)
    gets = height - level[:raised] + (np.arange(raised) < rest)
    turn = np.concatenate([np.arange(n) for n in gets.tolist()])
    folds = np.repeat(order[:raised], gets)
    in_turn: NDArray[np.int64] = folds[np.argsort(turn, kind="stable")]
    return in_turn


def _runs(keys: NDArray[np.int64], values: NDArray[np.int64]) -> tuple[list[int], list[NDArray[np.int64]]]:
    """The values of each run of equal keys, and the keys."""
    if not len(keys):
        return [], []
    starts = np.flatnonzero(np.diff(keys)) + 1
    return keys[np.concatenate(([0], starts))].tolist(), np.split(values, starts)

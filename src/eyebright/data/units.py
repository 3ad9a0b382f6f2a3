"""What is divided as a whole: groups, equal files and near-duplicates, and the numbers that decide where each goes.

N samples, U units (whole groups, or single samples), P samples of the pool that is divided.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyebright.data.samples import SampleTable
from eyebright.data.unions import Unions


@dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """The P samples of a pool as U units that are never divided."""

    unit_of: NDArray[np.int64]
    """(P,) the unit of each sample."""
    labels: NDArray[np.int64]
    """(P,)"""
    place: NDArray[np.float64]
    """(U,) in [0, 1): the lowest number among its samples."""
    size: NDArray[np.int64]
    """(U,) how many samples it has."""
    label: NDArray[np.int64]
    """(U,) the class that most of its samples have."""
    rows_by_unit: NDArray[np.int64]
    """(P,) positions in the pool, unit after unit."""


def gather(
    table: SampleTable, pool: NDArray[np.int64], unit_of: NDArray[np.int64], places: NDArray[np.float64]
) -> Units:
    """Args: pool: (P,) rows. unit_of: (N,) any number for each unit. places: (P,)."""
    _, numbers = np.unique(unit_of[pool], return_inverse=True)
    by_unit = np.argsort(numbers, kind="stable")
    size = np.bincount(numbers)
    starts = np.cumsum(size) - size
    labels = table.labels[pool]
    label = labels[by_unit[starts]]
    for unit in np.flatnonzero(size > 1).tolist():
        label[unit] = np.bincount(labels[by_unit[starts[unit] : starts[unit] + size[unit]]]).argmax()
    return Units(
        unit_of=numbers,
        labels=labels,
        place=np.minimum.reduceat(places[by_unit], starts),
        size=size,
        label=label,
        rows_by_unit=by_unit,
    )


def draw_places(
    table: SampleTable, pool: NDArray[np.int64], seed: int, digests: Sequence[str] | None
) -> NDArray[np.float64]:
    """(P, 3) numbers in [0, 1) for test, val and folds: from the seed and the group's name, else the content."""
    prefix = f"{seed}|".encode()
    hashes = bytearray()
    for row in pool.tolist():
        if table.groups is not None:
            key = table.groups[row].encode("utf-8", "surrogateescape")
        elif digests is not None and digests[row]:
            key = bytes.fromhex(digests[row])
        else:
            key = table.names[row].encode("utf-8", "surrogateescape")
        hashes += hashlib.sha256(prefix + key).digest()[:24]
    numbers = np.frombuffer(bytes(hashes), dtype=">u8").reshape(len(pool), 3)
    return (numbers >> np.uint64(11)).astype(np.float64) / 2.0**53


def join_units(
    table: SampleTable, digests: Sequence[str] | None, together: Iterable[Sequence[int]]
) -> NDArray[np.int64]:
    """(N,) the lowest row of each sample's unit: those of a named group, of equal content, or joined by the caller."""
    unions = Unions(len(table))

    if table.groups is not None:
        _join_equal(table.groups, unions)
    if digests is not None:
        assert len(digests) == len(table)
        _join_equal(digests, unions)
    for rows in together:
        for row in rows[1:]:
            unions.join(int(rows[0]), int(row))
    return np.array([unions.find(row) for row in range(len(table))], dtype=np.int64)


def _join_equal(keys: Sequence[str], unions: Unions) -> None:
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key:
            other = first.setdefault(key, row)
            if other != row:
                unions.join(other, row)

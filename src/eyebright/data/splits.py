"""Which samples are trained on, which choose the best epoch (val), and which are locked away to measure (test).

A sample's place depends on the seed and on its own name, not on the order of the files nor on other classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eyebright.data.folders import counted, listed
from eyebright.data.samples import SPLITS, UNASSIGNED, SampleTable
from eyebright.errors import DataError, SettingsError

_TRAIN, _VAL, _TEST = (SPLITS.index(split) for split in ("train", "val", "test"))


def assign_splits(
    table: SampleTable, *, seed: int = 0, val_fraction: float = 0.2, test_fraction: float = 0.2
) -> SampleTable:
    """The same table with every sample in train, val or test.

    A split that the data brings is kept as it is. Where val or test is absent, it is taken from the rest (samples
    marked train or nothing), class by class: those whose sha256 of seed and name is lowest. Groups stay whole. No
    class loses its last training sample: one image goes to train, two to train and test.

    Args:
        seed: another seed, another draw.
        val_fraction: what val gets of each class's samples that are not in test, above 0 and below 1.
        test_fraction: what test gets of each class's samples.

    Raises:
        SettingsError: a fraction is out of range.
        DataError: a class has nothing to train on, val or test would be empty, or the data's own splits cut a group.
    """
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 < fraction < 1:
            raise SettingsError(f"{name} is {fraction}; it must be above 0 and below 1")
    given = set(table.splits.tolist()) - {UNASSIGNED}
    splits = _follow_groups(table)
    pool = np.flatnonzero((splits == UNASSIGNED) | (splits == _TRAIN))
    splits[pool] = _TRAIN
    if len(pool):
        units = _units(table, pool, seed)
        left = np.bincount(table.labels[pool], minlength=len(table.classes))  # (K,) still in train
        if _TEST not in given:
            spare = 1 if _VAL in given else 2
            _carve(table, splits, units, left, split=_TEST, fraction=test_fraction, spare=spare)
        if _VAL not in given:
            _carve(table, splits, units, left, split=_VAL, fraction=val_fraction, spare=1)
    _check(table, splits)
    return replace(table, splits=splits, notes=(*table.notes, *_notes(table, splits, given)))


def _carve(
    table: SampleTable,
    splits: NDArray[np.int8],
    units: Sequence[Sequence[NDArray[np.int64]]],
    left: NDArray[np.int64],
    *,
    split: int,
    fraction: float,
    spare: int,
) -> None:
    """Move each class's first units out of train until the split has its share; changes `splits` and `left`.

    Args:
        units: for each class its groups or single samples, as rows, in the order of their hashes.
        left: (K,) how many samples of each class are still in train.
        fraction: of the samples that are in train now.
        spare: how many of a class a large fraction leaves for the splits still to be filled.
    """
    for of_class in units:
        remaining = [rows for rows in of_class if splits[rows[0]] == _TRAIN]
        total = sum(len(rows) for rows in remaining)
        quota = max(1, min(int(total * fraction + 0.5), total - spare))
        taken = 0
        for rows in remaining:
            lost = np.bincount(table.labels[rows], minlength=len(left))
            empties_a_class = bool(((lost > 0) & (lost >= left)).any())
            overshoots = taken > 0 and taken + len(rows) / 2 > quota
            if taken >= quota:
                break
            if empties_a_class or overshoots:
                continue
            splits[rows] = split
            left -= lost
            taken += len(rows)


def _units(table: SampleTable, pool: NDArray[np.int64], seed: int) -> list[list[NDArray[np.int64]]]:
    """For each class its units, whole groups or single samples, ordered by hash; a group is its commonest class's."""
    members: dict[str, list[int]] = {}
    for row in pool.tolist():
        members.setdefault(table.names[row] if table.groups is None else table.groups[row], []).append(row)
    units: list[list[NDArray[np.int64]]] = [[] for _ in table.classes]
    for name in sorted(members, key=lambda name: (_rank(seed, name), name)):
        rows = np.array(members[name], dtype=np.int64)
        units[int(np.bincount(table.labels[rows]).argmax())].append(rows)
    return units


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}|{name}".encode("utf-8", "surrogateescape")).digest()


def _follow_groups(table: SampleTable) -> NDArray[np.int8]:
    """(N,) the data's own splits, with samples of none following the val or test samples of their group.

    Raises:
        DataError: a group is in two splits.
    """
    splits = table.splits.copy()
    if table.groups is None:
        return splits
    split_of: dict[str, int] = {}
    for group, split in zip(table.groups, splits.tolist(), strict=True):
        if split != UNASSIGNED and split_of.setdefault(group, split) != split:
            raise DataError(
                f"group {listed([group])} is in {SPLITS[split_of[group]]} and in {SPLITS[split]}; "
                "samples of one group must share a split"
            )
    for row, group in enumerate(table.groups):
        if splits[row] == UNASSIGNED:
            splits[row] = split_of.get(group, UNASSIGNED)
    return splits


def _check(table: SampleTable, splits: NDArray[np.int8]) -> None:
    trained = np.bincount(table.labels[splits == _TRAIN], minlength=len(table.classes))
    without = [name for name, count in zip(table.classes, trained, strict=True) if not count]
    if without:
        raise DataError(
            f"no training image for {counted(len(without), 'class', 'classes')}: {listed(without)}; "
            "add some to train, or take the class out of val and test"
        )
    for split in (_VAL, _TEST):
        if not (splits == split).any():
            raise DataError(
                f"nothing is left for {SPLITS[split]}: {counted(len(table), 'image', 'images')} of "
                f"{len(table.classes)} classes are too few to divide; give at least three images for a class"
                + (", in three groups" if table.groups is not None else "")
            )


def _notes(table: SampleTable, splits: NDArray[np.int8], given: set[int]) -> list[str]:
    notes = []
    counts = table.counts()
    single = [name for name, count in counts.items() if count == 1]
    if single:
        notes.append(
            f"{counted(len(single), 'class has', 'classes have')} a single image, which is trained on and never "
            f"tested: {listed(single)}"
        )
    tested = np.bincount(table.labels[splits == _TEST], minlength=len(table.classes))
    untested = [name for name, count in zip(table.classes, tested, strict=True) if not count and counts[name] > 1]
    if untested:
        notes.append(
            f"{counted(len(untested), 'class has', 'classes have')} no test image, so nothing is measured for it: "
            f"{listed(untested)}"
        )
    if given:
        for split in (_VAL, _TEST):
            if split not in given:
                count = int((splits == split).sum())
                notes.append(f"the data has no {SPLITS[split]} split; {count:,} of its other images were set aside")
    return notes

"""Which samples are trained on, which choose among the epochs (val), and which are locked away to measure (test).

An image's place in test is decided by its content and the seed alone: the sha256 of both, read as a number in [0, 1),
lies below the share that test shall have, or it does not. So the same images stay in test when the folder grows, is
renamed or is read in another order, and equal files always share a split. The price is that a class gets its share on
average and not to the image. Val needs no lock and gets its share of each class exactly, by rank.
N samples, U units (whole groups, or single samples), K classes, P samples of the pool that is divided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eyebright.data.folders import counted, listed
from eyebright.data.samples import SPLITS, UNASSIGNED, SampleTable
from eyebright.data.units import Units, draw_places, gather, join_units
from eyebright.errors import DataError, SettingsError, printable

_TRAIN, _VAL, _TEST = (SPLITS.index(split) for split in ("train", "val", "test"))
_FAR_OFF = 1.5  # times the share asked for, or the share asked for by this: worth a note
_FEW = 30  # images below which any share is far off


def assign_splits(
    table: SampleTable,
    *,
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.2,
    digests: Sequence[str] | None = None,
    together: Iterable[Sequence[int]] = (),
) -> SampleTable:
    """The same table with every sample in train, val or test.

    A split that the data brings is kept as it is. Where val or test is absent, it is taken from the rest (samples
    marked train or nothing). Groups, equal files and what `together` joins stay whole; a group that the data names is
    placed by its name, any other by the lowest number among its contents.

    Where promises collide, the earlier one of these wins:
    1. A class keeps a sample to train on. Of one image it goes to train, of two to train and test, of three to each.
    2. A class of two or more has a sample in test: where no content falls there by itself and leaves enough for 1, the
       lowest stands in.
    3. What is in test stays there as the data grow. This holds for all but stand-ins, which go back to train or val
       when a content of their class falls into test by itself, or a lower one joins.
    4. Test has its share. It is on average: of n images alone, give or take sqrt(n * share * (1 - share)); of groups,
       somewhat more, and groups without a name are tested rather more often than single images.

    Args:
        seed: another seed, another draw.
        val_fraction: what val gets of each class's samples that are not in test, above 0 and below 1.
        test_fraction: what test gets of each class's samples, on average.
        digests: (N,) the sha256 of each sample's content, empty where there is none; see `data.cache.digest_table`.
            Without it, names take the place of contents.
        together: rows that belong together, such as near-duplicates. What the data's own splits have cut stays cut:
            that is a leak to be found by a check, not an error here.

    Raises:
        SettingsError: a fraction is out of range.
        DataError: a class has nothing to train on, val or test would be empty, or the data's own splits cut a group.
    """
    for name, fraction in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 < fraction < 1:
            raise SettingsError(f"{name} is {fraction}; it must be above 0 and below 1")
    whole, table = table, _by_rarest(table)
    given = set(table.splits.tolist()) - {UNASSIGNED}
    splits = _follow_groups(table)
    pool = np.flatnonzero((splits == UNASSIGNED) | (splits == _TRAIN))
    notes: list[str] = []
    if len(pool):
        unit_of = join_units(table, digests, together)
        _follow_units(splits, unit_of)
        pool = np.flatnonzero((splits == UNASSIGNED) | (splits == _TRAIN))
        splits[pool] = _TRAIN
    if len(pool) and not {_VAL, _TEST} <= given:
        places = draw_places(table, pool, seed, digests)
        if _TEST not in given:
            units = gather(table, pool, unit_of, places[:, 0])
            locked = _leave(units, units.place < test_fraction, spare=1 if _VAL in given else 2)
            chosen = _stand_in(units, locked, np.full(len(table.classes), len(pool)))
            splits[pool[chosen[units.unit_of]]] = _TEST
            notes += _test_notes(table, units, locked, chosen, test_fraction)
        if _VAL not in given:
            left = splits[pool] == _TRAIN
            units = gather(table, pool[left], unit_of, places[left, 1])
            wanted, quota = _share(units, val_fraction, len(table.classes))
            chosen = _stand_in(units, _leave(units, wanted, spare=1), quota)
            splits[pool[left][chosen[units.unit_of]]] = _VAL
    _check(whole, splits)
    return replace(whole, splits=splits, notes=(*whole.notes, *notes, *_notes(whole, splits, given)))


def _by_rarest(table: SampleTable) -> SampleTable:
    """Each sample under the rarest of its classes: common classes get their share anyway, and rare ones must."""
    if table.label_sets is None:
        return table
    counts = table.label_sets.sum(axis=0)
    return replace(table, labels=np.where(table.label_sets, counts, len(table) + 1).argmin(axis=1).astype(np.int64))


def _count(table: SampleTable, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(K,) how many of the chosen samples have each class."""
    return np.array(list(table.take(np.flatnonzero(chosen)).counts().values()), dtype=np.int64)


def _leave(units: Units, wanted: NDArray[np.bool_], *, spare: int) -> NDArray[np.bool_]:
    """(U,) the wanted units, without those after which fewer than `spare` units of one of their classes come.

    So every class keeps its last `spare` units, and a unit that may go still may when others join: nothing that is
    added takes away what comes after it.
    """
    count = len(units.place)
    position = np.empty(count, dtype=np.int64)
    position[np.argsort(units.place, kind="stable")] = np.arange(count)
    there = np.unique(units.labels * count + position[units.unit_of])  # once for each class and unit of it
    label, where = np.divmod(there, count)
    after = np.searchsorted(there, (label + 1) * count) - np.arange(len(there)) - 1
    fewest = np.full(count, count, dtype=np.int64)  # by position
    np.minimum.at(fewest, where, after)
    allowed: NDArray[np.bool_] = wanted & (fewest[position] >= spare)
    return allowed


def _share(units: Units, fraction: float, num_classes: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """(U,) the first units of each class until it has its share, at least one sample; and (K,) that share."""
    total = np.bincount(units.label, weights=units.size, minlength=num_classes).astype(np.int64)
    quota = np.maximum(1, np.minimum((total * fraction + 0.5).astype(np.int64), total - 1))
    # A unit larger than the whole share comes last, or it would take the place of all others.
    order = np.lexsort((units.place, units.size > quota[units.label], units.label))
    sizes = units.size[order]
    before = np.cumsum(sizes) - sizes
    before -= (np.cumsum(total) - total)[units.label[order]]
    wanted = np.empty(len(order), dtype=np.bool_)
    wanted[order] = before + sizes / 2 <= quota[units.label[order]]
    return wanted, quota


def _stand_in(units: Units, chosen: NDArray[np.bool_], quota: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(U,) the chosen units, and for every class without any its first that leaves each of its classes a sample.

    Args:
        quota: (K,) units of at most so many samples come first.
    """
    chosen = chosen.copy()
    there = np.bincount(units.labels, minlength=len(quota))
    taken = np.bincount(units.labels[chosen[units.unit_of]], minlength=len(quota))
    lacking = np.flatnonzero((there > 1) & (taken == 0))
    if not len(lacking):
        return chosen
    by_label = np.argsort(units.labels, kind="stable")
    bounds = np.concatenate(([0], np.cumsum(there)))
    starts = np.concatenate(([0], np.cumsum(units.size)))
    for label in lacking.tolist():
        if taken[label]:  # by a stand-in of another class that is of this class too
            continue
        own = np.unique(units.unit_of[by_label[bounds[label] : bounds[label + 1]]])
        for unit in own[np.lexsort((units.place[own], units.size[own] > quota[label]))].tolist():
            rows = units.rows_by_unit[starts[unit] : starts[unit + 1]]
            lost = np.bincount(units.labels[rows], minlength=len(quota))
            if ((there - taken - lost >= 1) | (lost == 0)).all():
                chosen[unit] = True
                taken += lost
                break
    return chosen


def _follow_units(splits: NDArray[np.int8], unit_of: NDArray[np.int64]) -> None:
    """Samples without a split follow those of their unit that have one: to test if any is there, else to val."""
    strongest = np.full(len(splits), UNASSIGNED, dtype=np.int8)
    np.maximum.at(strongest, unit_of, splits)
    free = splits == UNASSIGNED
    splits[free] = strongest[unit_of[free]]


def _follow_groups(table: SampleTable) -> NDArray[np.int8]:
    """(N,) the data's own splits, with samples of none following the val or test samples of their group.

    Raises:
        DataError: a group is in two splits.
    """
    splits = table.splits.copy()
    if table.groups is None:
        return splits
    split_of: dict[str, int] = {}
    for row, (group, split) in enumerate(zip(table.groups, splits.tolist(), strict=True)):
        if split != UNASSIGNED and split_of.setdefault(group, split) != split:
            raise DataError(
                f"{printable(table.store.locate(table.names[row]))} is in {SPLITS[split]}, and others of its group, "
                f'"{printable(group)}", in {SPLITS[split_of[group]]}; samples of one group must share a split'
            )
    for row, group in enumerate(table.groups):
        if splits[row] == UNASSIGNED:
            splits[row] = split_of.get(group, UNASSIGNED)
    return splits


def _check(table: SampleTable, splits: NDArray[np.int8]) -> None:
    trained = _count(table, splits == _TRAIN)
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


def _test_notes(
    table: SampleTable,
    units: Units,
    locked: NDArray[np.bool_],
    chosen: NDArray[np.bool_],
    fraction: float,
) -> list[str]:
    notes = []
    stand_ins = np.unique(units.labels[(chosen & ~locked)[units.unit_of]])
    if len(stand_ins):
        notes.append(
            f"{counted(len(stand_ins), 'class is', 'classes are')} so small that an image stands in to be tested, "
            f"which may be trained on once there are more: {listed([table.classes[i] for i in stand_ins.tolist()])}"
        )
    tested = int(units.size[chosen].sum())
    total = len(units.labels)
    if total >= _FEW and not fraction / _FAR_OFF <= tested / total <= fraction * _FAR_OFF:
        notes.append(
            f"{tested:,} of {total:,} images ({100 * tested / total:.0f} %) are tested, where {100 * fraction:.0f} % "
            "were asked for: each image or group is drawn by its own content, so that it stays where it is; "
            "another seed draws anew"
        )
    return notes


def _notes(table: SampleTable, splits: NDArray[np.int8], given: set[int]) -> list[str]:
    notes = []
    counts = table.counts()
    single = [name for name, count in counts.items() if count == 1]
    if single:
        notes.append(
            f"{counted(len(single), 'class has', 'classes have')} a single image, which is trained on and never "
            f"tested: {listed(single)}"
        )
    tested = _count(table, splits == _TEST)
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

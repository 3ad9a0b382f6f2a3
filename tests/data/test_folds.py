from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyebright.data.arrays import ArrayStore
from eyebright.data.folds import assign_folds
from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.errors import DataError, SettingsError


def table_of(counts: dict[str, int], *, groups: Sequence[str] | None = None) -> SampleTable:
    """So many samples of each class, named "cat/0", "cat/1", ..."""
    classes = tuple(sorted(counts))
    names = tuple(f"{name}/{i}" for name in classes for i in range(counts[name]))
    labels = np.array([classes.index(name.split("/")[0]) for name in names], dtype=np.int64)
    return SampleTable(
        store=ArrayStore({}, "nowhere"),
        names=names,
        labels=labels,
        classes=classes,
        splits=np.full(len(names), UNASSIGNED, dtype=np.int8),
        groups=None if groups is None else tuple(groups),
    )


@settings(max_examples=80, deadline=None)
@given(
    counts=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 40), min_size=1),
    k=st.integers(2, 9),
    seed=st.integers(0, 5),
)
def test_folds_spread_every_class_evenly(counts: dict[str, int], k: int, seed: int) -> None:
    counts = {**counts, "a": max(k, counts.get("a", 0))}
    table = table_of(counts)
    folds = assign_folds(table, k, seed=seed)
    assert folds.shape == (len(table),)
    for label in range(len(counts)):
        held = np.bincount(folds[table.labels == label], minlength=k)
        assert held.max() - held.min() <= 1
    total = np.bincount(folds, minlength=k)
    assert len(total) == k
    assert total.max() - total.min() <= 1


def test_folds_with_groups_are_still_about_even() -> None:
    groups = [f"g{row // 7}" if row < 70 else f"s{row}" for row in range(300)]
    table = table_of({"cat": 150, "dog": 150}, groups=groups)
    folds = assign_folds(table, 5)
    for label in range(2):
        assert np.bincount(folds[table.labels == label]).tolist() == [30] * 5
    assert all(len(set(folds[np.array(groups) == group].tolist())) == 1 for group in set(groups))
    assert (assign_folds(table, 5, seed=1) != folds).any()


def test_impossible_numbers_of_folds_are_refused() -> None:
    with pytest.raises(SettingsError, match="number of folds is 1; it must be at least 2"):
        assign_folds(table_of({"cat": 9, "dog": 9}), 1)
    with pytest.raises(DataError, match="4 samples can't be divided into 5 folds"):
        assign_folds(table_of({"cat": 2, "dog": 2}), 5)
    with pytest.raises(DataError, match="2 groups of samples that belong together can't be divided into 3 folds"):
        assign_folds(table_of({"cat": 2, "dog": 2}, groups=["a", "b", "a", "b"]), 3)

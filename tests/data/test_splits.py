from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyebright.data.arrays import ArrayStore
from eyebright.data.samples import SPLITS, UNASSIGNED, SampleTable
from eyebright.data.splits import assign_splits
from eyebright.errors import DataError, SettingsError


def table_of(
    counts: dict[str, int], *, splits: Sequence[int] | None = None, groups: Sequence[str] | None = None
) -> SampleTable:
    """So many samples of each class, named "cat/0", "cat/1", ..."""
    classes = tuple(sorted(counts))
    names = tuple(f"{name}/{i}" for name in classes for i in range(counts[name]))
    labels = np.array([classes.index(name.split("/")[0]) for name in names], dtype=np.int64)
    return SampleTable(
        store=ArrayStore({}, "nowhere"),
        names=names,
        labels=labels,
        classes=classes,
        splits=np.array([UNASSIGNED] * len(names) if splits is None else splits, dtype=np.int8),
        groups=None if groups is None else tuple(groups),
    )


def sizes(table: SampleTable, name: str) -> tuple[int, int, int]:
    """How many samples of a class are in train, val and test."""
    label = table.classes.index(name)
    train, val, test = (int((table.splits[table.labels == label] == i).sum()) for i in range(3))
    return train, val, test


def split_of(table: SampleTable) -> dict[str, str]:
    return {name: SPLITS[i] for name, i in zip(table.names, table.splits.tolist(), strict=True)}


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1)), (10, (6, 2, 2)), (100, (64, 16, 20))],
)
def test_each_class_is_divided_by_itself(count: int, expected: tuple[int, int, int]) -> None:
    table = assign_splits(table_of({"cat": count, "dog": 50}))
    assert sizes(table, "cat") == expected
    assert sizes(table, "dog") == (32, 8, 10)


def test_a_class_with_a_single_image_is_trained_on_and_noted() -> None:
    table = assign_splits(table_of({"cat": 1, "dog": 10}))
    assert table.notes == ("1 class has a single image, which is trained on and never tested: cat",)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 30), min_size=2),
    seed=st.integers(0, 5),
    order=st.randoms(use_true_random=False),
)
def test_a_place_depends_on_neither_order_nor_other_classes(
    counts: dict[str, int], seed: int, order: np.random.Generator
) -> None:
    counts = {**counts, "a": max(3, counts.get("a", 3))}
    table = table_of(counts)
    whole = split_of(assign_splits(table, seed=seed))
    rows = list(range(len(table)))
    order.shuffle(rows)
    assert split_of(assign_splits(table.take(rows), seed=seed)) == whole
    alone = split_of(assign_splits(table_of({"a": counts["a"]}), seed=seed))
    assert alone == {name: split for name, split in whole.items() if name.startswith("a/")}


@settings(max_examples=60, deadline=None)
@given(
    counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 60), min_size=2),
    val_fraction=st.floats(0.01, 0.99),
    test_fraction=st.floats(0.01, 0.99),
)
def test_every_class_keeps_something_to_train_on_and_shares_are_kept(
    counts: dict[str, int], val_fraction: float, test_fraction: float
) -> None:
    counts = {**counts, "a": max(3, counts.get("a", 3))}
    table = assign_splits(table_of(counts), val_fraction=val_fraction, test_fraction=test_fraction)
    assert UNASSIGNED not in table.splits
    for name, count in counts.items():
        train, val, test = sizes(table, name)
        assert train >= 1
        assert val >= 1 or count < 3
        assert test <= max(1, count * test_fraction + 0.5)
        assert test >= min(max(1, count - 2), int(count * test_fraction + 0.5), count - 1)


def test_another_seed_is_another_draw_and_the_same_seed_the_same() -> None:
    table = table_of({"cat": 50, "dog": 50})
    assert split_of(assign_splits(table, seed=1)) == split_of(assign_splits(table, seed=1))
    assert split_of(assign_splits(table, seed=1)) != split_of(assign_splits(table, seed=2))


@settings(max_examples=60, deadline=None)
@given(members=st.lists(st.integers(0, 12), min_size=30, max_size=30), seed=st.integers(0, 3))
def test_groups_stay_whole(members: list[int], seed: int) -> None:
    table = table_of({"cat": 15, "dog": 15}, groups=[f"g{i}" for i in members])
    try:
        divided = assign_splits(table, seed=seed)
    except DataError as error:
        refused = str(error)
    else:
        places: dict[int, set[int]] = {}
        for group, split in zip(members, divided.splits.tolist(), strict=True):
            places.setdefault(group, set()).add(split)
        assert all(len(splits) == 1 for splits in places.values())
        return
    assert "nothing is left for" in refused
    assert len(set(members)) < 9  # with this many groups there is always a way


def test_large_groups_do_not_swell_the_test_split() -> None:
    groups = [f"g{i // 20}" if i < 40 else f"s{i}" for i in range(100)]
    table = table_of({"cat": 100, "dog": 30}, groups=[*groups, *(f"d{i}" for i in range(30))])
    tested = [sizes(assign_splits(table, seed=seed), "cat")[2] for seed in range(20)]
    assert all(20 <= count <= 30 for count in tested)  # half a group beyond the share at the most
    assert max(tested) > 20


def test_splits_of_the_data_are_kept() -> None:
    splits = [0] * 6 + [1] * 2 + [2] * 2
    table = assign_splits(table_of({"cat": 5, "dog": 5}, splits=[*splits[::2], *splits[1::2]]))
    assert table.splits.tolist() == [*splits[::2], *splits[1::2]]
    assert table.notes == ()


@pytest.mark.parametrize(("given_split", "carved"), [(2, 1), (1, 2)])
def test_a_split_that_the_data_lacks_is_taken_from_train(given_split: int, carved: int) -> None:
    splits = ([0] * 10 + [given_split] * 5) * 2
    table = assign_splits(table_of({"cat": 15, "dog": 15}, splits=splits))
    assert ((table.splits == given_split) == (np.array(splits) == given_split)).all()
    assert int((table.splits == carved).sum()) == 4
    assert table.notes == (f"the data has no {SPLITS[carved]} split; 4 of its other images were set aside",)


def test_samples_without_a_split_follow_their_group() -> None:
    table = table_of(
        {"cat": 6, "dog": 6}, splits=[2, -1, -1, -1, -1, -1] * 2, groups=["x", "x", "b", "c", "d", "e"] * 2
    )
    divided = assign_splits(table)
    assert divided.splits[[0, 1, 6, 7]].tolist() == [2, 2, 2, 2]
    assert int((divided.splits == 2).sum()) == 4


def test_a_group_in_two_of_the_datas_splits_is_refused() -> None:
    table = table_of({"cat": 3, "dog": 3}, splits=[0, 1, 2] * 2, groups=["p", "q", "p", "r", "s", "t"])
    with pytest.raises(DataError, match="group p is in train and in test"):
        assign_splits(table)


def test_a_class_without_training_samples_is_named() -> None:
    table = table_of({"cat": 4, "dog": 4, "emu": 2}, splits=[0, 0, 1, 2, 0, 0, 1, 2, 1, 2])
    with pytest.raises(DataError, match="no training image for 1 class: emu"):
        assign_splits(table)


def test_too_few_images_to_divide_are_refused() -> None:
    with pytest.raises(DataError, match="nothing is left for val: 4 images of 2 classes are too few"):
        assign_splits(table_of({"cat": 2, "dog": 2}))
    with pytest.raises(DataError, match="nothing is left for"):
        assign_splits(table_of({"cat": 1, "dog": 1}))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 20, float("nan")])
def test_a_share_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(SettingsError, match="must be above 0 and below 1"):
        assign_splits(table_of({"cat": 9, "dog": 9}), val_fraction=fraction)
    with pytest.raises(SettingsError, match="must be above 0 and below 1"):
        assign_splits(table_of({"cat": 9, "dog": 9}), test_fraction=fraction)


def test_names_that_are_no_unicode_can_be_divided() -> None:
    table = table_of({"c\udce9": 10, "dog": 10})
    assert UNASSIGNED not in assign_splits(table).splits


def test_the_draw_is_the_same_in_every_release() -> None:
    tested = assign_splits(table_of({"cat": 10, "dog": 10})).split("test").names
    assert tested == ("cat/2", "cat/7", "dog/6", "dog/9")  # a change here moves the users' test images into training

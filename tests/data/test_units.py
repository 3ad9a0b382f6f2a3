from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from eyebright.data.arrays import ArrayStore
from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.data.units import draw_places, gather, join_units


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


def test_named_groups_equal_contents_and_what_is_told_are_joined_into_units() -> None:
    table = table_of({"cat": 4, "dog": 4})
    digests = ["aa", "bb", "cc", "dd", "bb", "ee", "", ""]
    assert join_units(table, digests, [(5, 7)]).tolist() == [0, 1, 2, 3, 1, 5, 6, 5]
    grouped = table_of({"cat": 4, "dog": 4}, groups=["x", "y", "z", "z", "u", "v", "w", "x"])
    assert join_units(grouped, digests, []).tolist() == [0, 1, 2, 2, 1, 5, 6, 0]


def test_a_unit_has_the_lowest_place_and_the_class_of_most_of_its_samples() -> None:
    table = table_of({"cat": 2, "dog": 3})
    pool = np.array([1, 2, 3, 4])
    units = gather(table, pool, np.array([9, 4, 9, 4, 4]), np.array([0.7, 0.3, 0.5, 0.6]))
    assert units.unit_of.tolist() == [0, 1, 0, 0]  # unit 4 is cat/1, dog/1 and dog/2; unit 9 dog/0
    assert units.place.tolist() == [0.5, 0.3]
    assert units.size.tolist() == [3, 1]
    assert units.label.tolist() == [1, 1]
    assert sorted(units.rows_by_unit[:3].tolist()) == [0, 2, 3]


def test_places_come_from_the_group_else_the_content_else_the_name_and_from_the_seed() -> None:
    rows = np.arange(4)
    digests = ["aa" * 32, "aa" * 32, "bb" * 32, ""]
    places = draw_places(table_of({"cat": 4}), rows, 0, digests)
    assert places.shape == (4, 3)
    assert ((places >= 0) & (places < 1)).all()
    assert (places[0] == places[1]).all()
    assert (places[0] != places[2]).all()
    assert (places[3] == draw_places(table_of({"cat": 4}), rows, 0, None)[3]).all()
    grouped = draw_places(table_of({"cat": 4}, groups=["x", "y", "x", "y"]), rows, 0, digests)
    assert (grouped[0] == grouped[2]).all()
    assert (draw_places(table_of({"cat": 4}), rows, 1, digests) != places).all()

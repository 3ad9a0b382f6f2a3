from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from eyebright.data.folders import FolderStore, table_of_labels
from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.errors import DataError


@pytest.fixture
def several() -> SampleTable:
    """Four samples; the first and last have two of the classes a, b, c."""
    return table_of_labels(
        FolderStore("photos"),
        ["1.png", "2.png", "3.png", "4.png"],
        ["b", "a", "c", "a"],
        splits=[0, 0, 1, 2],
        label_sets=[["b", "c"], ["a"], ["c"], ["a", "b"]],
        notes=[],
        where="photos",
        min_classes=2,
        kind="label",
    )


def sets(table: SampleTable) -> list[set[str]]:
    assert table.label_sets is not None
    return [{table.classes[i] for i in np.flatnonzero(row)} for row in table.label_sets]


def test_the_labels_of_a_sample_go_where_it_goes(several: SampleTable) -> None:
    assert sets(several) == [{"b", "c"}, {"a"}, {"c"}, {"a", "b"}]
    assert sets(several.take([3, 0])) == [{"a", "b"}, {"b", "c"}]
    assert sets(several.split("train")) == [{"b", "c"}, {"a"}]


def test_the_labels_of_a_sample_are_renumbered_by_name(several: SampleTable) -> None:
    other = several.with_classes(["c", "x", "b", "a"])
    assert sets(other) == sets(several)
    assert other.labels.tolist() == [2, 3, 0, 3]
    assert other.counts() == {"c": 2, "x": 0, "b": 2, "a": 2}


def test_classes_without_a_sample_need_not_be_known(several: SampleTable) -> None:
    assert sets(several.take([0]).with_classes(["c", "b"])) == [{"b", "c"}]


def test_a_second_label_that_is_not_known_is_refused_too(several: SampleTable) -> None:
    only = several.take([0])  # b, and c as its second
    with pytest.raises(DataError, match="not among the ones the model knows: c"):
        only.with_classes(["a", "b"])


def test_work_that_can_use_only_one_label_refuses_several(several: SampleTable) -> None:
    with pytest.raises(DataError, match=r"several labels to a sample \(2 of 4 have more than one\)"):
        several.require_single_labels()
    table_of_labels(
        several.store, ["1"], ["a"], splits=[UNASSIGNED], notes=[], where="", min_classes=1, kind="label"
    ).require_single_labels()


@pytest.mark.slow
def test_a_million_samples_take_at_most_400_megabytes() -> None:
    count = 1_000_000
    tracemalloc.start()
    try:
        table = table_of_labels(
            FolderStore("/data/photos"),
            [f"train/n{i % 1000:08d}/n{i % 1000:08d}_{i:010d}.JPEG" for i in range(count)],
            [f"n{i % 1000:08d}" for i in range(count)],
            splits=np.full(count, UNASSIGNED, dtype=np.int8).tolist(),
            groups=tuple(f"patient-{i:010d}" for i in range(count)),
            notes=[],
            where="/data/photos",
            min_classes=2,
            kind="folder",
        )
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(table) == count
    assert held < 400e6

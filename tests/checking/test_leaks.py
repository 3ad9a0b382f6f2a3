from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from eyebright.checking.findings import Decision, Finding
from eyebright.checking.leaks import find_cut_groups, find_leaks
from eyebright.data.arrays import ArrayStore
from eyebright.data.samples import UNASSIGNED, SampleTable


def table_of(splits: Sequence[int]) -> SampleTable:
    return SampleTable(
        store=ArrayStore({}, "nowhere"),
        names=tuple("abcdef"[: len(splits)]),
        labels=np.zeros(len(splits), dtype=np.int64),
        classes=("x",),
        splits=np.array(splits, dtype=np.int8),
    )


def copies(*names: str, kind: str = "duplicate") -> Finding:
    proposal = tuple(Decision(sample=name, digest=name * 64, action="exclude", reason=kind) for name in names)
    return Finding(kind=kind, words="", samples=names, proposal=proposal)


def test_copies_in_train_and_test_are_a_leak_and_the_test_split_stays_whole() -> None:
    (leak,) = find_leaks(table_of([0, 2, 0]), [copies("a", "b", "c", kind="near-duplicate")])
    assert leak.kind == "leak"
    assert leak.samples == ("a", "b", "c")
    assert [(d.sample, d.digest, d.action, d.reason) for d in leak.proposal] == [
        ("a", "a" * 64, "exclude", "leak"),
        ("c", "c" * 64, "exclude", "leak"),
    ]
    assert leak.words == "The same image is in train (a, c) and in test (b)."


def test_of_val_and_test_the_copy_in_val_goes() -> None:
    (leak,) = find_leaks(table_of([1, 2]), [copies("a", "b")])
    assert [decision.sample for decision in leak.proposal] == ["a"]


def test_copies_within_a_split_or_without_one_are_no_leak() -> None:
    table = table_of([0, 0, -1, -1, -1, 2])
    assert find_leaks(table, [copies("a", "b"), copies("c", "d"), copies("e", "f")]) == []


def test_a_leak_into_test_stands_before_one_into_val() -> None:
    into_val, into_test = find_leaks(table_of([0, 1, 0, 2]), [copies("a", "b"), copies("c", "d")])
    assert into_test.score > into_val.score


def test_other_findings_are_passed_over() -> None:
    other = Finding(kind="blurred", words="", samples=("a", "b"))
    assert find_leaks(table_of([0, 2]), [other]) == []


def test_a_group_in_two_splits_is_found_and_one_without_a_split_is_not() -> None:
    table = replace(table_of([0, 2, 0, UNASSIGNED]), groups=("g", "g", "h", "h"))
    (cut,) = find_cut_groups(table)
    assert cut.kind == "cut-group"
    assert cut.words == 'The group "g" is in train (1 image) and in test (1 image).'
    assert cut.samples == ("a", "b")
    assert find_cut_groups(replace(table, groups=None)) == []

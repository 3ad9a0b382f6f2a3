"""What is read back from disk is what was written, or is refused by name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from eyebright.errors import DataError
from eyebright.evaluation.plain import from_plain, to_plain


@dataclass(frozen=True, kw_only=True)
class Leaf:
    name: str
    weight: float | None


@dataclass(frozen=True, kw_only=True)
class Tree:
    kind: Literal["oak", "elm"]
    leaves: tuple[Leaf, ...]
    rings: dict[str, int]
    table: tuple[tuple[int, ...], ...] = ()
    felled: bool = False


TREE = Tree(
    kind="oak", leaves=(Leaf(name="ä", weight=1.5), Leaf(name="", weight=None)), rings={"a": 1}, table=((1, 2),)
)


def test_a_nested_dataclass_survives_json() -> None:
    assert from_plain(Tree, json.loads(json.dumps(to_plain(TREE))), "tree") == TREE


def test_a_whole_number_is_accepted_where_a_fraction_stands() -> None:
    leaf = from_plain(Leaf, {"name": "x", "weight": 2}, "leaf")
    assert leaf.weight == 2.0
    assert isinstance(leaf.weight, float)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"knid": "oak"}, r"tree has no entry 'knid'; did you mean \"kind\"\?"),
        ({"kind": "ash"}, "tree.kind should be 'oak' or 'elm', not 'ash'"),
        ({"felled": 1}, "tree.felled should be bool, not 1"),
        ({"rings": {"a": 1.5}}, r"tree.rings\['a'\] should be int"),
        ({"rings": {"a": True}}, "should be int, not True"),
        ({"rings": [1]}, "tree.rings should be"),
        ({"leaves": [{"name": 3, "weight": 1}]}, r"tree.leaves\[0\].name should be str, not 3"),
        ({"leaves": [{"name": "x"}]}, r"tree.leaves\[0\] lacks the entry 'weight'"),
        ({"leaves": [{"name": "x", "weight": float("nan")}]}, "not a finite number"),
        ({"leaves": "xy"}, "tree.leaves should be"),
        ({"table": [[1], ["2"]]}, r"tree.table\[1\]\[0\] should be int"),
    ],
)
def test_an_edited_file_is_refused_with_the_place(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        from_plain(Tree, {**to_plain(TREE), **changes}, "tree")


def test_something_else_than_a_table_is_refused() -> None:
    with pytest.raises(DataError, match="tree should be a table of settings, not a list"):
        from_plain(Tree, list(range(50)), "tree")

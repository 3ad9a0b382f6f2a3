from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from eyebright.data.samples import SPLITS, SampleTable
from eyebright.errors import DataError, ImageError
from eyebright.evaluation.columns import choose_columns, remark_on_columns
from eyebright.evaluation.compare import Comparison
from eyebright.evaluation.render_columns import render_columns
from eyebright.evaluation.slices import list_slices


class Nothing:
    def read(self, name: str) -> bytes:
        raise ImageError(name, "not there")

    def locate(self, name: str) -> str:
        return name


def build(columns: dict[str, list[str]], groups: tuple[str, ...] | None = None) -> SampleTable:
    count = len(next(iter(columns.values())))
    return SampleTable(
        store=Nothing(),
        names=tuple(map(str, range(count))),
        labels=np.arange(count) % 2,
        classes=("cat", "dog"),
        splits=np.full(count, SPLITS.index("test"), dtype=np.int8),
        groups=groups,
        columns={name: tuple(values) for name, values in columns.items()},
    )


def test_every_column_of_few_values_is_taken_by_default() -> None:
    table = build(
        {
            "camera": ["old", "new"] * 30 + [""] * 60,
            "serial": [str(i) for i in range(120)],
            "same": ["x"] * 120,
            "species": ["Felis", "Canis"] * 60,  # the class once more
        }
    )
    assert choose_columns(table) == {"camera": ("old", "new") * 30 + ("(empty)",) * 60}
    assert list(choose_columns(table, ["SAME", "species", "same"])) == ["same", "species"]
    with pytest.raises(DataError, match='did you mean "camera"'):
        choose_columns(table, ["camer"])


def test_many_numbers_become_three_ranges_where_they_are_asked_for() -> None:
    table = build({"gain": [str(i / 10) for i in range(120)] + [""] * 6, "name": [f"n{i // 2}" for i in range(126)]})
    assert choose_columns(table) == {}
    found = choose_columns(table, ["gain", "name"])
    values, counts = np.unique(found["gain"], return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
        "(empty)": 6,
        "0 to below 4": 40,
        "4 to below 7.9": 39,
        "7.9 to 11.9": 41,
    }
    assert len(set(found["name"])) == 63


def test_parts_by_column_come_with_intervals_worst_first_and_small_ones_are_told() -> None:
    camera = ["new"] * 40 + ["old"] * 20 + ["lent"] * 3
    correct = np.array([True] * 38 + [False] * 2 + [True] * 8 + [False] * 12 + [False] * 3)
    table = build({"camera": camera})
    found = list_slices(table, correct, np.full(63, 0.95), ["camera"])
    parts = [part for part in found if part.column == "camera"]
    assert [(part.kind, part.where, part.name, part.num_correct, part.num_samples) for part in parts] == [
        ("column", "camera", "old", 8, 20),
        ("column", "camera", "new", 38, 40),
    ]
    assert parts[0].accuracy_low < 0.4 < parts[0].accuracy_high < parts[1].accuracy_low
    assert remark_on_columns(choose_columns(table), 5) == (
        'Of "camera", 1 of 3 values have fewer than 5 test images, too few to tell: lent.',
    )


def test_a_column_that_is_asked_for_may_have_many_values_and_group_is_one() -> None:
    groups = (*(f"patient {i // 6}" for i in range(600)), "\0a", "\0b")
    table = build({"x": ["1"] * 602}, groups)
    found = list_slices(table, np.ones(602, np.bool_), np.full(602, 0.95), ["group"])
    assert sum(part.column == "group" for part in found) == 100
    assert not [part for part in found if part.kind == "group"]
    assert (
        "fewer than 5 test images, too few to tell: (empty)"
        in remark_on_columns(choose_columns(table, ["group"]), 5)[0]
    )


def test_a_hostile_value_is_shown_escaped_in_a_remark() -> None:
    table = build({"a\nb": ["x\x1b[31m", "y"] + ["z"] * 10})
    assert remark_on_columns(choose_columns(table), 5) == (
        'Of "a\\nb", 2 of 3 values have fewer than 5 test images, too few to tell: x\\x1b[31m, y.',
    )


def test_a_page_shows_every_value_of_a_column_and_every_network(build_comparison: Callable[..., Comparison]) -> None:
    drawn = build_comparison(skills=(4.0, 3.0))
    contestants = []
    for number, contestant in enumerate(drawn.contestants):
        right = np.array([letter == "1" for letter in contestant.report.correctness])
        table = build({"<b>site": [f"<i>{row % 40}" for row in range(300)]})
        parts = list_slices(table, right, np.full(300, 0.6 + number / 10))
        contestants.append(replace(contestant, report=replace(contestant.report, slices=parts)))
    shown = render_columns(contestants)
    assert shown.count('<th scope="row">') == 40
    assert "By <bdi>&lt;b&gt;site</bdi>: 40 values" in shown
    assert "<i>" not in re.sub('<i style="[^"]*"></i>|<i></i>', "", shown)
    assert shown.count('class="bar"') == 80
    assert render_columns(drawn.contestants) == ""

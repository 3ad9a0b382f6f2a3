from __future__ import annotations

import io

import numpy as np
from PIL import Image

from eyebright.data.samples import SPLITS, SampleTable
from eyebright.errors import ImageError
from eyebright.evaluation.slices import list_slices


class Sized:
    """Grey PNGs; the name's last number is the side, and 0 is a file that can't be read."""

    def read(self, name: str) -> bytes:
        side = int(name.rsplit("-", 1)[1])
        if not side:
            raise ImageError(name, "not there")
        buffer = io.BytesIO()
        Image.new("L", (side + 5, side)).save(buffer, "PNG")
        return buffer.getvalue()

    def locate(self, name: str) -> str:
        return name


def build(names: list[str], groups: tuple[str, ...] | None = None) -> SampleTable:
    labels = np.array([name.startswith("dog") for name in names], dtype=np.int64)
    return SampleTable(
        store=Sized(),
        names=tuple(names),
        labels=labels,
        classes=("cat", "dog"),
        splits=np.full(len(names), SPLITS.index("test"), dtype=np.int8),
        groups=groups,
    )


def test_the_worst_part_comes_first_and_a_small_bad_one_does_not() -> None:
    names = [f"cat/in/{i}-20" for i in range(40)] + [f"cat/out/{i}-20" for i in range(40)]
    names += [f"dog/in/{i}-20" for i in range(5)]
    correct = np.array([True] * 36 + [False] * 4 + [True] * 16 + [False] * 24 + [False] * 2 + [True] * 3)
    found = list_slices(build(names), correct, np.full(85, 0.95))
    assert [(one.kind, one.name, one.num_correct, one.num_samples) for one in found] == [
        ("folder", "cat/out", 16, 40),
        ("confidence", "90 to 99 %", 55, 85),
        ("folder", "dog/in", 3, 5),
        ("folder", "cat/in", 36, 40),
    ]


def test_folders_that_are_the_classes_are_left_to_the_table_of_classes() -> None:
    names = [f"cat/{i}-20" for i in range(10)] + [f"dog/{i}-20" for i in range(10)]
    found = list_slices(build(names), np.ones(20, np.bool_), np.full(20, 0.6))
    assert {one.kind for one in found} == {"confidence"}


def test_groups_and_sizes_are_parts_and_what_can_not_be_read_is_in_none_by_size() -> None:
    sides = [10] * 10 + [20] * 10 + [40] * 10 + [0] * 3
    names = [f"cat/{i}-{side}" for i, side in enumerate(sides)]
    correct = np.array([False] * 10 + [True] * 20 + [False] * 3)
    confidence = np.r_[np.full(30, 1.0), np.full(3, np.nan)]
    found = list_slices(build(names, tuple("ab"[i % 2] for i in range(33))), correct, confidence)
    by_kind = {kind: [one for one in found if one.kind == kind] for kind in ("group", "image size", "confidence")}
    assert sorted(one.name for one in by_kind["group"]) == ["a", "b"]
    assert [one.num_samples for one in by_kind["confidence"]] == [30]
    sizes = by_kind["image size"]
    assert sum(one.num_samples for one in sizes) == 30
    assert sizes[0].accuracy == 0
    assert sizes[0].name == "shorter side of 10 pixels"


def test_two_cameras_make_two_parts() -> None:
    names = [f"cat/{i}-{side}" for i, side in enumerate([10] * 20 + [500] * 20)]
    correct = np.arange(40) >= 20
    found = list_slices(build(names, None), correct, np.full(40, 1.0))
    sizes = [(one.name, one.num_samples, one.accuracy) for one in found if one.kind == "image size"]
    assert sizes == [("shorter side of 10 pixels", 20, 0.0), ("shorter side of 500 pixels", 20, 1.0)]

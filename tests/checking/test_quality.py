from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from eyebright.checking.findings import Finding
from eyebright.checking.look import F, Looks
from eyebright.checking.quality import KINDS, find_quality
from eyebright.data.arrays import ArrayStore
from eyebright.data.samples import UNASSIGNED, SampleTable


def table_of(counts: Sequence[int], splits: Sequence[int] | None = None) -> SampleTable:
    labels = np.repeat(np.arange(len(counts)), counts)
    return SampleTable(
        store=ArrayStore({}, "nowhere"),
        names=tuple(f"{i}.jpg" for i in range(len(labels))),
        labels=labels,
        classes=tuple("abcdefgh"[: len(counts)]),
        splits=np.array([UNASSIGNED] * len(labels) if splits is None else splits, dtype=np.int8),
    )


def looks_of(count: int) -> Looks:
    """Ordinary images, each a little different."""
    vary = np.random.default_rng(0).normal(size=count)
    return Looks(
        digests=tuple(f"{i:064x}" for i in range(count)),
        errors={},
        readable=np.ones(count, dtype=np.bool_),
        kinds=np.zeros(count, dtype=np.int16),
        headers=(("JPEG", "RGB", False),),
        sizes=np.tile(np.array([[400, 300]], dtype=np.int32), (count, 1)),
        lengths=np.full(count, 9999, dtype=np.int64),
        brightness=(120 + 15 * vary).astype(np.float32),
        contrast=np.full(count, 50, dtype=np.float32),
        sharpness=np.exp(5 + 0.3 * vary).astype(np.float32),
        shapes=np.zeros((count, F * F), dtype=np.float16),
    )


def kinds(findings: list[Finding]) -> list[str]:
    return [finding.kind for finding in findings]


def test_ordinary_data_bring_no_findings() -> None:
    assert find_quality(table_of([200, 200]), looks_of(400)) == []


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("dark", {"brightness": 12}, "7.jpg is very dark: mean brightness 12 of 255."),
        ("bright", {"brightness": 251}, "7.jpg is very bright: mean brightness 251 of 255."),
        ("blurred", {"sharpness": 4}, "7.jpg is blurred: its strongest edges reach 4."),
        ("tiny", {"sizes": (20, 24)}, "7.jpg is tiny: 20 x 24 pixels."),
        ("extreme-shape", {"sizes": (1000, 100)}, "7.jpg is far from square: 1000 x 100 pixels."),
    ],
)
def test_an_image_that_sticks_out_is_named(kind: str, changes: dict[str, object], words: str) -> None:
    looks = looks_of(400)
    for field, value in changes.items():
        getattr(looks, field)[7] = value
    (finding,) = find_quality(table_of([200, 200]), looks)
    assert (finding.kind, finding.words, finding.samples) == (kind, words, ("7.jpg",))
    assert finding.proposal == ()


def test_data_that_are_dark_throughout_are_one_remark() -> None:
    looks = looks_of(2000)
    looks = replace(looks, brightness=(looks.brightness / 10).astype(np.float32))
    (finding,) = find_quality(table_of([1000, 1000]), looks)
    assert finding.kind == "dark"
    assert finding.samples == ()
    assert "of 2,000 images are very dark" in finding.words


def test_a_blank_image_is_left_out_and_reported_once() -> None:
    looks = looks_of(400)
    looks.contrast[5], looks.brightness[5], looks.sharpness[5] = 0.4, 1, 0
    (finding,) = find_quality(table_of([200, 200]), looks)
    assert finding.kind == "blank"
    assert type(finding.score) is float
    assert [(d.sample, d.digest, d.action) for d in finding.proposal] == [("5.jpg", f"{5:064x}", "exclude")]


def test_unreadable_images_are_not_judged() -> None:
    looks = looks_of(400)
    looks.readable[3] = False
    for values in (looks.brightness, looks.contrast, looks.sharpness, looks.sizes):
        values[3] = 0
    assert find_quality(table_of([200, 200]), looks) == []


def test_a_small_class_is_told_what_its_accuracy_could_mean() -> None:
    findings = find_quality(table_of([40, 100, 160]), looks_of(300))
    (small,) = [finding for finding in findings if finding.kind == "small-class"]
    assert small.words == (
        'Class "a" has 40 readable images, of them 8 to test with: 7 right answers of 8 '
        "would mean an accuracy between 53% and 98%."
    )


def test_a_class_without_test_images_in_the_datas_own_split_is_named() -> None:
    splits = [0] * 100 + [0] * 60 + [2] * 40
    findings = find_quality(table_of([100, 100], splits), looks_of(200))
    assert [f.words for f in findings if f.kind == "small-class"] == [
        'Class "a" has 100 readable images and none to test with.'
    ]


def test_classes_of_very_unequal_size_are_a_remark() -> None:
    (finding,) = find_quality(table_of([1000, 200]), looks_of(1200))
    assert finding.kind == "imbalance"
    assert finding.words == 'Class "a" has 1,000 images, "b" only 200.'
    assert find_quality(table_of([700, 200]), looks_of(900)) == []


def test_a_single_class_and_a_few_images_are_no_trouble() -> None:
    assert kinds(find_quality(table_of([1]), looks_of(1))) == ["small-class"]


def test_every_kind_has_a_title_and_a_reason() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS) == 8
    assert all(kind.title and kind.reason.endswith(".") for kind in KINDS)


def test_an_image_of_several_classes_counts_for_each() -> None:
    sets = np.zeros((400, 2), dtype=np.bool_)
    sets[:, 0] = True  # the first label of every image
    sets[200:, 1] = True
    table = replace(table_of([400, 0]), label_sets=sets)
    assert find_quality(table, looks_of(400)) == []
    sets[205:, 1] = False
    assert kinds(find_quality(replace(table, label_sets=sets), looks_of(400))) == ["small-class", "imbalance"]

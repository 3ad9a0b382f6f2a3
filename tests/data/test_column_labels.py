from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from eyebright.data.sources import read_samples
from eyebright.errors import DataError

pa = pytest.importorskip("pyarrow", exc_type=ImportError)
pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)

Dataset = Callable[..., Any]
CLASS_LABEL = {"names": ["zebra", "ape", "cow"], "_type": "ClassLabel"}


@pytest.mark.parametrize("binary", [pa.binary(), pa.large_binary()])
def test_a_plain_column_of_bytes_with_names_as_labels_is_read(
    dataset: Dataset, tmp_path: Path, images: list[bytes], binary: Any
) -> None:
    table = dataset(images[:2], ["dog", "cat"], features={}, names=("img", "class"), image_type=binary)
    pq.write_table(table, tmp_path / "x.parquet")
    read = read_samples(tmp_path / "x.parquet")
    assert read.classes == ("cat", "dog")
    assert read.store.read(read.names[1]) == images[1]


def test_numbers_without_names_stand_for_themselves(dataset: Dataset, tmp_path: Path, images: list[bytes]) -> None:
    pq.write_table(dataset(images[:2], [7, 3], features={}), tmp_path / "x.parquet")
    assert read_samples(tmp_path / "x.parquet").classes == ("3", "7")


def test_samples_without_a_label_are_left_out_with_a_note(
    dataset: Dataset, tmp_path: Path, images: list[bytes]
) -> None:
    pq.write_table(dataset(images[:4], [0, -1, None, 1]), tmp_path / "x.parquet")
    table = read_samples(tmp_path / "x.parquet")
    assert table.names == ("x.parquet: row 0", "x.parquet: row 3")
    assert table.notes == ("2 images without a label left out: x.parquet: row 1, x.parquet: row 2",)
    pq.write_table(dataset(images[:1], [-1]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no image has a label"):
        read_samples(tmp_path / "x.parquet")


@pytest.mark.parametrize("kind", ["Sequence", "List"])
def test_a_list_of_class_labels_is_several_labels(
    dataset: Dataset, tmp_path: Path, images: list[bytes], kind: str
) -> None:
    features = {"image": {"_type": "Image"}, "labels": {"feature": CLASS_LABEL, "_type": kind}}
    table = dataset(images[:3], [[0, 1], [2], []], features=features, names=("image", "labels"))
    pq.write_table(table, tmp_path / "x.parquet")
    read = read_samples(tmp_path / "x.parquet")
    assert read.classes == ("ape", "cow", "zebra")
    assert read.label_sets is not None
    assert read.label_sets.tolist() == [[True, False, True], [False, True, False]]


def test_of_several_columns_of_labels_one_is_used_and_told(
    dataset: Dataset, tmp_path: Path, images: list[bytes]
) -> None:
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "coarse_label": {**CLASS_LABEL},
        "fine_label": {**CLASS_LABEL},
    }
    table = dataset(images[:2], [0, 1], features=features, names=("image", "coarse_label"))
    table = table.append_column("fine_label", pa.array([2, 0]))
    pq.write_table(table, tmp_path / "x.parquet")
    read = read_samples(tmp_path / "x.parquet")
    assert read.classes == ("cow", "zebra")
    assert read.notes == ("of the columns of labels, fine_label is used: coarse_label, fine_label",)


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (("image", "label"), [0, 3], "x.parquet: row 1 has the label 3, but there are 3 classes"),
        (("image", "label"), [0.5, 0.5], "row 0 has the label 0.5; it must be a class's name or number"),
        (("image", "caption"), ["a", "b"], "has the columns image, caption, but none of labels"),
    ],
)
def test_labels_that_make_no_sense_are_refused(
    dataset: Dataset, tmp_path: Path, images: list[bytes], names: tuple[str, str], labels: list[Any], message: str
) -> None:
    features: dict[str, Any] | None = None if names[1] == "label" else {}
    pq.write_table(dataset(images[:2], labels, features=features, names=names), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path / "x.parquet")

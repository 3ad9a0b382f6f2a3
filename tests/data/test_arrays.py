from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyebright.data.arrays import find_channels, read_arrays, read_npz
from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.errors import DataError, ImageError

SHARED = Path(__file__).resolve().parents[3] / "shared"
ReadArrays = Callable[..., SampleTable]


@pytest.fixture
def read_saved(tmp_path: Path) -> ReadArrays:
    """Save arrays under these keys and read the file."""

    def read(**arrays: Any) -> SampleTable:
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return read_npz(str(path), min_classes=2)

    return read


def pictures(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, 8, 6, 3), dtype=np.uint8)


def names_of(table: SampleTable) -> list[str]:
    return [table.classes[label] for label in table.labels]


def test_images_and_labels_are_read(read_saved: ReadArrays) -> None:
    images = pictures(3)
    table = read_saved(images=images, labels=np.array([1, 0, 1]), classes=np.array(["dog", "cat"]))
    assert table.classes == ("cat", "dog")
    assert names_of(table) == ["cat", "dog", "cat"]
    assert (table.splits == UNASSIGNED).all()
    assert np.array_equal(table.store.read("row 2"), images[2])
    assert table.store.locate("row 2").endswith("data.npz: row 2")


@pytest.mark.parametrize("keys", ["x_{}/y_{}", "{}_images/{}_labels", "X_{}/Y_{}"])
def test_splits_are_read_under_the_usual_keys(read_saved: ReadArrays, keys: str) -> None:
    arrays: dict[str, Any] = {}
    for i, split in enumerate(("train", "val", "test")):
        images_key, labels_key = keys.format(split, split).split("/")
        arrays[images_key] = pictures(4)[i : i + 2]
        arrays[labels_key] = np.array([[0], [1]])  # (N, 1), as Keras has them
    table = read_saved(**arrays)
    assert table.splits.tolist() == [0, 0, 1, 1, 2, 2]
    assert table.classes == ("0", "1")
    assert np.array_equal(table.store.read("test row 1"), pictures(4)[3])


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["cat", "dog"], ["cat", "dog"]),
        (np.array([b"cat", b"dog"]), ["cat", "dog"]),
        ([7, -3], ["7", "-3"]),
        (np.array([0.0, 1.0]), ["0", "1"]),
        (np.array([True, False]), ["1", "0"]),
    ],
)
def test_labels_may_be_names_or_numbers(labels: Any, expected: list[str]) -> None:
    assert names_of(read_arrays(pictures(2), labels, min_classes=2)) == expected


def test_images_of_different_sizes_come_as_a_list() -> None:
    images = [np.zeros((4, 5, 3), np.uint8), np.zeros((9, 2), np.uint8)]
    table = read_arrays(images, ["a", "b"], min_classes=2)
    assert np.array_equal(table.store.read("row 1"), images[1])


def test_a_class_without_images_is_left_out_with_a_note() -> None:
    table = read_arrays(pictures(2), [0, 2], ["cat", "dog", "emu"], min_classes=2)
    assert table.classes == ("cat", "emu")
    assert table.notes == ("1 class has no image and is not used: dog",)


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        (pictures(3), [0, 1], None, "there are 3 images and 2 labels"),
        (pictures(0), [], None, "holds no images"),
        (pictures(2), [0, 0], None, 'only one class, "0"'),
        (pictures(2), [0, 2], ["a", "b"], "labels have 2 in row 1, but there are 2 classes, counted from 0"),
        (pictures(2), [0, -1], ["a", "b"], "labels have -1 in row 1"),
        (pictures(2), ["a", "x"], ["a", "b"], "name classes that are not listed: x"),
        (pictures(2), [0, 1], ["a", "a"], "names a twice"),
        (pictures(2), [0, 1], [1, 2], "classes must be a list of names"),
        (pictures(2), [0.5, 1], None, "give whole numbers or names"),
        (pictures(2), [[1, 0], [0, 1]], None, r"labels\.argmax\(1\)"),
        (pictures(2), ["a", ""], None, "no name in row 1"),
        (np.zeros((2, 3, 8, 8), np.uint8), [0, 1], None, r"images\.transpose\(0, 2, 3, 1\)"),
        (np.zeros((2, 8), np.uint8), [0, 1], None, "images have shape"),
        (np.full((2, 8, 8), 200.0), [0, 1], None, "convert them to uint8"),
        (np.full((2, 8, 8), 300), [0, 1], None, "convert them to uint8"),
        (np.full((2, 8, 8), np.nan), [0, 1], None, "from nan to nan"),
        (np.full((2, 8, 8), "a"), [0, 1], None, "pixels are uint8"),
        (["a.png", "b.png"], [0, 1], None, "hold a str in row 0; give NumPy arrays"),
        ("photos", [0, 1], None, "images are a str; give one NumPy array, or a list of them"),
        (None, [0, 1], None, "images are a NoneType"),
        (pictures(2), [[0], [1, 2]], None, "must be plain lists"),
        (pictures(2), [0, None], None, "labels are object; give whole numbers or names"),
    ],
)
def test_arrays_that_make_no_sense_are_refused(images: Any, labels: Any, classes: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_arrays(images, labels, classes, min_classes=2)


def test_one_dark_image_of_a_0_to_255_array_is_not_taken_for_a_fraction() -> None:
    images = np.zeros((2, 4, 4))
    images[1] = 255
    with pytest.raises(DataError, match="float64 from 0 to 255"):
        read_arrays(images, [0, 1], min_classes=2)


def test_other_keys_are_refused_with_what_was_found(read_saved: ReadArrays) -> None:
    with pytest.raises(DataError, match=r"data\.npz: has the arrays pics, tags; it needs images and labels"):
        read_saved(pics=pictures(2), tags=np.array([0, 1]))


def test_python_objects_are_never_loaded(read_saved: ReadArrays) -> None:
    with pytest.raises(DataError, match="holds Python objects, which are never loaded"):
        read_saved(images=pictures(2), labels=np.array([{}, []], dtype=object))


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", b"PK\x03\x04" + bytes(60), b"\x93NUMPY" + bytes(20)],
    ids=["empty", "text", "zip", "npy"],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz: (is damaged or no \.npz|holds Python objects)"):
        read_npz(str(path), min_classes=2)


def test_a_single_array_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "data.npz").open("wb") as file:
        np.save(file, pictures(2))
    with pytest.raises(DataError, match="holds a single array"):
        read_npz(str(tmp_path / "data.npz"), min_classes=2)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, images=pictures(20), labels=np.arange(20))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"is damaged or no \.npz file"):
        read_npz(str(path), min_classes=2)


def test_a_row_that_is_not_there_is_an_image_error() -> None:
    store = read_arrays(pictures(2), [0, 1], min_classes=2).store
    for name in ("row 2", "test row 0", "cat.png"):
        with pytest.raises(ImageError, match="there is no such row"):
            store.read(name)


@pytest.mark.skipif(not (SHARED / "data" / "cifar10-12k.npz").is_file(), reason="needs ../shared/data/cifar10-12k.npz")
def test_cifar_10_is_read_with_its_classes_and_splits() -> None:
    table = read_npz(str(SHARED / "data" / "cifar10-12k.npz"), min_classes=2)
    assert len(table.classes) == 10
    assert (len(table.rows("train")), len(table.rows("test"))) == (10_000, 2_000)


def test_splits_and_groups_stand_beside_images_and_other_arrays_are_named(read_saved: ReadArrays) -> None:
    table = read_saved(
        images=pictures(4),
        labels=np.array([0, 1, 0, 1]),
        split=np.array(["train", "Test", "", "validation"]),
        groups=np.array([5, 6, 5, 7]),
        masks=np.zeros(3),
    )
    assert table.splits.tolist() == [0, 2, UNASSIGNED, 1]
    assert table.groups == ("5", "6", "5", "7")
    assert "1 array of other names not used: masks" in table.notes


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"split": np.array(["train", "tset"])}, "the splits have tset; use train, val, test"),
        ({"groups": np.array(["a"])}, r"the groups are <U1 of shape \(1,\); give 2 names"),
        ({"groups": np.array([0.5, 1.5])}, "the groups are float64 of shape"),
    ],
)
def test_splits_and_groups_that_make_no_sense_are_refused(
    read_saved: ReadArrays, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_saved(images=pictures(2), labels=np.array([0, 1]), **arrays)
    with pytest.raises(DataError, match="images that stand apart by split"):
        read_saved(x_train=pictures(2), y_train=np.array([0, 1]), **arrays)


def test_arrays_of_any_number_of_channels_are_read_but_not_those_with_channels_first(read_saved: ReadArrays) -> None:
    bands = np.zeros((3, 8, 6, 5), dtype=np.uint8)
    table = read_saved(images=bands, labels=np.array([0, 1, 1]))
    assert find_channels(table) == 5
    assert find_channels(read_saved(images=pictures(2), labels=np.array([0, 1]))) == 3
    many = np.zeros((2, 9, 9, 200), dtype=np.uint8)  # patches of more bands than pixels across
    assert find_channels(read_saved(images=many, labels=np.array([0, 1]))) == 200
    with pytest.raises(DataError, match="move the channels last"):
        read_saved(images=np.zeros((3, 5, 32, 32), dtype=np.uint8)[:, :, :30], labels=np.array([0, 1, 1]))

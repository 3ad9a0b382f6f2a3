from __future__ import annotations

import datetime
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from eyebright.data.samples import UNASSIGNED
from eyebright.data.sources import read_samples
from eyebright.errors import DataError, ImageError

pa = pytest.importorskip("pyarrow", exc_type=ImportError)
pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)

Encode = Callable[..., bytes]
Dataset = Callable[..., Any]
Save = Callable[..., None]
WriteImages = Callable[[Path, Iterable[str]], None]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CLASS_LABEL = {"names": ["zebra", "ape", "cow"], "_type": "ClassLabel"}


# Manifests


def test_a_parquet_manifest_reads_like_a_csv(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "data", ["a.png", "b.png", "c.png"])
    columns = {
        "path": ["a.png", "b.png", "c.png"],
        "label": ["cat", "dog", "cat"],
        "split": ["train", "test", None],
        "group": [7, 8, None],
    }
    pq.write_table(pa.table(columns), tmp_path / "data" / "list.parquet")
    (tmp_path / "data" / "list.csv").write_text(
        "path,label,split,group\na.png,cat,train,7\nb.png,dog,test,8\nc.png,cat,,\n"
    )
    table = read_samples(tmp_path / "data" / "list.parquet")
    as_csv = read_samples(tmp_path / "data" / "list.csv")
    assert table.names == as_csv.names
    assert table.classes == as_csv.classes == ("cat", "dog")
    assert table.labels.tolist() == as_csv.labels.tolist() == [0, 1, 0]
    assert table.splits.tolist() == as_csv.splits.tolist() == [0, 2, UNASSIGNED]
    assert table.groups == as_csv.groups
    assert isinstance(table.store.read("b.png"), bytes)


@pytest.mark.parametrize("labels", [["cat|dog", "dog"], [["cat", "dog"], ["dog"]]])
def test_several_labels_are_a_list_or_a_text(tmp_path: Path, write_images: WriteImages, labels: list[Any]) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    pq.write_table(pa.table({"path": ["a.png", "b.png"], "labels": labels}), tmp_path / "list.parquet")
    table = read_samples(tmp_path / "list.parquet")
    assert table.label_sets is not None
    assert table.label_sets.tolist() == [[True, True], [False, True]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["a.png"], "lable": ["cat"]}, 'unknown column "lable"; did you mean "label"'),
        ({"path": ["a.png"]}, 'the column "label" is missing'),
        ({"path": [3], "label": ["cat"]}, "row 1 has a int as path; it must be text"),
        ({"path": ["a.png"], "label": [0.5]}, "row 1 has a float as label"),
        ({"path": ["a.png", "a.png"], "label": ["cat", "dog"]}, "one label in row 1 and another in row 2"),
        ({"path": ["a.png", None], "label": ["cat", "dog"]}, "row 2 has no path"),
        ({"path": ["a.png", "gone.png"], "label": ["cat", "dog"]}, "1 file does not exist: gone.png"),
    ],
)
def test_a_parquet_manifest_that_makes_no_sense_is_refused(
    tmp_path: Path, write_images: WriteImages, columns: dict[str, list[Any]], message: str
) -> None:
    write_images(tmp_path, ["a.png"])
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    with pytest.raises(DataError, match=rf"list\.parquet: .*{message}"):
        read_samples(tmp_path / "list.parquet")


def test_other_columns_of_a_parquet_manifest_are_kept_as_texts(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    columns = {"path": ["a.png", "b.png"], "label": ["cat", "dog"], "gain": [0.5, None], "night": [True, False]}
    columns |= {"box": [[1, 2], [3, 4]], "day": [datetime.date(2026, 11, 1), datetime.date(2026, 11, 2)]}
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    assert read_samples(tmp_path / "list.parquet").columns == {
        "gain": ("0.5", ""),
        "night": ("True", "False"),
        "day": ("2026-11-01", "2026-11-02"),
    }


# Images in Parquet files


def test_images_in_parquet_files_are_read(dataset: Dataset, tmp_path: Path, images: list[bytes]) -> None:
    path = tmp_path / "data.parquet"
    pq.write_table(dataset(images, [0, 1, 2, 0, 1, 2]), path, row_group_size=4)
    table = read_samples(path)
    assert table.classes == ("ape", "cow", "zebra")
    assert [table.classes[label] for label in table.labels] == ["zebra", "ape", "cow"] * 2
    assert table.names[4] == "data.parquet: row 4"
    assert [table.store.read(name) for name in reversed(table.names)] == images[::-1]
    assert table.store.locate(table.names[4]) == f"{path}: row 4"
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.parquet"]
    for name in ("data.parquet: row 6", "other.parquet: row 0", "data.parquet: row -1", "x"):
        with pytest.raises(ImageError, match="there is no such row"):
            table.store.read(name)


def test_splits_come_from_the_names_of_parquet_files(dataset: Dataset, tmp_path: Path, images: list[bytes]) -> None:
    (tmp_path / "data").mkdir()
    for start, name in enumerate(["train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"]):
        two = slice(2 * start, 2 * start + 2)
        pq.write_table(dataset(images[two], [0, 1]), tmp_path / "data" / f"{name}.parquet")
    (tmp_path / "README.md").write_text("a card")
    table = read_samples(tmp_path)
    assert table.splits.tolist() == [0, 0, 0, 0, 1, 1]
    assert [table.store.read(name) for name in table.names] == images
    assert len(read_samples(f"{tmp_path}/data/train-*.parquet")) == 4


def test_a_damaged_parquet_file_is_named(tmp_path: Path, images: list[bytes]) -> None:
    path = tmp_path / "x.parquet"
    for content in (b"", b"PAR1", b"not parquet at all", b"PAR1" + bytes(100) + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.parquet: is damaged or can't be read"):
            read_samples(path)


# A folder from save_to_disk


def test_a_saved_dataset_is_read(dataset: Dataset, save_to_disk: Save, tmp_path: Path, images: list[bytes]) -> None:
    save_to_disk(tmp_path / "saved", dataset(images, [0, 1, 2, 0, 1, 2]), shards=2)
    table = read_samples(tmp_path / "saved")
    assert [table.classes[label] for label in table.labels] == ["zebra", "ape", "cow"] * 2
    assert table.names[5] == "data-00001-of-00002.arrow: row 2"
    assert [table.store.read(name) for name in reversed(table.names)] == images[::-1]
    assert set(table.splits.tolist()) == {UNASSIGNED}
    with pytest.raises(ImageError, match="there is no such row"):
        table.store.read("data-00001-of-00002.arrow: row 3")


def test_a_saved_dataset_of_splits_keeps_them(
    dataset: Dataset, save_to_disk: Save, tmp_path: Path, images: list[bytes]
) -> None:
    for start, split in enumerate(["train", "validation", "extra"]):
        two = slice(2 * start, 2 * start + 2)
        save_to_disk(tmp_path / "saved" / split, dataset(images[two], [0, 1]), shards=1, split=split)
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "extra"]}')
    table = read_samples(tmp_path / "saved")
    assert table.splits.tolist() == [0, 0, 1, 1, UNASSIGNED, UNASSIGNED]
    assert table.names[2] == "validation/data-00000-of-00001.arrow: row 0"
    assert [table.store.read(name) for name in table.names] == images
    assert 'the split "extra" is none of train, val and test' in table.notes[0]


def test_class_names_may_stand_in_dataset_info_only(
    dataset: Dataset, save_to_disk: Save, tmp_path: Path, images: list[bytes]
) -> None:
    save_to_disk(tmp_path / "saved", dataset(images, [0, 1] * 3, features={}))
    info = {"features": {"image": {"_type": "Image"}, "label": CLASS_LABEL}}
    (tmp_path / "saved" / "dataset_info.json").write_text(json.dumps(info))
    assert read_samples(tmp_path / "saved").classes == ("ape", "zebra")


@pytest.mark.parametrize("evil", ["../secret.arrow", "/etc/passwd", "..", "", "a\\b", 3])
def test_a_saved_dataset_can_not_name_files_elsewhere(
    dataset: Dataset, save_to_disk: Save, tmp_path: Path, images: list[bytes], evil: Any
) -> None:
    save_to_disk(tmp_path / "saved", dataset(images, [0, 1] * 3))
    (tmp_path / "saved" / "data-00000-of-00002.arrow").rename(tmp_path / "secret.arrow")
    (tmp_path / "saved" / "state.json").write_text(json.dumps({"_data_files": [{"filename": evil}]}))
    with pytest.raises(DataError, match=r"state\.json: does not list the data's files beside it"):
        read_samples(tmp_path / "saved")
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": [evil]}))
    with pytest.raises(DataError, match=r"dataset_dict\.json does not list the splits"):
        read_samples(tmp_path / "saved")


def test_a_saved_dataset_that_is_damaged_is_named(
    dataset: Dataset, save_to_disk: Save, tmp_path: Path, images: list[bytes]
) -> None:
    folder = tmp_path / "saved"
    save_to_disk(folder, dataset(images, [0, 1] * 3))
    path = folder / "data-00001-of-00002.arrow"
    content = path.read_bytes()
    for damaged in (b"", b"not arrow", content[: len(content) // 2], content[:-8], bytes(500)):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow: is damaged or can't be read"):
            read_samples(folder)
    path.unlink()
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow: does not exist"):
        read_samples(folder)
    (folder / "state.json").write_text("[")
    with pytest.raises(DataError, match=r"state\.json: can't be read"):
        read_samples(folder)


def test_arrow_files_without_their_state_are_refused_with_a_way_out(
    dataset: Dataset, save_to_disk: Save, tmp_path: Path, images: list[bytes]
) -> None:
    save_to_disk(tmp_path / "saved", dataset(images, [0, 1] * 3))
    (tmp_path / "saved" / "state.json").unlink()
    with pytest.raises(DataError, match=r"holds Arrow files without the state\.json"):
        read_samples(tmp_path / "saved")


# Both


@pytest.mark.parametrize("source", ["x.parquet", "saved"])
def test_without_pyarrow_it_says_what_to_install(
    dataset: Dataset, save_to_disk: Save, tmp_path: Path, images: list[bytes], source: str
) -> None:
    pq.write_table(dataset(images, [0, 1] * 3), tmp_path / "x.parquet")
    save_to_disk(tmp_path / "saved", dataset(images, [0, 1] * 3))
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from eyebright.data.sources import read_samples\n"
        "from eyebright.errors import MissingExtraError\n"
        f"try: read_samples({str(tmp_path / source)!r})\n"
        "except MissingExtraError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == (
        "reading Parquet and Arrow files needs packages that are not installed; "
        "install them with: pip install 'eyebright[parquet]'\n"
    )


@pytest.mark.parametrize("saved", [False, True])
def test_images_in_columns_bring_their_splits_groups_and_columns(
    dataset: Dataset, save_to_disk: Save, tmp_path: Path, images: list[bytes], saved: bool
) -> None:
    told = dataset(images, [0, 1, 2, 0, 1, 2])
    told = told.append_column("Split", pa.array(["train", "test", None, "train", "", "validation"]))
    told = told.append_column("group", pa.array([1, 2, None, 1, 3, None], pa.float64()))  # pandas' way with gaps
    told = told.append_column("camera", pa.array(["a", "b", None, "a", "b", "b"]))
    if saved:
        save_to_disk(tmp_path / "data", told)
        table = read_samples(tmp_path / "data")
    else:
        pq.write_table(told, tmp_path / "data.parquet")
        table = read_samples(tmp_path / "data.parquet")
    assert table.splits.tolist() == [0, 2, UNASSIGNED, 0, UNASSIGNED, 1]
    assert table.groups is not None
    assert [table.groups[row] for row in (0, 1, 3, 4)] == ["1", "2", "1", "3"]
    assert len(set(table.groups)) == 5
    assert table.columns == {"camera": ("a", "b", "", "a", "b", "b")}


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("split", ["train", "tset"], 'row 1 has the split "tset"; use train, val, test'),
        ("groups", ["a", "b"], 'unknown column "groups"; did you mean "group"'),
    ],
)
def test_a_column_beside_images_that_makes_no_sense_is_refused(
    dataset: Dataset, tmp_path: Path, images: list[bytes], column: str, values: list[str], message: str
) -> None:
    told = dataset(images[:2], [0, 1]).append_column(column, pa.array(values))
    pq.write_table(told, tmp_path / "data.parquet")
    with pytest.raises(DataError, match=rf"data\.parquet: .*{message}"):
        read_samples(tmp_path / "data.parquet")


def test_whole_numbers_that_a_gap_made_floats_are_labels(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    columns = {"path": ["a.png", "b.png"], "label": [3.0, 4.0], "group": [7.0, float("nan")]}
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    table = read_samples(tmp_path / "list.parquet")
    assert table.classes == ("3", "4")
    assert table.groups is not None
    assert table.groups[0] == "7"


def test_groups_and_splits_may_be_class_labels_and_odd_columns_cost_nothing(
    tmp_path: Path, images: list[bytes]
) -> None:
    features = {
        "image": {"_type": "Image"},
        "label": CLASS_LABEL,
        "group": {"names": ["p1", "p2"], "_type": "ClassLabel"},
        "split": {"names": ["train", "test"], "_type": "ClassLabel"},
    }
    table = pa.table(
        {
            "image": pa.array([{"bytes": image, "path": None} for image in images[:3]], IMAGE),
            "label": [0, 1, 2],
            "group": [1, 0, 0],
            "split": [0, 1, 1],
            "when": pa.array([2**61, 1, 2], pa.timestamp("us")),
        }
    )
    told = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    pq.write_table(table.replace_schema_metadata(told), tmp_path / "data.parquet")
    found = read_samples(tmp_path / "data.parquet")
    assert found.groups == ("p2", "p1", "p1")
    assert found.splits.tolist() == [0, 2, 2]
    assert found.columns.keys() <= {"when"}
    assert len([note for note in found.notes if "the column when is not used" in note]) == 1


def test_truth_values_are_labels(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["a.png", "b.png"])
    pq.write_table(pa.table({"path": ["a.png", "b.png"], "label": [True, False]}), tmp_path / "list.parquet")
    assert read_samples(tmp_path / "list.parquet").classes == ("0", "1")

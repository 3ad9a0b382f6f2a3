from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eyebright.data.archives import Limits
from eyebright.data.samples import UNASSIGNED
from eyebright.data.sources import read_samples
from eyebright.errors import DataError, ImageError, OutputError

pa = pytest.importorskip("pyarrow", exc_type=ImportError)
pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)

Encode = Callable[..., bytes]
WriteImages = Callable[[Path, Iterable[str]], None]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CLASS_LABEL = {"names": ["zebra", "ape", "cow"], "_type": "ClassLabel"}


def dataset(
    images: Sequence[bytes | None],
    labels: Sequence[Any],
    *,
    features: dict[str, Any] | None = None,
    names: tuple[str, str] = ("image", "label"),
    image_type: Any = IMAGE,
) -> Any:
    """A table as Hugging Face `datasets` writes it: the columns' meaning in the schema's metadata."""
    values = [{"bytes": image, "path": f"/etc/{row}.png"} for row, image in enumerate(images)]
    table = pa.table(
        {
            names[0]: pa.array(values if image_type == IMAGE else images, image_type),
            names[1]: pa.array(labels),
        }
    )
    if features is None:
        features = {names[0]: {"_type": "Image"}, names[1]: CLASS_LABEL}
    if not features:
        return table
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


@pytest.fixture
def images(encode: Encode) -> list[bytes]:
    return [encode(seed=seed) for seed in range(6)]


def save_to_disk(folder: Path, table: Any, *, shards: int = 2, split: str | None = None, batch_rows: int = 2) -> None:
    """What `Dataset.save_to_disk` writes: Arrow files in the stream format, state.json and dataset_info.json."""
    folder.mkdir(parents=True)
    files = []
    each = -(-table.num_rows // shards)
    for shard in range(shards):
        name = f"data-{shard:05d}-of-{shards:05d}.arrow"
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table.slice(shard * each, each), max_chunksize=batch_rows)
        files.append({"filename": name})
    (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": split}))
    (folder / "dataset_info.json").write_text("{}")


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


# Images in Parquet files


def test_images_in_parquet_files_are_read(tmp_path: Path, images: list[bytes]) -> None:
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


def test_splits_come_from_the_names_of_parquet_files(tmp_path: Path, images: list[bytes]) -> None:
    (tmp_path / "data").mkdir()
    for start, name in enumerate(["train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001"]):
        two = slice(2 * start, 2 * start + 2)
        pq.write_table(dataset(images[two], [0, 1]), tmp_path / "data" / f"{name}.parquet")
    (tmp_path / "README.md").write_text("a card")
    table = read_samples(tmp_path)
    assert table.splits.tolist() == [0, 0, 0, 0, 1, 1]
    assert [table.store.read(name) for name in table.names] == images
    assert len(read_samples(f"{tmp_path}/data/train-*.parquet")) == 4


@pytest.mark.parametrize("binary", [pa.binary(), pa.large_binary()])
def test_a_plain_column_of_bytes_with_names_as_labels_is_read(tmp_path: Path, images: list[bytes], binary: Any) -> None:
    table = dataset(images[:2], ["dog", "cat"], features={}, names=("img", "class"), image_type=binary)
    pq.write_table(table, tmp_path / "x.parquet")
    read = read_samples(tmp_path / "x.parquet")
    assert read.classes == ("cat", "dog")
    assert read.store.read(read.names[1]) == images[1]


def test_numbers_without_names_stand_for_themselves(tmp_path: Path, images: list[bytes]) -> None:
    pq.write_table(dataset(images[:2], [7, 3], features={}), tmp_path / "x.parquet")
    assert read_samples(tmp_path / "x.parquet").classes == ("3", "7")


def test_samples_without_a_label_are_left_out_with_a_note(tmp_path: Path, images: list[bytes]) -> None:
    pq.write_table(dataset(images[:4], [0, -1, None, 1]), tmp_path / "x.parquet")
    table = read_samples(tmp_path / "x.parquet")
    assert table.names == ("x.parquet: row 0", "x.parquet: row 3")
    assert table.notes == ("2 images without a label left out: x.parquet: row 1, x.parquet: row 2",)
    pq.write_table(dataset(images[:1], [-1]), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no image has a label"):
        read_samples(tmp_path / "x.parquet")


@pytest.mark.parametrize("kind", ["Sequence", "List"])
def test_a_list_of_class_labels_is_several_labels(tmp_path: Path, images: list[bytes], kind: str) -> None:
    features = {"image": {"_type": "Image"}, "labels": {"feature": CLASS_LABEL, "_type": kind}}
    table = dataset(images[:3], [[0, 1], [2], []], features=features, names=("image", "labels"))
    pq.write_table(table, tmp_path / "x.parquet")
    read = read_samples(tmp_path / "x.parquet")
    assert read.classes == ("ape", "cow", "zebra")
    assert read.label_sets is not None
    assert read.label_sets.tolist() == [[True, False, True], [False, True, False]]


def test_of_several_columns_of_labels_one_is_used_and_told(tmp_path: Path, images: list[bytes]) -> None:
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


def test_the_path_beside_the_bytes_is_never_opened(tmp_path: Path, images: list[bytes]) -> None:
    values = [{"bytes": None, "path": "/etc/passwd"}, {"bytes": images[0], "path": "/etc/passwd"}]
    table = pa.table({"image": pa.array(values, IMAGE), "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "x.parquet")
    save_to_disk(tmp_path / "saved", table, shards=1)
    for source in ("x.parquet", "saved"):
        read = read_samples(tmp_path / source)
        with pytest.raises(ImageError, match="holds no image, at most the path of one"):
            read.store.read(read.names[0])
        assert read.store.read(read.names[1]) == images[0]


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (("image", "label"), [0, 3], "x.parquet: row 1 has the label 3, but there are 3 classes"),
        (("image", "label"), [0.5, 0.5], "row 0 has the label 0.5; it must be a class's name or number"),
        (("image", "caption"), ["a", "b"], "has the columns image, caption, but none of labels"),
    ],
)
def test_labels_that_make_no_sense_are_refused(
    tmp_path: Path, images: list[bytes], names: tuple[str, str], labels: list[Any], message: str
) -> None:
    features: dict[str, Any] | None = None if names[1] == "label" else {}
    pq.write_table(dataset(images[:2], labels, features=features, names=names), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=message):
        read_samples(tmp_path / "x.parquet")


def test_a_damaged_parquet_file_is_named(tmp_path: Path, images: list[bytes]) -> None:
    path = tmp_path / "x.parquet"
    for content in (b"", b"PAR1", b"not parquet at all", b"PAR1" + bytes(100) + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.parquet: is damaged or can't be read"):
            read_samples(path)


def test_damaged_images_in_a_parquet_file_do_not_take_the_good_ones_along(tmp_path: Path, encode: Encode) -> None:
    path = tmp_path / "x.parquet"
    images = [encode(seed=seed) for seed in range(200)]
    pq.write_table(
        dataset(images, [0, 1] * 100), path, row_group_size=100, compression="none", write_page_checksum=True
    )
    content = bytearray(path.read_bytes())
    place = content.index(images[150])
    content[place : place + 4000] = bytes(4000)  # headers of pages too
    path.write_bytes(content)
    table = read_samples(path)
    assert table.store.read(table.names[0]) == images[0]
    assert table.store.read(table.names[99]) == images[99]
    with pytest.raises(ImageError, match=r"x\.parquet: row 150: is damaged in its file"):
        table.store.read(table.names[150])
    for row in range(100, 200):  # which ones are lost with it depends on the pages; none may come back altered
        try:
            content_of_row = table.store.read(table.names[row])
        except ImageError:
            continue
        assert content_of_row == images[row]


def test_a_parquet_file_that_unpacks_to_far_more_than_its_size_is_refused(
    tmp_path: Path, images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(dataset([bytes(1_000_000), bytes(1_000_001)], [0, 1]), path, compression="zstd")
    monkeypatch.setattr("eyebright.data.parquet.LIMITS", Limits(ratio_counts_from=1_500_000))
    table = read_samples(path)
    with pytest.raises(DataError, match=r"x\.parquet: unpacks to more than 200 times its size"):
        table.store.read(table.names[0])


def test_a_full_disk_is_told(tmp_path: Path, images: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(dataset(images, [0, 1] * 3), tmp_path / "x.parquet")
    table = read_samples(tmp_path / "x.parquet")
    full = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115 - the store closes it
    monkeypatch.setattr("tempfile.TemporaryFile", lambda prefix: full)
    with pytest.raises(OutputError, match=r"x\.parquet: can't be unpacked into .*No space left.*TMPDIR"):
        table.store.read(table.names[0])
    assert full.closed
    monkeypatch.undo()  # there is room again
    assert [table.store.read(name) for name in table.names] == images


def test_a_parquet_file_that_is_gone_when_its_images_are_wanted_is_an_image_error(
    tmp_path: Path, images: list[bytes]
) -> None:
    pq.write_table(dataset(images, [0, 1] * 3), tmp_path / "x.parquet")
    table = read_samples(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").unlink()
    with pytest.raises(ImageError, match=r"x\.parquet: row 0: can't be read"):
        table.store.read(table.names[0])


# A folder from save_to_disk


def test_a_saved_dataset_is_read(tmp_path: Path, images: list[bytes]) -> None:
    save_to_disk(tmp_path / "saved", dataset(images, [0, 1, 2, 0, 1, 2]), shards=2)
    table = read_samples(tmp_path / "saved")
    assert [table.classes[label] for label in table.labels] == ["zebra", "ape", "cow"] * 2
    assert table.names[5] == "data-00001-of-00002.arrow: row 2"
    assert [table.store.read(name) for name in reversed(table.names)] == images[::-1]
    assert set(table.splits.tolist()) == {UNASSIGNED}
    with pytest.raises(ImageError, match="there is no such row"):
        table.store.read("data-00001-of-00002.arrow: row 3")


def test_a_saved_dataset_of_splits_keeps_them(tmp_path: Path, images: list[bytes]) -> None:
    for start, split in enumerate(["train", "validation", "extra"]):
        two = slice(2 * start, 2 * start + 2)
        save_to_disk(tmp_path / "saved" / split, dataset(images[two], [0, 1]), shards=1, split=split)
    (tmp_path / "saved" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "extra"]}')
    table = read_samples(tmp_path / "saved")
    assert table.splits.tolist() == [0, 0, 1, 1, UNASSIGNED, UNASSIGNED]
    assert table.names[2] == "validation/data-00000-of-00001.arrow: row 0"
    assert [table.store.read(name) for name in table.names] == images
    assert 'the split "extra" is none of train, val and test' in table.notes[0]


def test_class_names_may_stand_in_dataset_info_only(tmp_path: Path, images: list[bytes]) -> None:
    save_to_disk(tmp_path / "saved", dataset(images, [0, 1] * 3, features={}))
    info = {"features": {"image": {"_type": "Image"}, "label": CLASS_LABEL}}
    (tmp_path / "saved" / "dataset_info.json").write_text(json.dumps(info))
    assert read_samples(tmp_path / "saved").classes == ("ape", "zebra")


@pytest.mark.parametrize("evil", ["../secret.arrow", "/etc/passwd", "..", "", "a\\b", 3])
def test_a_saved_dataset_can_not_name_files_elsewhere(tmp_path: Path, images: list[bytes], evil: Any) -> None:
    save_to_disk(tmp_path / "saved", dataset(images, [0, 1] * 3))
    (tmp_path / "saved" / "data-00000-of-00002.arrow").rename(tmp_path / "secret.arrow")
    (tmp_path / "saved" / "state.json").write_text(json.dumps({"_data_files": [{"filename": evil}]}))
    with pytest.raises(DataError, match=r"state\.json: does not list the data's files beside it"):
        read_samples(tmp_path / "saved")
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": [evil]}))
    with pytest.raises(DataError, match=r"dataset_dict\.json does not list the splits"):
        read_samples(tmp_path / "saved")


def test_a_saved_dataset_that_is_damaged_is_named(tmp_path: Path, images: list[bytes]) -> None:
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


def test_arrow_files_without_their_state_are_refused_with_a_way_out(tmp_path: Path, images: list[bytes]) -> None:
    save_to_disk(tmp_path / "saved", dataset(images, [0, 1] * 3))
    (tmp_path / "saved" / "state.json").unlink()
    with pytest.raises(DataError, match=r"holds Arrow files without the state\.json"):
        read_samples(tmp_path / "saved")


# Both


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("source", ["x.parquet", "saved"])
def test_many_threads_read_what_one_reads(tmp_path: Path, encode: Encode, source: str) -> None:
    images = [encode(seed=seed) for seed in range(40)]
    pq.write_table(dataset(images, [0, 1] * 20), tmp_path / "x.parquet", row_group_size=7)
    save_to_disk(tmp_path / "saved", dataset(images, [0, 1] * 20), shards=3)
    table = read_samples(tmp_path / source)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(table.store.read, table.names * 20)) == images * 20


@pytest.mark.parametrize("source", ["x.parquet", "saved"])
def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, images: list[bytes], source: str) -> None:
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

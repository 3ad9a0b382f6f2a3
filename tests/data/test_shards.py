from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.data.shards import list_shards
from eyebright.data.sources import read_samples
from eyebright.errors import DataError, ImageError

Encode = Callable[..., bytes]
WriteShard = Callable[..., Path]


@pytest.fixture
def write_shard(tmp_path: Path, encode: Encode) -> WriteShard:
    """A tar of these members; None stands for an image, text and other values for a label file's content."""

    def write(members: Mapping[str, object], name: str = "shards/shard-000.tar") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as file:
            for seed, (member, value) in enumerate(members.items()):
                content = encode(seed=seed) if value is None else value if isinstance(value, bytes) else b""
                if value is not None and not isinstance(value, bytes):
                    content = (value if isinstance(value, str) else json.dumps(value)).encode()
                info = tarfile.TarInfo(member)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
        return path

    return write


def placed(table: SampleTable) -> dict[str, str]:
    """Name -> class name."""
    return {name: table.classes[label] for name, label in zip(table.names, table.labels.tolist(), strict=True)}


def test_the_number_in_a_cls_file_is_the_label(write_shard: WriteShard, encode: Encode) -> None:
    path = write_shard({"0001.png": None, "0001.cls": "3\n", "0002.jpg": None, "0002.cls": "11"})
    table = read_samples(path)
    assert placed(table) == {"shard-000.tar/0001.png": "3", "shard-000.tar/0002.jpg": "11"}
    assert table.store.read("shard-000.tar/0002.jpg") == encode(seed=2)
    assert table.store.locate("shard-000.tar/0002.jpg") == f"{path}/0002.jpg"
    assert table.notes == ("read as WebDataset shards (1), with the labels in .cls files",)


def test_names_in_cls_files_are_classes(write_shard: WriteShard) -> None:
    table = read_samples(write_shard({"a.png": None, "a.cls": "cat", "b.png": None, "b.cls": "12", "c.png": b"x"}))
    assert placed(table) == {"shard-000.tar/a.png": "cat", "shard-000.tar/b.png": "12"}
    assert table.notes[1] == "1 image without a label left out: shard-000.tar/c.png"


def test_classes_txt_beside_the_shards_names_the_numbers(write_shard: WriteShard) -> None:
    path = write_shard({"a.png": None, "a.cls": "0", "b.png": None, "b.cls": "2"})
    (path.parent / "classes.txt").write_text("zebra\nunused\nape\n")
    table = read_samples(path.parent)
    assert placed(table) == {"shard-000.tar/a.png": "zebra", "shard-000.tar/b.png": "ape"}
    assert table.notes[1:] == ("1 class has no image and is not used: unused",)
    (path.parent / "classes.txt").write_text("zebra\nape\n")
    with pytest.raises(DataError, match=r"shard-000\.tar/b\.png has the label 2, but classes\.txt lists 2 classes"):
        read_samples(path)
    (path.parent / "classes.txt").write_text("zebra\n\nzebra\n")
    with pytest.raises(DataError, match=r"classes\.txt: must hold one name a line"):
        read_samples(path)


def test_classes_txt_may_lie_in_the_tar(write_shard: WriteShard) -> None:
    members = {"classes.txt": "ape\nzebra", "a.png": None, "a.cls": "1", "b.png": None, "b.cls": "0"}
    assert placed(read_samples(write_shard(members)))["shard-000.tar/a.png"] == "zebra"


@pytest.mark.parametrize(
    ("kind", "labels"),
    [("json", ({"label": "cat"}, {"label": "dog"})), ("json", ({"label": 0}, {"label": 1})), ("txt", ("cat", "dog"))],
)
def test_labels_stand_in_json_and_txt_too(write_shard: WriteShard, kind: str, labels: tuple[object, object]) -> None:
    members = {"a.png": None, f"a.{kind}": labels[0], "b.png": None, f"b.{kind}": labels[1]}
    table = read_samples(write_shard(members))
    assert table.labels.tolist() == [0, 1]
    assert table.classes in (("cat", "dog"), ("0", "1"))
    assert f"labels in .{kind} files" in table.notes[0]


def test_json_without_a_label_is_a_sample_without_one(write_shard: WriteShard) -> None:
    members: dict[str, object] = {f"{key}.png": None for key in "abc"}
    members |= {"a.json": {"label": "x"}, "b.json": {"label": "y"}, "c.json": {"caption": "z"}}
    table = read_samples(write_shard(members))
    assert len(table) == 2
    assert "1 image without a label" in table.notes[1]


def test_of_several_images_with_one_key_the_plain_one_counts(write_shard: WriteShard) -> None:
    members = {"a.mask.png": None, "a.png": None, "a.cls": "0", "b.depth.png": None, "b.jpg": None, "b.cls": "1"}
    assert read_samples(write_shard(members)).names == ("shard-000.tar/a.png", "shard-000.tar/b.jpg")


def test_a_key_ends_at_the_first_dot_of_the_files_name(write_shard: WriteShard) -> None:
    members = {"v1.2/a.png": None, "v1.2/a.cls": "0", "v1.3/a.png": None, "v1.3/a.cls": "1"}
    assert read_samples(write_shard(members)).labels.tolist() == [0, 1]


def test_a_tar_of_class_folders_with_captions_stays_one(write_shard: WriteShard) -> None:
    members: dict[str, object] = {}
    for label in ("cat", "dog"):
        for i in range(3):
            members |= {f"{label}/{i}.png": None, f"{label}/{i}.txt": "a caption", f"{label}/{i}.json": {"label": "x"}}
    table = read_samples(write_shard(members))
    assert table.classes == ("cat", "dog")
    assert table.notes[0].startswith("read as class folders")


def test_captions_are_no_classes(write_shard: WriteShard) -> None:
    members: dict[str, object] = {}
    for i in range(6):
        members |= {f"{i}.png": None, f"{i}.txt": f"photo number {i}"}
    with pytest.raises(DataError, match="6 different texts for 6 images; these look like captions"):
        read_samples(write_shard(members))


@pytest.mark.parametrize(
    ("member", "content", "message"),
    [
        ("b.json", '{"label": ', "is no valid JSON"),
        ("b.json", {"label": [1]}, '"label" must be a class\'s name or number, not list'),
        ("b.json", {"label": True}, "not bool"),
        ("b.json", {"label": " "}, "should hold the name or number of a class"),
        ("b.cls", "", "should hold the name or number of a class"),
        ("b.cls", "one\ntwo", "on one line"),
        ("b.cls", "x" * 201, "on one line"),
    ],
)
def test_a_label_file_that_makes_no_sense_is_named(
    write_shard: WriteShard, member: str, content: object, message: str
) -> None:
    other = member.replace("b.", "a.")
    path = write_shard(
        {"a.png": None, other: {"label": 1} if other == "a.json" else "1", "b.png": None, member: content}
    )
    with pytest.raises(DataError, match=rf"shard-000\.tar/{member}: .*{message}"):
        read_samples(path)


# Many shards


@pytest.fixture
def shards(write_shard: WriteShard, tmp_path: Path) -> Path:
    """A folder with train-000.tar, train-001.tar, val-000.tar.gz and test/000.tar, two samples each."""
    for name in ("train-000.tar", "train-001.tar", "val-000.tar.gz", "test/000.tar"):
        write_shard({"a.png": None, "a.cls": "0", "b.png": None, "b.cls": "1"}, f"shards/{name}")
    return tmp_path / "shards"


def test_a_folder_of_shards_is_one_table_with_splits_from_their_names(shards: Path) -> None:
    table = read_samples(shards)
    assert len(table) == len(set(table.names)) == 8
    assert {name.rpartition("/")[0]: split for name, split in zip(table.names, table.splits.tolist(), strict=True)} == {
        "train-000.tar": 0,
        "train-001.tar": 0,
        "val-000.tar.gz": 1,
        "test/000.tar": 2,
    }
    assert all(isinstance(table.store.read(name), bytes) for name in table.names)
    with pytest.raises(ImageError, match="is in none of the shards"):
        table.store.read("train-002.tar/a.png")
    with pytest.raises(ImageError, match="is not in the archive"):
        table.store.read("train-001.tar/c.png")


def test_a_pattern_names_shards(shards: Path) -> None:
    table = read_samples(f"{shards}/train-{{000..001}}.tar")
    assert table.names[0] == "train-000.tar/a.png"
    assert len(table) == 4
    assert len(read_samples(f"{shards}/{{train-000,train-001}}.tar")) == 4
    assert len(read_samples(f"{shards}/train-*.tar")) == 4
    assert len(read_samples(f"{shards}/{{train-*.tar,val-*.tar.gz}}")) == 6


def test_test_shards_alone_are_no_division(shards: Path) -> None:
    assert set(read_samples(shards / "test" / "000.tar").splits.tolist()) == {UNASSIGNED}
    (shards / "test" / "000.tar").rename(shards / "test" / "test-000.tar")
    assert set(read_samples(shards / "test").splits.tolist()) == {UNASSIGNED}


def test_a_shard_that_is_not_there_is_named(shards: Path) -> None:
    with pytest.raises(DataError, match=r"1 file is not there: .*train-002\.tar"):
        read_samples(f"{shards}/train-{{000..002}}.tar")
    with pytest.raises(DataError, match=r"none-\*\.tar: no file is named so"):
        read_samples(f"{shards}/none-*.tar")
    with pytest.raises(DataError, match="names more than 100,000 shards"):
        list_shards("x-{0..999999999999}.tar")
    with pytest.raises(DataError, match="names more than 100,000 shards"):
        list_shards("{1..999}{1..999}")


def test_braces_are_written_out_in_order(tmp_path: Path) -> None:
    for name in ("a08.tar", "a09.tar", "a10.tar", "b08.tar", "b09.tar", "b10.tar"):
        (tmp_path / name).touch()
    found = [Path(path).name for path in list_shards(f"{tmp_path}/{{b,a}}{{08..10}}.tar")]
    assert found == ["b08.tar", "b09.tar", "b10.tar", "a08.tar", "a09.tar", "a10.tar"]


def test_several_tars_of_class_folders_are_refused(write_shard: WriteShard, tmp_path: Path) -> None:
    for i in range(2):
        write_shard({"cat/1.png": None, "dog/1.png": None}, f"shards/{i}.tar")
    with pytest.raises(DataError, match="2 tar files, but their images have no labels beside them"):
        read_samples(tmp_path / "shards")


def test_what_leads_out_of_a_shard_is_left_out_with_a_note(write_shard: WriteShard) -> None:
    members = {"a.png": None, "a.cls": "0", "b.png": None, "b.cls": "1", "../c.png": None, "../c.cls": "1"}
    table = read_samples(write_shard(members))
    assert len(table) == 2
    assert "left out: 2 entries that are links or devices or lead out of the archive" in table.notes[-1]

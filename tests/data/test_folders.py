from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from eyebright.data.decode import decode
from eyebright.data.folders import read_folder
from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.errors import DataError, ImageError

WriteImages = Callable[[Path, Iterable[str]], None]


def read(root: Path, min_classes: int = 2) -> SampleTable:
    return read_folder(str(root), min_classes=min_classes)


def placed(table: SampleTable) -> dict[str, str]:
    """Name -> class name."""
    return {name: table.classes[label] for name, label in zip(table.names, table.labels.tolist(), strict=True)}


def test_each_folder_is_a_class(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["dog/1.png", "cat/2.jpg", "cat/1.JPEG", "cat/3.TIFF"])
    table = read(tmp_path)
    assert table.classes == ("cat", "dog")
    assert placed(table) == {"cat/1.JPEG": "cat", "cat/2.jpg": "cat", "cat/3.TIFF": "cat", "dog/1.png": "dog"}
    assert (table.splits == UNASSIGNED).all()
    assert table.notes == ()


@pytest.mark.parametrize("val", ["val", "valid", "validation", "dev", "Val"])
def test_split_folders_are_splits_under_all_their_names(tmp_path: Path, write_images: WriteImages, val: str) -> None:
    write_images(tmp_path, ["train/cat/1.png", "train/dog/1.png", f"{val}/cat/1.png", "TEST/dog/1.png"])
    table = read(tmp_path)
    assert table.classes == ("cat", "dog")
    assert table.split("train").names == ("train/cat/1.png", "train/dog/1.png")
    assert table.split("val").names == (f"{val}/cat/1.png",)
    assert table.split("test").names == ("TEST/dog/1.png",)


def test_a_class_missing_in_validation_shifts_nothing(tmp_path: Path, write_images: WriteImages) -> None:
    classes = ["ant", "bee", "cat", "dog"]
    write_images(tmp_path, [f"train/{name}/1.png" for name in classes])
    write_images(tmp_path, [f"val/{name}/2.png" for name in classes if name != "bee"])
    table = read(tmp_path)
    assert table.classes == ("ant", "bee", "cat", "dog")
    for name, label in placed(table).items():
        assert name.split("/")[1] == label


def test_equal_leaf_names_stay_two_classes(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["a/new/1.png", "b/new/1.png", "a/old/1.png", "a/2.png"])
    assert read(tmp_path).classes == ("a", "a/new", "a/old", "b/new")


def test_equal_leaf_names_stay_two_classes_below_split_folders(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["train/a/new/1.png", "train/b/new/1.png", "val/b/new/2.png"])
    table = read(tmp_path)
    assert table.classes == ("a/new", "b/new")
    assert placed(table)["val/b/new/2.png"] == "b/new"


def test_a_class_may_be_called_train_beside_others(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["train/1.png", "plane/1.png", "ship/1.png"])
    table = read(tmp_path)
    assert table.classes == ("plane", "ship", "train")
    assert (table.splits == UNASSIGNED).all()


def test_split_folders_beside_other_folders_are_refused(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["train/cat/1.png", "train/dog/1.png", "extra/1.png"])
    with pytest.raises(DataError, match=r"split folders \(train\) stand beside other folders with images \(extra\)"):
        read(tmp_path)


def test_a_folder_that_wraps_split_folders_is_looked_through(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["photos/train/cat/1.png", "photos/train/dog/1.png", "photos/test/cat/1.png"])
    table = read(tmp_path)
    assert table.classes == ("cat", "dog")
    assert len(table.rows("test")) == 1


def test_images_outside_class_folders_are_left_out_with_a_note(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["stray.png", "cat/1.png", "dog/1.png"])
    table = read(tmp_path)
    assert len(table) == 2
    assert table.notes == ("1 image outside any class folder left out: stray.png",)


def test_unlabelled_images_in_a_split_folder_are_left_out_with_a_note(
    tmp_path: Path, write_images: WriteImages
) -> None:
    write_images(tmp_path, ["train/cat/1.png", "train/dog/1.png", "test/1.png", "test/2.png"])
    table = read(tmp_path)
    assert table.names == ("train/cat/1.png", "train/dog/1.png")
    assert table.notes == ("2 images outside any class folder left out: test/1.png, test/2.png",)


def test_hidden_and_system_files_are_skipped_silently(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(
        tmp_path, ["cat/1.png", "dog/1.png", "cat/._1.png", ".cache/x/1.png", "__MACOSX/cat/1.png", "cat/.hid.png"]
    )
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (tmp_path / "cat" / name).write_bytes(b"x")
    table = read(tmp_path)
    assert table.names == ("cat/1.png", "dog/1.png")
    assert table.notes == ()


def test_other_files_are_left_out_with_a_note(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["cat/1.png", "dog/1.png"])
    (tmp_path / "LICENSE").write_text("free")
    (tmp_path / "cat" / "notes.txt").write_text("furry")
    assert read(tmp_path).notes == ("2 files that are no images left out: LICENSE, cat/notes.txt",)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty; put one folder per class into it"):
        read(tmp_path)
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="is empty; put one folder per class into it"):
        read(tmp_path)


def test_a_folder_without_images_but_with_other_files_is_refused_with_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    for name in ("a.txt", "b.txt", "cat/c.mp4"):
        (tmp_path / name).write_text("x")
    with pytest.raises(DataError, match=r"holds 3 files \(2 \.txt, 1 \.mp4\) but no images; images end in"):
        read(tmp_path)


def test_one_class_only_is_refused(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["cat/1.png", "cat/2.png"])
    with pytest.raises(DataError, match='holds only one class, "cat"; telling images apart takes at least 2'):
        read(tmp_path)
    assert read(tmp_path, min_classes=1).classes == ("cat",)


@pytest.mark.parametrize("names", [["1.png", "2.png"], ["train/1.png", "a.png", "2.png"]])
def test_images_without_class_folders_are_refused(tmp_path: Path, write_images: WriteImages, names: list[str]) -> None:
    write_images(tmp_path, names)
    with pytest.raises(DataError, match=r"no class folders|only one class"):
        read(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "with space",
        "it's",
        'a "quote"',
        "new\nline",
        "tab\t",
        "ünïcödé",
        "日本語",
        "-rf",
        "a,b;c",
        "100%",
        "$HOME",
        "🐈",
    ],
)
def test_names_of_any_kind_work(tmp_path: Path, write_images: WriteImages, name: str) -> None:
    write_images(tmp_path, [f"{name}/{name}.png", "other/1.png"])
    table = read(tmp_path)
    assert set(table.classes) == {name, "other"}
    for each in table.names:
        content = table.store.read(each)
        assert isinstance(content, bytes)
        assert decode(content, each).shape == (16, 24, 3)


def test_names_that_are_no_unicode_work(tmp_path: Path, write_images: WriteImages) -> None:
    strange = os.fsdecode(b"caf\xe9")
    try:
        write_images(tmp_path, [f"{strange}/{strange}.png", "other/1.png"])
    except OSError:
        pytest.skip("needs a file system that takes any bytes for a name")
    table = read(tmp_path)
    assert table.classes == ("caf\\xe9", "other")
    "".join(table.classes).encode()  # fit for a JSON file and a terminal
    assert isinstance(table.store.read(f"{strange}/{strange}.png"), bytes)


def test_two_spellings_of_an_accent_are_one_class(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["train/caf\u00e9/1.png", "train/tea/1.png", "val/cafe\u0301/1.png"])
    table = read(tmp_path)
    assert table.classes == ("caf\u00e9", "tea")
    assert table.labels.tolist() == [0, 1, 0]


def test_links_to_folders_are_followed_and_loops_are_harmless(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "elsewhere", ["1.png"])
    write_images(tmp_path / "data", ["cat/1.png"])
    data = tmp_path / "data"
    (data / "dog").symlink_to(tmp_path / "elsewhere")
    (data / "cat" / "up").symlink_to(data)
    (data / "cat" / "self").symlink_to(".")
    (data / "nowhere").symlink_to("nowhere")
    table = read(data)
    assert table.classes == ("cat", "dog")
    assert table.names == ("cat/1.png", "dog/1.png")


def test_a_link_to_nowhere_is_a_sample_that_can_not_be_read(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["cat/1.png", "dog/1.png"])
    (tmp_path / "cat" / "gone.png").symlink_to("moved-away.png")
    table = read(tmp_path)
    assert "cat/gone.png" in table.names
    with pytest.raises(ImageError, match=r"gone\.png: does not exist"):
        table.store.read("cat/gone.png")


def test_a_pipe_among_the_images_is_passed_over(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["cat/1.png", "dog/1.png"])
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    assert read(tmp_path).names == ("cat/1.png", "dog/1.png")


def test_a_folder_that_can_not_be_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: the folder can't be listed"):
        read(tmp_path / "none")


def test_the_order_on_disk_does_not_matter(tmp_path: Path, write_images: WriteImages) -> None:
    names = [f"{label}/{i}.png" for label in "zya" for i in (10, 9, 1)]
    write_images(tmp_path / "one", names)
    write_images(tmp_path / "two", reversed(names))
    one, two = read(tmp_path / "one"), read(tmp_path / "two")
    assert one.names == two.names == tuple(sorted(names))
    assert np.array_equal(one.labels, two.labels)


def test_folders_without_images_are_named(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "flat", ["cat/1.png", "dog/1.png", "dog/more/2.png"])
    (tmp_path / "flat" / "elk").mkdir()
    (tmp_path / "flat" / ".git").mkdir()
    assert read(tmp_path / "flat").notes == ("1 folder holds no image and is no class: elk",)
    write_images(tmp_path / "split", ["train/cat/1.png", "train/dog/1.png", "test/cat/1.png"])
    (tmp_path / "split" / "test" / "dog").mkdir()
    (tmp_path / "split" / "val").mkdir()
    assert read(tmp_path / "split").notes == ("2 folders hold no image and are no class: val, test/dog",)

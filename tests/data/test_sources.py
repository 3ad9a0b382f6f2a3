from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from eyebright.data.cache import read_squares
from eyebright.data.decode import decode
from eyebright.data.samples import SampleTable
from eyebright.data.sources import read_samples, read_unlabelled
from eyebright.data.splits import assign_splits
from eyebright.errors import DataError, ImageError
from eyebright.preprocess import Preprocessing

WriteImages = Callable[[Path, Iterable[str]], None]
HashTree = Callable[[Path], dict[str, str]]
NAMES = [f"{label}/{i}.png" for label in ("cat", "dog") for i in range(4)]


def zipped(root: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as file:
        for path in sorted(root.rglob("*")):
            file.write(path, path.relative_to(root.parent))
    return target


def test_a_folder_its_zip_and_its_manifest_give_the_same_table(tmp_path: Path, write_images: WriteImages) -> None:
    root = tmp_path / "photos"
    write_images(root, NAMES)
    archive = zipped(root, tmp_path / "photos.zip")
    manifest = tmp_path / "photos.csv"
    manifest.write_text("path,label\n" + "".join(f"photos/{name},{name[:3]}\n" for name in NAMES))
    folder = read_samples(root)
    with tarfile.open(tmp_path / "photos.tar", "w") as plain, tarfile.open(tmp_path / "photos.tgz", "w:gz") as packed:
        for tar in (plain, packed):
            tar.add(root, "photos")
    for source in (str(root), archive, manifest, tmp_path / "photos.tar", tmp_path / "photos.tgz"):
        table = read_samples(source)
        assert table.classes == folder.classes
        assert table.labels.tolist() == folder.labels.tolist()
        assert [table.store.read(name) for name in table.names] == [folder.store.read(name) for name in folder.names]


def test_arrays_give_the_same_table_from_a_tuple_and_a_file(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 5), dtype=np.uint8)
    labels = np.array([0, 1, 1, 0])
    np.savez(tmp_path / "data.npz", images=images, labels=labels, classes=np.array(["b", "a"]))
    of_file = read_samples(tmp_path / "data.npz")
    of_tuple = read_samples((images, labels, ["b", "a"]))
    assert of_file.classes == of_tuple.classes == ("a", "b")
    assert of_file.labels.tolist() == of_tuple.labels.tolist() == [1, 0, 0, 1]
    assert of_file.names == of_tuple.names


def test_a_table_is_returned_as_it_is(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, NAMES)
    table = read_samples(tmp_path)
    assert read_samples(table) is table


def test_what_is_no_source_is_refused_with_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: does not exist"):
        read_samples(tmp_path / "none")
    (tmp_path / "photos.rar").write_bytes(b"x")
    with pytest.raises(DataError, match=r"give a folder of class folders, or a \.zip, \.tar, \.csv, .* file"):
        read_samples(tmp_path / "photos.rar")
    with pytest.raises(DataError, match="a tuple of 1 is no data"):
        read_samples((np.zeros((1, 2, 2)),))


def test_a_single_class_is_taken_where_it_is_allowed() -> None:
    arrays = (np.zeros((2, 4, 4), np.uint8), ["cat", "cat"])
    assert read_samples(arrays, min_classes=1).classes == ("cat",)
    with pytest.raises(DataError, match="only one class"):
        read_samples(arrays)


@pytest.mark.parametrize("kind", ["folder", "zip", "manifest"])
def test_source_files_are_never_changed(
    tmp_path: Path, write_images: WriteImages, hash_tree: HashTree, kind: str
) -> None:
    root = tmp_path / "data" / "photos"
    write_images(root, NAMES)
    (root / "cat" / "broken.png").write_bytes(b"broken")
    sources = {
        "folder": root,
        "zip": zipped(root, tmp_path / "data" / "z.zip"),
        "manifest": tmp_path / "data" / "l.csv",
    }
    sources["manifest"].write_text("path,label\n" + "".join(f"photos/{name},{name[:3]}\n" for name in NAMES))
    before = hash_tree(tmp_path / "data")
    table = assign_splits(read_samples(sources[kind]))
    read_squares(table, Preprocessing(image_size=8, resize=8))
    assert hash_tree(tmp_path / "data") == before
    assert len(before) == 11


# Images without labels


def unlabelled(*paths: str | Path) -> tuple[list[str], list[str]]:
    """(names that can be read, names that can't)."""
    store, names = read_unlabelled(paths)
    readable, unreadable = [], []
    for name in names:
        try:
            content = store.read(name)
            assert isinstance(content, bytes)
            decode(content, name)
        except ImageError:
            unreadable.append(name)
        else:
            readable.append(name)
    return readable, unreadable


@pytest.fixture
def inside(tmp_path: Path, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos/b.png, a.png, deep/c.png, notes.txt and hidden.png, as the working folder."""
    write_images(tmp_path / "photos", ["b.png", "a.png", "deep/c.png", ".hidden.png"])
    (tmp_path / "photos" / "notes.txt").write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_gives_its_images_sorted(inside: Path) -> None:
    assert unlabelled("photos") == (["photos/a.png", "photos/b.png", "photos/deep/c.png"], [])


def test_files_keep_the_order_given(inside: Path) -> None:
    assert unlabelled("photos/b.png", "photos/a.png") == (["photos/b.png", "photos/a.png"], [])


def test_what_is_named_twice_is_kept_once(inside: Path) -> None:
    names, _ = unlabelled("photos/b.png", "./photos/b.png", inside / "photos" / "b.png", "photos")
    assert names == ["photos/b.png", "photos/a.png", "photos/deep/c.png"]


def test_a_pattern_is_expanded_sorted(inside: Path) -> None:
    assert unlabelled("photos/*.png") == (["photos/a.png", "photos/b.png"], [])
    assert unlabelled("**/c.*") == (["photos/deep/c.png"], [])


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(inside: Path) -> None:
    (inside / "photos" / "[ab].png").write_bytes((inside / "photos" / "a.png").read_bytes())
    assert unlabelled("photos/[ab].png") == (["photos/[ab].png"], [])


def test_what_is_not_there_stays_as_a_name_that_can_not_be_read(inside: Path) -> None:
    assert unlabelled("photos/a.png", "gone.png", "x*.png", "a\0b") == (
        ["photos/a.png"],
        ["gone.png", "x*.png", "a\0b"],
    )


def test_a_named_file_is_tried_whatever_its_suffix(inside: Path) -> None:
    os.rename("photos/a.png", "photos/picture")
    assert unlabelled("photos/picture", "photos/notes.txt") == (["photos/picture"], ["photos/notes.txt"])


def test_a_zip_gives_its_images(inside: Path) -> None:
    zipped(inside / "photos", inside / "all.zip")
    names, _ = unlabelled("all.zip", "photos/a.png")
    assert names == ["all.zip/photos/a.png", "all.zip/photos/b.png", "all.zip/photos/deep/c.png", "photos/a.png"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_gives_its_images(inside: Path, mode: Literal["w", "w:gz", "w:xz"]) -> None:
    name = f"all.tar{mode[1:].replace(':', '.')}"
    with tarfile.open(name, mode) as file:
        file.add("photos")
        link = tarfile.TarInfo("photos/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "a.png"
        file.addfile(link)
    names, unreadable = unlabelled(name, "photos/a.png")
    assert names == [f"{name}/photos/a.png", f"{name}/photos/b.png", f"{name}/photos/deep/c.png", "photos/a.png"]
    assert unreadable == []


def test_an_archive_beside_images_does_not_make_a_folder_of_shards(inside: Path, write_images: WriteImages) -> None:
    write_images(inside / "data", NAMES)
    (inside / "data" / "backup.tar").write_bytes(b"x")
    (inside / "data" / "cat" / "table.parquet").write_bytes(b"x")
    table = read_samples(inside / "data")
    assert len(table) == 8
    assert table.notes == ("2 files that are no images left out: backup.tar, cat/table.parquet",)


def test_tars_and_tables_in_one_folder_are_refused(tmp_path: Path) -> None:
    for name in ("a.tar", "b.parquet"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError, match="holds tar and Parquet files; give one kind"):
        read_samples(tmp_path)


def test_nothing_at_all_is_refused(inside: Path) -> None:
    with pytest.raises(DataError, match="no images were given"):
        read_unlabelled([])
    (inside / "empty").mkdir()
    with pytest.raises(DataError, match="no images in empty"):
        read_unlabelled(["empty"])


def test_the_table_says_what_a_reader_of_it_may_count_on(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, NAMES)
    table = read_samples(tmp_path)
    assert isinstance(table, SampleTable)
    assert len(set(table.names)) == len(table) == 8
    assert list(table.classes) == sorted(table.classes)
    assert table.counts() == {"cat": 4, "dog": 4}

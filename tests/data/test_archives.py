from __future__ import annotations

import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eyebright.data.archives import LIMITS, Limits, ZipStore, read_zip
from eyebright.errors import DataError, ImageError

Encode = Callable[..., bytes]
WriteZip = Callable[[Sequence[str]], str]


@pytest.fixture
def write_zip(tmp_path: Path, encode: Encode) -> WriteZip:
    """A zip with a different PNG for each of these names."""

    def write(names: Sequence[str]) -> str:
        path = tmp_path / "photos.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for seed, name in enumerate(names):
                file.writestr(name, encode(seed=seed))
        return str(path)

    return write


def test_a_zip_of_class_folders_is_read_in_place(tmp_path: Path, write_zip: WriteZip, encode: Encode) -> None:
    table = read_zip(write_zip(["dog/1.png", "cat/1.png"]), min_classes=2)
    assert table.classes == ("cat", "dog")
    assert table.names == ("cat/1.png", "dog/1.png")
    assert table.store.read("dog/1.png") == encode(seed=0)
    assert table.store.locate("dog/1.png").endswith("photos.zip/dog/1.png")
    assert [path.name for path in tmp_path.iterdir()] == ["photos.zip"]


@pytest.mark.parametrize("top", ["photos", "my photos/2024"])
def test_folders_that_wrap_everything_are_looked_through(write_zip: WriteZip, top: str) -> None:
    table = read_zip(write_zip([f"{top}/cat/1.png", f"{top}/dog/1.png", f"__MACOSX/{top}/cat/._1.png"]), min_classes=2)
    assert table.classes == ("cat", "dog")
    table = read_zip(write_zip([f"{top}/train/cat/1.png", f"{top}/train/dog/1.png"]), min_classes=2)
    assert table.classes == ("cat", "dog")
    assert len(table.rows("train")) == 2


@pytest.mark.parametrize("cover", ["photos/cover.png", "cover.png"])
def test_a_picture_beside_the_class_folders_does_not_hide_them(write_zip: WriteZip, cover: str) -> None:
    table = read_zip(write_zip(["photos/cat/1.png", "photos/dog/1.png", cover]), min_classes=2)
    assert table.classes == ("cat", "dog")
    assert table.notes == (f"1 image outside any class folder left out: {cover}",)


def test_a_zip_with_only_a_train_folder_keeps_it_as_a_split(write_zip: WriteZip) -> None:
    table = read_zip(write_zip(["train/cat/1.png", "train/dog/1.png"]), min_classes=2)
    assert table.classes == ("cat", "dog")
    assert len(table.rows("train")) == 2


@pytest.mark.parametrize("evil", ["../../evil/1.png", "cat/../../../evil.png"])
def test_an_entry_that_climbs_out_is_left_out_with_a_note(tmp_path: Path, write_zip: WriteZip, evil: str) -> None:
    table = read_zip(write_zip(["cat/1.png", "dog/1.png", evil]), min_classes=2)
    assert table.names == ("cat/1.png", "dog/1.png")
    assert evil in table.notes[0]
    assert [path.name for path in tmp_path.iterdir()] == ["photos.zip"]


@pytest.mark.parametrize("evil", ["/etc/1.png", "C:/cat/1.png", "C:\\cat\\1.png", "cat/..\\..\\1.png"])
def test_an_absolute_entry_is_left_out_with_a_note(write_zip: WriteZip, evil: str) -> None:
    table = read_zip(write_zip(["cat/1.png", "dog/1.png", evil]), min_classes=2)
    assert table.names == ("cat/1.png", "dog/1.png")
    assert "left out: 1 entry that is a link or a device or leads out of the archive" in table.notes[0]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO])
def test_links_and_devices_are_left_out_with_a_note(tmp_path: Path, encode: Encode, kind: int) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, mode in (("cat/1.png", stat.S_IFREG), ("dog/1.png", stat.S_IFREG), ("dog/2.png", kind)):
            info = zipfile.ZipInfo(name)
            info.create_system = 3
            info.external_attr = (mode | 0o644) << 16
            file.writestr(info, encode())
    table = read_zip(str(path), min_classes=2)
    assert table.names == ("cat/1.png", "dog/1.png")
    assert "dog/2.png" in table.notes[0]


def test_a_zip_with_nothing_but_what_is_left_out_is_refused(write_zip: WriteZip) -> None:
    with pytest.raises(
        DataError, match=r"photos\.zip: holds only 2 entries that are links .*: /a/1\.png, \.\./b/1\.png"
    ):
        read_zip(write_zip(["/a/1.png", "../b/1.png"]), min_classes=2)


def test_backslashes_of_a_zip_from_windows_divide_folders(tmp_path: Path, encode: Encode) -> None:
    path = tmp_path / "windows.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in ("cat\\1.png", "dog\\1.png"):
            info = zipfile.ZipInfo(name)
            info.create_system = 0
            file.writestr(info, encode())
    assert read_zip(str(path), min_classes=2).classes == ("cat", "dog")


def test_what_is_no_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    for content in (b"", b"not a zip", b"PK\x03\x04" + bytes(100)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"photos\.zip: is damaged or no zip file"):
            read_zip(str(path), min_classes=2)
    with pytest.raises(DataError, match="does not exist"):
        read_zip(str(tmp_path / "none.zip"), min_classes=2)


def test_a_truncated_zip_is_refused(write_zip: WriteZip) -> None:
    path = Path(write_zip(["cat/1.png", "dog/1.png"]))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="is damaged or no zip file"):
        read_zip(str(path), min_classes=2)


def test_an_empty_zip_is_refused(write_zip: WriteZip) -> None:
    with pytest.raises(DataError, match="is empty; put one folder per class"):
        read_zip(write_zip([]), min_classes=2)


def test_an_encrypted_zip_is_refused_with_a_way_out(write_zip: WriteZip) -> None:
    path = Path(write_zip(["cat/1.png", "dog/1.png"]))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 8] |= 1  # the flag "encrypted" of the first entry in the central directory
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"1 entry is encrypted \(cat/1\.png\); unpack it with its password"):
        read_zip(str(path), min_classes=2)


def test_an_entry_with_a_flipped_byte_is_an_image_error(write_zip: WriteZip) -> None:
    path = Path(write_zip(["cat/1.png", "dog/1.png"]))
    content = bytearray(path.read_bytes())
    content[len("cat/1.png") + 30 + 40] ^= 0xFF
    path.write_bytes(content)
    table = read_zip(str(path), min_classes=2)
    with pytest.raises(ImageError, match=r"photos\.zip/cat/1\.png: is damaged in the archive"):
        table.store.read("cat/1.png")
    assert table.store.read("dog/1.png")


def test_an_entry_that_is_too_large_is_refused_before_it_is_unpacked(tmp_path: Path, write_zip: WriteZip) -> None:
    store = ZipStore(write_zip(["cat/1.png", "dog/1.png"]), limits=Limits(entry_bytes=50))
    with pytest.raises(ImageError, match=r"cat/1\.png: unpacks to 0 MB; the limit is 0 MB"):
        store.read("cat/1.png")


def test_an_entry_that_packs_far_better_than_images_do_is_refused(tmp_path: Path, encode: Encode) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("cat/bomb.png", bytes(LIMITS.ratio_counts_from + 1))
        file.writestr("padding.bin", bytes(range(256)) * 1000, zipfile.ZIP_STORED)  # hides it from the total's ratio
        file.writestr("dog/1.png", encode())
    store = ZipStore(str(path))
    with pytest.raises(ImageError, match=r"cat/bomb\.png: unpacks to more than 200 times its size"):
        store.read("cat/bomb.png")
    assert store.read("dog/1.png") == encode()


def test_an_archive_that_packs_far_better_than_images_do_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for i in range(25):  # each alone would pass
            file.writestr(f"cat/{i}.png", bytes(1_000_000))
    with pytest.raises(DataError, match=r"bomb\.zip: unpacks to more than 200 times its size"):
        ZipStore(str(path))


def test_an_archive_that_claims_to_unpack_to_too_much_is_refused(write_zip: WriteZip) -> None:
    path = Path(write_zip(["cat/1.png", "dog/1.png"]))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 4_000_000_000)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"photos\.zip: unpacks to more than 200 times its size"):
        ZipStore(str(path))
    with pytest.raises(DataError, match=r"photos\.zip: unpacks to more than 3 GB"):
        ZipStore(str(path), limits=Limits(total_bytes=3_000_000_000))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (zipfile.ZIP_DEFLATED, "is damaged in the archive"),  # by its checksum
        (zipfile.ZIP_BZIP2, "is packed by a method that can't be read; zip it again"),
        (zipfile.ZIP_LZMA, "is packed by a method that can't be read; zip it again"),
    ],
)
def test_an_entry_that_unpacks_to_more_than_it_says_takes_no_memory(tmp_path: Path, method: int, message: str) -> None:
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("cat/1.png", bytes(100_000_000))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = struct.pack("<I", 100)
    path.write_bytes(content)
    store = ZipStore(str(path))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match=message):
            store.read("cat/1.png")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("lie", [False, True])
def test_too_many_entries_are_refused_before_they_are_read(write_zip: WriteZip, lie: bool) -> None:
    path = Path(write_zip([f"cat/{i}.png" for i in range(20)]))
    if lie:  # about their number
        content = bytearray(path.read_bytes())
        place = content.index(b"PK\x05\x06")
        content[place + 8 : place + 12] = struct.pack("<HH", 1, 1)
        path.write_bytes(content)
    assert len(ZipStore(str(path), limits=Limits(entries=20)).names) == 20
    with pytest.raises(DataError, match=r"photos\.zip: has more than 19 entries"):
        ZipStore(str(path), limits=Limits(entries=19))


def test_a_large_zip_in_the_64_bit_layout_is_counted_too(tmp_path: Path) -> None:
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as file:
        for i in range(65_600):  # more than the plain layout can count
            file.writestr(zipfile.ZipInfo(f"{i}.png"), b"")
    assert len(ZipStore(str(path), limits=Limits(entries=65_600)).names) == 65_600
    with pytest.raises(DataError, match="has more than 65,599 entries"):
        ZipStore(str(path), limits=Limits(entries=65_599))


def test_of_two_entries_with_one_name_the_later_counts(write_zip: WriteZip, encode: Encode) -> None:
    store = ZipStore(write_zip(["./cat/1.png", "cat/2.png", "cat/1.png", "cat/3.png"]))
    assert store.names == ["cat/1.png", "cat/2.png", "cat/3.png"]
    assert [store.read(name) for name in store.names] == [encode(seed=seed) for seed in (2, 1, 3)]


@pytest.mark.parametrize("name", ["cat/犬 é.png", "./cat//1.png", "cat/ 1.png"])
def test_names_that_stand_otherwise_in_the_zip_are_found(write_zip: WriteZip, encode: Encode, name: str) -> None:
    store = ZipStore(write_zip(["dog/1.png", name]))
    assert store.read(store.names[0]) == encode(seed=1)


def test_an_entry_that_is_not_there_is_an_image_error(write_zip: WriteZip) -> None:
    with pytest.raises(ImageError, match="is not in the archive"):
        ZipStore(write_zip(["cat/1.png"])).read("cat/2.png")


@pytest.mark.usefixtures("restless_threads")
def test_many_threads_read_what_one_reads(write_zip: WriteZip, encode: Encode) -> None:
    names = [f"cat/{i}.png" for i in range(40)]
    store = ZipStore(write_zip(names))
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(store.read, names * 20))
    assert contents == [encode(seed=seed) for seed in range(40)] * 20

from __future__ import annotations

import io
import lzma
import os
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eyebright.data.archives import Limits
from eyebright.data.samples import SampleTable
from eyebright.data.sources import read_samples
from eyebright.data.tars import TarStore
from eyebright.errors import DataError, ImageError, OutputError

Encode = Callable[..., bytes]
WriteTar = Callable[..., str]
HashTree = Callable[[Path], dict[str, str]]
MODES = {
    "photos.tar": "w",
    "photos.tar.gz": "w:gz",
    "photos.tgz": "w:gz",
    "photos.tar.bz2": "w:bz2",
    "p.tar.xz": "w:xz",
}


@pytest.fixture
def write_tar(tmp_path: Path, encode: Encode) -> WriteTar:
    """A tar with a different PNG for each of these names, or these members as they are."""

    def write(
        names: Sequence[str | tarfile.TarInfo], file_name: str = "photos.tar", layout: int = tarfile.PAX_FORMAT
    ) -> str:
        path = tmp_path / file_name
        with tarfile.open(path, MODES.get(file_name, "w"), format=layout) as file:  # type: ignore[call-overload]
            for seed, name in enumerate(names):
                info, content = (name, b"") if isinstance(name, tarfile.TarInfo) else (tarfile.TarInfo(name), None)
                if content is None:
                    content = encode(seed=seed)
                    info.size = len(content)
                file.addfile(info, io.BytesIO(content))
        return str(path)

    return write


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def read(path: str) -> SampleTable:
    return read_samples(path)


@pytest.mark.parametrize("file_name", list(MODES))
def test_a_tar_of_class_folders_is_read(tmp_path: Path, write_tar: WriteTar, encode: Encode, file_name: str) -> None:
    table = read(write_tar(["photos/dog/1.png", "photos/cat/1.png", "photos/cat/._1.png", "photos/readme"], file_name))
    assert table.classes == ("cat", "dog")
    assert table.names == ("photos/cat/1.png", "photos/dog/1.png")
    assert table.store.read("photos/dog/1.png") == encode(seed=0)
    assert table.store.locate("photos/dog/1.png").endswith(f"{file_name}/photos/dog/1.png")
    assert table.notes[0] == "read as class folders: no labels stand beside the images"
    assert [path.name for path in tmp_path.iterdir()] == [file_name]


@pytest.mark.parametrize("layout", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_read_in_every_layout(write_tar: WriteTar, encode: Encode, layout: int) -> None:
    names = [f"cat/{'long ' * 18}é.png", "dog/犬.png"]
    table = read(write_tar(names, layout=layout))
    assert set(table.names) == set(names)
    assert table.store.read(names[0]) == encode(seed=0)


def test_splits_are_folders_as_everywhere(write_tar: WriteTar) -> None:
    table = read(write_tar([f"./data/{split}/{label}/1.png" for split in ("train", "test") for label in "ab"]))
    assert table.classes == ("a", "b")
    assert len(table.rows("test")) == 2


def test_what_is_in_a_tar_tells_how_it_is_packed(tmp_path: Path, write_tar: WriteTar) -> None:
    path = Path(write_tar(["cat/1.png", "dog/1.png"], "photos.tar.xz"))
    path = path.rename(tmp_path / "photos.tar")
    assert len(read(str(path))) == 2


def test_of_two_members_with_one_name_the_later_counts(write_tar: WriteTar, encode: Encode) -> None:
    table = read(write_tar(["cat/1.png", "dog/1.png", "cat/1.png"]))
    assert len(table) == 2
    assert table.store.read("cat/1.png") == encode(seed=2)


# Nothing leads out

ESCAPES = [
    "../evil/1.png",
    "cat/../../evil/1.png",
    "/tmp/evil/1.png",
    "//tmp/evil/1.png",
    "C:/evil/1.png",
    "cat\\..\\..\\evil/1.png",
    "\\evil/1.png",
    special("cat/link.png", tarfile.SYMTYPE, "/etc/passwd"),
    special("cat/up.png", tarfile.SYMTYPE, "../../secret.png"),
    special("cat/hard.png", tarfile.LNKTYPE, "/etc/passwd"),
    special("cat/fifo.png", tarfile.FIFOTYPE),
    special("cat/zero.png", tarfile.CHRTYPE),
    special("cat/disk.png", tarfile.BLKTYPE),
    special("cat/unknown.png", b"S"),
    special("cat/vendor.png", b"Q"),
]


@pytest.mark.parametrize("evil", ESCAPES, ids=lambda evil: evil if isinstance(evil, str) else evil.name)
@pytest.mark.parametrize("file_name", ["photos.tar", "photos.tar.gz"])
def test_what_leads_out_of_a_tar_is_left_out_with_a_note(
    tmp_path: Path, write_tar: WriteTar, hash_tree: HashTree, evil: str | tarfile.TarInfo, file_name: str
) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    table = read(write_tar(["cat/1.png", "dog/1.png", evil], file_name))
    before = hash_tree(tmp_path)
    assert table.names == ("cat/1.png", "dog/1.png")
    assert "left out: 1 entry that is a link or a device or leads out of the archive" in table.notes[-1]
    for name in (evil if isinstance(evil, str) else evil.name, "cat/link.png", "../secret.png", "/etc/passwd"):
        with pytest.raises(ImageError, match="is not in the archive"):
            table.store.read(name)
    assert hash_tree(tmp_path) == before
    assert len(before) == 2


def test_a_link_to_a_folder_followed_by_a_file_in_it_writes_nothing(tmp_path: Path, write_tar: WriteTar) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    table = read(write_tar([special("cat", tarfile.SYMTYPE, str(outside)), "cat/1.png", "dog/1.png"]))
    assert table.names == ("cat/1.png", "dog/1.png")  # as plain names, with the bytes that stand in the tar
    assert list(outside.iterdir()) == []


def test_a_tar_with_nothing_but_links_is_refused(write_tar: WriteTar) -> None:
    with pytest.raises(DataError, match=r"photos\.tar: holds only 1 entry that is a link"):
        read(write_tar([special("cat/1.png", tarfile.SYMTYPE, "x")]))


# Limits


def test_too_many_members_are_refused(write_tar: WriteTar) -> None:
    path = write_tar([f"cat/{i}.png" for i in range(20)])
    assert len(TarStore(path, limits=Limits(entries=20)).names) == 20
    with pytest.raises(DataError, match=r"photos\.tar: has more than 19 entries"):
        TarStore(path, limits=Limits(entries=19))


def test_a_member_that_is_too_large_is_refused_alone(write_tar: WriteTar, encode: Encode) -> None:
    store = TarStore(write_tar(["cat/1.png"]), limits=Limits(entry_bytes=len(encode()) - 1))
    with pytest.raises(ImageError, match=r"photos\.tar/cat/1\.png: unpacks to 0 MB; the limit is 0 MB"):
        store.read("cat/1.png")


@pytest.mark.parametrize("file_name", ["photos.tar.gz", "photos.tar.bz2", "p.tar.xz"])
def test_a_bomb_is_stopped_while_it_unpacks(tmp_path: Path, file_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / file_name
    info = tarfile.TarInfo("cat/1.png")
    info.size = 100_000_000
    with tarfile.open(path, MODES[file_name]) as file, open("/dev/zero", "rb") as zeros:  # type: ignore[call-overload]
        file.addfile(info, zeros)
    written = []
    monkeypatch.setattr("eyebright.data.tars.write_unpacked", lambda unpacked, chunk, path: written.append(len(chunk)))
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        TarStore(str(path))
    assert sum(written) <= 20_000_000
    written.clear()
    with pytest.raises(DataError, match="unpacks to more than 0 GB"):
        TarStore(str(path), limits=Limits(total_bytes=5_000_000))
    assert sum(written) <= 5_000_000


def test_a_header_that_claims_a_huge_name_is_refused_before_it_is_read(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.size = 50_000_000
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        info.type = kind
        path = tmp_path / "long.tar"
        with path.open("wb") as file:
            file.write(info.tobuf())
            file.truncate(60_000_000)
        with pytest.raises(DataError, match=r"long\.tar: is damaged or no tar file \(a header claims 50,000,"):
            TarStore(str(path))


def test_a_chain_of_headers_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 1
    path = tmp_path / "chain.tar"
    path.write_bytes((info.tobuf() + b"a".ljust(512, b"\0")) * 5000)
    with pytest.raises(DataError, match=r"chain\.tar: is damaged or no tar file"):
        TarStore(str(path))


@pytest.mark.parametrize("size", [-1, -512, -1024, 1 << 62])
def test_an_impossible_size_is_refused(tmp_path: Path, encode: Encode, size: int) -> None:
    first, second = tarfile.TarInfo("cat/1.png"), tarfile.TarInfo("cat/2.png")
    first.size = 512
    header = bytearray(second.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (size & ((1 << 96) - 1)).to_bytes(12, "big") if size < 0 else b"\x80" + size.to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "size.tar"
    path.write_bytes(first.tobuf() + bytes(512) + bytes(header) + bytes(2048))
    with pytest.raises(DataError, match=r"size\.tar: is damaged or no tar file"):
        TarStore(str(path))


def test_a_full_disk_is_told_with_a_way_out(write_tar: WriteTar, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(["cat/1.png"], "photos.tar.gz")
    full = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115 - the store closes it
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda prefix: full)
    with pytest.raises(OutputError, match=r"photos\.tar\.gz: can't be unpacked into .*No space left.*TMPDIR"):
        TarStore(path)
    assert full.closed


# Damage


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "photos.tar"
    for content in (b"", b"not a tar", b"x" * 5000, b"\x1f\x8b" + bytes(100), b"BZh9" + bytes(100), b"\xfd7zXZ\0abc"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"photos\.tar: (is damaged or no tar file|can't be read)"):
            TarStore(str(path))
    with pytest.raises(DataError, match="does not exist"):
        TarStore(str(tmp_path / "none.tar"))
    path.write_bytes(bytes(10240))
    with pytest.raises(DataError, match="is empty; put one folder per class"):
        read(str(path))


@pytest.mark.parametrize("file_name", list(MODES))
def test_a_truncated_tar_is_refused(write_tar: WriteTar, file_name: str) -> None:
    path = Path(write_tar([f"cat/{i}.png" for i in range(9)] + ["dog/1.png"], file_name))
    content = path.read_bytes()
    whole = len(content) if file_name != "photos.tar" else content.rindex(b"IEND")
    for cut in range(10, whole - 4, max(1, whole // 40)):
        if file_name == "photos.tar" and cut % 512 == 0:
            continue
        path.write_bytes(content[:cut])
        with pytest.raises(DataError, match=r"is damaged or no tar file|can't be read"):
            TarStore(str(path))


def test_a_damaged_header_in_the_middle_does_not_hide_what_follows(write_tar: WriteTar) -> None:
    path = Path(write_tar([f"cat/{i}.png" for i in range(5)]))
    content = bytearray(path.read_bytes())
    content[content.index(b"cat/3.png") + 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"photos\.tar: is damaged or no tar file \(there is no valid header at byte"):
        TarStore(str(path))


def test_a_tar_that_shrinks_later_is_an_image_error(write_tar: WriteTar) -> None:
    path = write_tar(["cat/1.png"])
    store = TarStore(path)
    os.truncate(path, 600)
    with pytest.raises(ImageError, match=r"photos\.tar/cat/1\.png: is cut off"):
        store.read("cat/1.png")
    os.unlink(path)
    with pytest.raises(ImageError, match="can't be read"):
        store.read("cat/1.png")


def test_two_streams_in_one_xz_are_one_tar(tmp_path: Path, write_tar: WriteTar) -> None:
    content = Path(write_tar(["cat/1.png", "dog/1.png"])).read_bytes()
    path = tmp_path / "two.tar.xz"
    path.write_bytes(lzma.compress(content[:700]) + lzma.compress(content[700:]))
    assert len(read(str(path))) == 2


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("file_name", ["photos.tar", "photos.tar.gz"])
def test_many_threads_read_what_one_reads(write_tar: WriteTar, encode: Encode, file_name: str) -> None:
    names = [f"cat/{i}.png" for i in range(40)]
    store = TarStore(write_tar(names, file_name))
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(store.read, names * 20))
    assert contents == [encode(seed=seed) for seed in range(40)] * 20

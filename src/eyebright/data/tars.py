"""A tar of class folders. Its members are found once and then read from where they stand; nothing is extracted.

A plain tar is read in place. A compressed one can only be read from its beginning, so that every image would cost as
much as all before it: it is unpacked once, as one piece, into a temporary file without a name, which is gone when the
process is. No member's path is ever used as a path.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import tarfile
import tempfile
import threading
import weakref
import zlib
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, cast, final

from eyebright.data.archives import LIMITS, Limits, entry_name, table_of_archive
from eyebright.data.samples import SampleTable
from eyebright.errors import DataError, ImageError, OutputError, printable

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
_MAX_HEADER_BYTES = 1 << 20  # long names and pax records; tarfile would read as much as they claim
_BLOCK = 512
_CHUNK = 1 << 20
_OPENERS: dict[bytes, Callable[[str], Any]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}


def is_tar_name(name: str) -> bool:
    return name.lower().endswith(TAR_SUFFIXES)


@final
class TarStore:
    """Image files inside a tar; names are their paths in it with forward slashes. What is in it tells how it is packed.

    Args:
        path: the tar; it may be compressed with gzip, bzip2 or xz.
        limits: how much it may hold.

    Raises:
        DataError: it is absent, damaged or no tar, or unpacks to too much.
        OutputError: there is no room to unpack it.
    """

    def __init__(self, path: str, *, limits: Limits = LIMITS) -> None:
        self.path = path
        self.limits = limits
        self.unsafe: list[str] = []
        """Members that are links or devices, or whose paths lead out ("../x", "/x"); they are left out."""
        self._lock = threading.Lock()  # one file position for all threads, where there is a temporary file
        self._rows: dict[str, int] = {}
        self._offsets = array("q")
        self._sizes = array("q")
        try:
            self._unpacked = _unpack(path, limits)
            if self._unpacked is not None:
                weakref.finalize(self, self._unpacked.close)
            with self._open() as file:
                self._index(file)
        except FileNotFoundError:
            raise DataError(f"{printable(path)}: does not exist") from None
        except (tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError, zlib.error, lzma.LZMAError) as e:
            raise DataError(f"{printable(path)}: is damaged or no tar file ({printable(str(e))[:120]})") from None
        except OSError as error:  # gzip and bz2 raise it for damage too
            raise DataError(f"{printable(path)}: can't be read ({error.strerror or error})") from None

    @property
    def names(self) -> list[str]:
        """Every visible file, sorted."""
        return sorted(self._rows)

    def read(self, name: str) -> bytes:
        row = self._rows.get(name)
        if row is None:
            raise ImageError(self.locate(name), "is not in the archive")
        size = self._sizes[row]
        self.limits.check_entry(size, self.locate(name))
        try:
            with self._open() as file:
                file.seek(self._offsets[row])
                content = file.read(size)
        except OSError as error:
            raise ImageError(self.locate(name), f"can't be read ({error.strerror or error})") from None
        if len(content) != size:
            raise ImageError(self.locate(name), "is cut off: the archive has become shorter since it was opened")
        return content

    def locate(self, name: str) -> str:
        return f"{self.path}/{name}"

    @contextmanager
    def _open(self) -> Iterator[IO[bytes]]:
        """The plain tar. A new file each time, so that a thousand shards do not need a thousand open files."""
        if self._unpacked is None:
            with open(self.path, "rb") as file:
                yield file
        else:
            with self._lock:
                yield self._unpacked

    def _index(self, file: IO[bytes]) -> None:
        """Note where every regular file stands."""
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        members = tarfile.TarFile(
            fileobj=cast(IO[bytes], _HeaderFile(file)), encoding="utf-8", errors="surrogateescape", errorlevel=2
        )
        before, count = -1, 0
        while (member := members.next()) is not None:
            vars(members)["members"].clear()  # it would keep all of them
            count += 1
            self.limits.check_entries(count, self.path)
            if member.size < 0 or member.offset <= before or member.offset_data < member.offset:
                raise tarfile.ReadError("a member claims an impossible size")
            before = member.offset
            if member.isdir():
                continue
            # A sparse file does not stand in one piece; nobody packs images so.
            plain = member.isreg() and member.sparse is None
            if plain and member.offset_data + member.size > end:
                raise tarfile.ReadError("it ends in the middle of a file")
            name = entry_name(member.name) if plain else None
            if name is None:
                self.unsafe.append(member.name)
            elif name:
                self._rows[name] = len(self._offsets)  # of two with one name the later counts, as when extracting
                self._offsets.append(member.offset_data)
                self._sizes.append(member.size)
        # At a header that makes no sense tarfile stops without a word, and all that follows would be missing.
        file.seek(members.offset)
        if any(file.read(_BLOCK)):
            raise tarfile.ReadError(f"there is no valid header at byte {members.offset:,}")


def read_tar(store: TarStore, *, min_classes: int) -> SampleTable:
    """The table of a tar of class folders, by the rules in `folders`.

    Raises:
        DataError: what `read_folder` raises.
    """
    return table_of_archive(store, store.names, store.unsafe, where=store.path, min_classes=min_classes)


@final
class _HeaderFile:
    """What tarfile reads headers from: it gets no more at once than a header may hold."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        return self._file.read(size)

    def seek(self, offset: int) -> int:
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()


def _unpack(path: str, limits: Limits) -> IO[bytes] | None:
    """A compressed tar's content as a temporary file; None for one that is not compressed.

    Raises:
        DataError: it unpacks to too much.
        OutputError: there is no room for it.
    """
    with open(path, "rb") as file:
        start = file.read(8)
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    if opener is None:
        return None
    packed, total = os.path.getsize(path), 0
    unpacked = tempfile.TemporaryFile(prefix="eyebright-")  # noqa: SIM115 - lives as long as the store
    try:
        with opener(path) as source:
            while chunk := source.read(_CHUNK):
                total += len(chunk)
                limits.check_total(total, packed, path)
                write_unpacked(unpacked, chunk, path)
    except BaseException:
        unpacked.close()
        raise
    return unpacked


def write_unpacked(unpacked: IO[bytes], chunk: bytes, path: str) -> None:
    """Add to the temporary file that `path` is unpacked into.

    Raises:
        OutputError: there is no room for it.
    """
    try:
        unpacked.write(chunk)
        unpacked.flush()
    except OSError as error:
        raise OutputError(
            f"{printable(path)}: can't be unpacked into {tempfile.gettempdir()} ({error.strerror}); "
            "make room there, set TMPDIR to a larger disk, or unpack it and give the folder"
        ) from None

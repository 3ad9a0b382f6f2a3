"""Decoded squares kept on disk, so that the same images are decoded once and not at every run.

One file holds one array: the squares of the images of one read, in their order, mapped into memory where they lie.
Its name is made of the preprocessing, the decoding code and the sha256 of every image in order, so a changed image, a
changed setting or a newer decoder asks for another file; nothing goes by a file's name or date. Rows that another file
holds for the same preprocessing are taken from there, so a folder that grows costs only its new images.

    64 bytes      what it is: magic, N, R, C, and the preprocessing's key
    N x 32        sha256 of each image's content
    N x 4         crc32 of each row together with its sha256
    N             1 where the row is kept: it was decoded, and its content was the expected one
    up to 4096 n  nothing
    N x R x R x C the squares

A row counts only if its crc32 is right, which is looked at once in every run: a flipped bit, a torn write or an
array that a killed process left half done costs decoding those rows again, and nothing else. So files are written
without waiting for the disk. An array grows as NAME.UNIQUE.part under a lock that dies with its process, and takes its
name when it is whole; two processes that want the same one each build it, and the second replaces the first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import sys
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import IO, final

import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray

from eyebright.errors import SettingsError, printable
from eyebright.preprocess import Preprocessing

FOLDER = "squares"  # in the folder of everything that can be fetched or computed again
LIMIT_VARIABLE = "EYEBRIGHT_CACHE_GB"
DEFAULT_LIMIT = 10_000_000_000  # bytes
SHARE_OF_DISK = 0.25  # of what is free, the cache's own files counted as free
GIGABYTE = 1_000_000_000

_MAGIC = b"EYESQR01"
_HEADER = struct.Struct("<8sQII32s8x")
_ALIGNMENT = 4096
_WHOLE, _PART = ".squares", ".part"
_ABANDONED_AFTER = 86_400.0  # seconds; where there are no locks to tell


@dataclass(frozen=True, kw_only=True)
class CachedArray:
    """A file of the cache, as `eyebright cache` shows it."""

    path: Path
    num_images: int
    side: int
    """R in pixels."""
    size_bytes: int
    used: float
    """When it was last used, in seconds since 1970."""
    state: str
    """"whole", "being built" or "unfinished"; what is unfinished is still used row by row."""


@final
@dataclass(frozen=True)
class SquareCache:
    """A folder of arrays of squares, of limited size: the least recently used go first.

    Args:
        folder: is made when needed.
        limit: in bytes; None takes $EYEBRIGHT_CACHE_GB, or 10 GB but never more than a quarter of what is free.
    """

    folder: Path
    limit: int | None = None

    def limit_bytes(self) -> int:
        """How much all arrays together may take.

        Raises:
            SettingsError: $EYEBRIGHT_CACHE_GB is no number.
        """
        if self.limit is not None:
            return self.limit
        wanted = os.environ.get(LIMIT_VARIABLE, "").strip()
        if wanted:
            try:
                value = float(wanted)
                if value >= 0:
                    return int(min(value * GIGABYTE, 1 << 62))
            except (ValueError, OverflowError):
                pass
            raise SettingsError(
                f'{LIMIT_VARIABLE} is "{printable(wanted)}"; it is a number of gigabytes, 0 for no cache'
            )
        own = sum(array.size_bytes for array in self.list_arrays())
        return int(min(DEFAULT_LIMIT, SHARE_OF_DISK * (own + _free_bytes(self.folder))))

    def list_arrays(self) -> tuple[CachedArray, ...]:
        """Every array, the last used first."""
        found = []
        for path in _paths(self.folder):
            with contextlib.suppress(OSError):  # gone in the meantime
                about = path.stat()
                with path.open("rb") as file:
                    header = _read_header(file)
                    state = (
                        "whole" if path.suffix == _WHOLE else "unfinished" if _is_dead(path, file) else "being built"
                    )
                found.append(
                    CachedArray(
                        path=path,
                        num_images=header.count if header else 0,
                        side=header.side if header else 0,
                        size_bytes=about.st_size,
                        used=about.st_mtime,
                        state=state,
                    )
                )
        return tuple(sorted(found, key=lambda array: (-array.used, array.path)))

    def clear(self) -> tuple[CachedArray, ...]:
        """Remove every array but those that are being built; returns what was removed."""
        return tuple(array for array in self.list_arrays() if array.state != "being built" and _remove(array.path))

    def open(
        self, digests: Sequence[bytes], preprocessing: Preprocessing, *, warn: Callable[[str], None]
    ) -> SquareArray | None:
        """The array of these images in this order: whole as it lies there, or a new one to be filled.

        Args:
            digests: N sha256 of 32 bytes, or empty where an image can't be fetched: that row is never kept.
            warn: is told why there is none.

        Returns:
            None if it would be too large or can't be written; then go without.

        Raises:
            SettingsError: $EYEBRIGHT_CACHE_GB is no number.
        """
        if not digests:
            return None
        shape = (len(digests), preprocessing.resize, preprocessing.resize, preprocessing.channels)
        header = _Header(count=shape[0], side=shape[1], channels=shape[3], key=_key(preprocessing))
        table = np.frombuffer(b"".join(digest.ljust(32, b"\0") for digest in digests), dtype=np.uint8).reshape(-1, 32)
        stem = f"{header.key.hex()[:16]}-{hashlib.sha256(table.tobytes()).hexdigest()[:32]}"
        target = self.folder / f"{stem}{_WHOLE}"
        try:
            limit = self.limit_bytes()
            if header.total > limit:
                if limit:
                    warn(
                        f"the decoded images take {header.total / GIGABYTE:.1f} GB and are not kept: the limit of the "
                        f"cache is {limit / GIGABYTE:.1f} GB; {LIMIT_VARIABLE} sets another"
                    )
                return None
            self.folder.mkdir(parents=True, exist_ok=True)
            whole = _map_whole(target, header, table)
            if whole is not None:
                return whole
            sources = self._open_sources(header, table)
            self._evict(limit - header.total)
            return _map_new(target, header, table, sources)
        except OSError as error:
            warn(
                f"{printable(str(self.folder))}: decoded images can't be kept there "
                f"({error.strerror or error}); going on without"
            )
            return None

    def _open_sources(self, header: _Header, table: NDArray[np.uint8]) -> list[_Source]:
        """Other arrays of the same preprocessing that hold some of these images."""
        wanted = {digest.tobytes() for digest in table}
        sources = []
        for path in _paths(self.folder):
            if not path.name.startswith(header.key.hex()[:16]):
                continue
            with contextlib.suppress(OSError, ValueError):
                with path.open("rb") as file:
                    found = _read_header(file)
                    if found is None or found.key != header.key or os.fstat(file.fileno()).st_size != found.total:
                        continue
                    dead = path.suffix == _PART and _is_dead(path, file)
                mapped = np.memmap(path, dtype=np.uint8, mode="r", shape=(found.total,))
                parts = found.divide(mapped)
                rows = {
                    digest: row
                    for row in np.flatnonzero(parts.kept).tolist()
                    if (digest := parts.digests[row].tobytes()) in wanted
                }
                if rows:
                    sources.append(_Source(path, parts, rows, dead))
                    os.utime(path)
        return sources

    def _evict(self, room: int) -> None:
        """Remove the least recently used arrays until all together take at most `room` bytes."""
        arrays = self.list_arrays()
        total = sum(array.size_bytes for array in arrays)
        for array in reversed(arrays):
            if total <= room:
                break
            if array.state != "being built" and _remove(array.path):
                total -= array.size_bytes


@dataclass(frozen=True)
class _Header:
    count: int
    side: int
    channels: int
    key: bytes

    @property
    def row_bytes(self) -> int:
        return self.side * self.side * self.channels

    @property
    def start(self) -> int:
        """Where the squares begin."""
        return -(-(_HEADER.size + self.count * 37) // _ALIGNMENT) * _ALIGNMENT

    @property
    def total(self) -> int:
        return self.start + self.count * self.row_bytes

    def to_bytes(self) -> bytes:
        return _HEADER.pack(_MAGIC, self.count, self.side, self.channels, self.key)

    def divide(self, content: NDArray[np.uint8]) -> _Parts:
        """(total,) -> its parts, as views."""
        ends = _HEADER.size + np.cumsum([self.count * 32, self.count * 4, self.count])
        return _Parts(
            digests=content[_HEADER.size : ends[0]].reshape(self.count, 32),
            checksums=content[ends[0] : ends[1]].view(np.uint32),
            kept=content[ends[1] : ends[2]],
            squares=content[self.start :].reshape(self.count, self.side, self.side, self.channels),
        )


@dataclass(frozen=True, eq=False)
class _Parts:
    digests: NDArray[np.uint8]
    """(N, 32)"""
    checksums: NDArray[np.uint32]
    """(N,)"""
    kept: NDArray[np.uint8]
    """(N,) 0 or 1"""
    squares: NDArray[np.uint8]
    """(N, R, R, C)"""

    def is_good(self, row: int) -> bool:
        return bool(self.kept[row]) and int(self.checksums[row]) == _checksum(self.digests[row], self.squares[row])


@dataclass(frozen=True, eq=False)
class _Source:
    path: Path
    parts: _Parts
    rows: dict[bytes, int]
    is_dead: bool


@final
@dataclass(eq=False)
class SquareArray:
    """N squares that are in the cache or on their way into it. Rows may be fetched and kept from several threads."""

    images: NDArray[np.uint8]
    """(N, R, R, C); what is written here beside `keep` does not reach the disk once the array is whole."""
    _target: Path
    _header: _Header
    _parts: _Parts
    _wanted: NDArray[np.uint8]
    _sources: list[_Source] = field(default_factory=list)
    _part: Path | None = None
    """The file that is being filled; None if the array was there."""
    _file: IO[bytes] | None = None
    _mended: list[int] = field(default_factory=list)
    """Rows of a whole array that were damaged."""

    def fetch(self, row: int) -> bool:
        """Whether `images[row]` is what it should be, now that it has been looked for."""
        if not self._wanted[row].any():
            return False
        if self._part is None:
            same = bool((self._parts.digests[row] == self._wanted[row]).all())
            return same and self._parts.is_good(row)
        digest = self._wanted[row].tobytes()
        for source in self._sources:
            found = source.rows.get(digest)
            if found is not None and source.parts.is_good(found):
                self.images[row] = source.parts.squares[found]
                self._mark(row)
                return True
        return False

    def keep(self, row: int, digest: bytes) -> None:
        """`images[row]` now holds the square of the content with this sha256."""
        if digest != self._wanted[row].tobytes():
            return  # the file has changed since it was hashed: right for this run, wrong under this name
        if self._part is None:
            self._mended.append(row)
        else:
            self._mark(row)

    def _mark(self, row: int) -> None:
        self._parts.checksums[row] = _checksum(self._wanted[row], self.images[row])
        self._parts.kept[row] = 1

    def finish(self, *, whole: bool) -> None:
        """Let go of the file; `images` stays usable, whatever becomes of the file.

        Args:
            whole: every row has been fetched, kept or found unreadable. If not, what there is stays for the next one.
        """
        try:
            if self._part is None:
                self._mend()
            elif whole:
                os.replace(self._part, self._target)
                os.utime(self._target)
                # From here on private: what a program writes into its images is not for the others.
                mapped = np.memmap(self._target, dtype=np.uint8, mode="c", shape=(self._header.total,))
                self.images = self._header.divide(mapped).squares
                for source in self._sources:
                    if source.is_dead:
                        _remove(source.path)
        except OSError:
            pass  # the images are there; the next run decodes them again
        finally:
            if self._file is not None:
                self._file.close()

    def _mend(self) -> None:
        """Write the rows that had to be decoded again where they belong."""
        if not self._mended:
            return
        header = self._header
        with self._target.open("r+b") as file:
            for row in self._mended:
                square = self.images[row]
                file.seek(_HEADER.size + row * 32)
                file.write(self._wanted[row].tobytes())
                file.seek(header.start + row * header.row_bytes)
                file.write(square.tobytes())
                file.seek(_HEADER.size + header.count * 32 + row * 4)
                file.write(np.uint32(_checksum(self._wanted[row], square)).tobytes())
                file.seek(_HEADER.size + header.count * 36 + row)
                file.write(b"\1")


def _map_whole(target: Path, header: _Header, table: NDArray[np.uint8]) -> SquareArray | None:
    """The array that is there; None if there is none, or what is there has another form."""
    try:
        with target.open("rb") as file:
            if file.read(_HEADER.size) != header.to_bytes() or os.fstat(file.fileno()).st_size != header.total:
                _remove(target)
                return None
        mapped = np.memmap(target, dtype=np.uint8, mode="c", shape=(header.total,))
        os.utime(target)
    except FileNotFoundError:
        return None
    parts = header.divide(mapped)
    return SquareArray(parts.squares, target, header, parts, table)


def _map_new(target: Path, header: _Header, table: NDArray[np.uint8], sources: list[_Source]) -> SquareArray:
    """An empty array under a name of its own, locked, with its room on the disk reserved."""
    part = target.with_name(f"{target.stem}.{uuid.uuid4().hex[:12]}{_PART}")
    file = _create_locked(part)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, header.total)  # a full disk shows now, not as a crash while writing
        else:
            file.truncate(header.total)
        file.write(header.to_bytes() + table.tobytes())
        file.flush()
        mapped = np.memmap(part, dtype=np.uint8, mode="r+", shape=(header.total,))
    except BaseException:
        file.close()
        _remove(part)
        raise
    parts = header.divide(mapped)
    return SquareArray(parts.squares, target, header, parts, table, sources, part, file)


def _checksum(digest: NDArray[np.uint8], square: NDArray[np.uint8]) -> int:
    return zlib.crc32(square.data, zlib.crc32(digest.data))


def _key(preprocessing: Preprocessing) -> bytes:
    """Everything that decides what a content's square looks like."""
    values = {
        "resize": preprocessing.resize,
        "fit": preprocessing.fit,
        "interpolation": preprocessing.interpolation,
        "channels": preprocessing.channels,
        "code": _code_version(),
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()


@cache
def _code_version() -> str:
    """The decoders' versions, and the sha256 of our own code: nobody has to remember to count a number up."""
    found = hashlib.sha256(f"{PIL.__version__} {simplejpeg.__version__} {sys.byteorder}".encode())
    here = Path(__file__).parent
    for path in sorted([*here.glob("*.py"), here.parent / "preprocess.py"]):
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def _paths(folder: Path) -> Iterator[Path]:
    try:
        yield from sorted(path for path in folder.iterdir() if path.suffix in (_WHOLE, _PART))
    except (FileNotFoundError, NotADirectoryError):
        return


def _read_header(file: IO[bytes]) -> _Header | None:
    content = file.read(_HEADER.size)
    if len(content) < _HEADER.size:
        return None
    magic, count, side, channels, key = _HEADER.unpack(content)
    return _Header(count=count, side=side, channels=channels, key=key) if magic == _MAGIC else None


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:  # gone already, or in use on a system that minds
        return False
    return True


def _free_bytes(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def _create_locked(path: Path) -> IO[bytes]:
    """A new file that is locked before anyone can see it under its name."""
    if sys.platform == "win32":
        return path.open("w+b")
    import fcntl

    unseen = path.with_suffix(".new")
    file = unseen.open("w+b")
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        os.rename(unseen, path)
    except BaseException:
        file.close()
        _remove(unseen)
        raise
    return file


def _is_dead(path: Path, file: IO[bytes]) -> bool:
    """Whether nobody is filling this part any more."""
    if sys.platform == "win32":
        return time.time() - path.stat().st_mtime > _ABANDONED_AFTER
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(file.fileno(), fcntl.LOCK_UN)
    return True

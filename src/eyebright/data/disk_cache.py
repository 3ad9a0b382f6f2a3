"""Decoded squares kept on disk, so that the same images are decoded once and not at every run.

One file holds one array: the squares of the images of one read, in their order, mapped into memory where they lie.
Its name is made of the preprocessing, the decoding code and the sha256 of every image in order, so a changed image, a
changed setting or a newer decoder asks for another file; nothing goes by a file's name or date. Rows that another file
holds for the same preprocessing are taken from there, so a folder that grows costs only its new images.

    64 bytes      what it is (`kept_files.Header`)
    N x 32        sha256 of each image's content
    N x 4         crc32 of each row together with its sha256
    N             1 where the row is kept: it was decoded, and its content was the expected one
    up to 4096 n  nothing
    N x R x R x C the squares

A row counts only if its crc32 is right, which is looked at once in every run: a flipped bit, a torn write or an
array that a killed process left half done costs decoding those rows again, and nothing else. So files are written
without waiting for the disk. How files come, go and are kept from growing too many stands in `kept_files`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, final

import numpy as np
from numpy.typing import NDArray

from eyebright.data.kept_files import (
    FOLDER,
    LIMIT_VARIABLE,
    PART,
    SQUARES,
    Header,
    KeptFiles,
    create_locked,
    hash_code,
    is_dead,
    part_of,
    remove,
)
from eyebright.errors import printable
from eyebright.page.markup import size
from eyebright.preprocess import Preprocessing

__all__ = ["FOLDER", "SquareArray", "SquareCache"]

_ALIGNMENT = 4096


@final
@dataclass(frozen=True)
class SquareCache:
    """The arrays of squares in the folder of what is kept.

    Args:
        folder, limit: as for `KeptFiles`.
    """

    folder: Path
    limit: int | None = None

    @property
    def files(self) -> KeptFiles:
        """The folder, with all that is in it."""
        return KeptFiles(self.folder, self.limit)

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
        header = Header(
            kind=SQUARES,
            count=len(digests),
            side=preprocessing.resize,
            channels=preprocessing.channels,
            key=_key(preprocessing),
        )
        layout = _Layout(header)
        table = np.frombuffer(b"".join(digest.ljust(32, b"\0") for digest in digests), dtype=np.uint8).reshape(-1, 32)
        stem = f"{header.key.hex()[:16]}-{hashlib.sha256(table.tobytes()).hexdigest()[:32]}"
        target = self.folder / f"{stem}{SQUARES}"
        try:
            limit = self.files.limit_bytes()
            if layout.total > limit:
                if limit:
                    warn(
                        f"the decoded images take {size(layout.total)} and are not kept: the limit of the "
                        f"cache is {size(limit)}; {LIMIT_VARIABLE} sets another"
                    )
                return None
            self.folder.mkdir(parents=True, exist_ok=True)
            whole = _map_whole(target, layout, table)
            if whole is not None:
                return whole
            sources = self._open_sources(layout, table)
            self.files.evict(limit - layout.total)
            return _map_new(target, layout, table, sources)
        except OSError as error:
            warn(
                f"{printable(str(self.folder))}: decoded images can't be kept there "
                f"({error.strerror or error}); going on without"
            )
            return None

    def _open_sources(self, layout: _Layout, table: NDArray[np.uint8]) -> list[_Source]:
        """Other arrays of the same preprocessing that hold some of these images."""
        wanted = {digest.tobytes() for digest in table}
        sources = []
        for path in self.files.paths():
            if not path.name.startswith(layout.header.key.hex()[:16]):
                continue
            with contextlib.suppress(OSError, ValueError):
                with path.open("rb") as file:
                    header = Header.read(file)
                    if header is None or (header.kind, header.key) != (SQUARES, layout.header.key):
                        continue
                    found = _Layout(header)
                    if os.fstat(file.fileno()).st_size != found.total:
                        continue
                    dead = path.suffix == PART and is_dead(path, file)
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


@dataclass(frozen=True)
class _Layout:
    """Where the parts of a file lie."""

    header: Header

    @property
    def count(self) -> int:
        """N"""
        return self.header.count

    @property
    def row_bytes(self) -> int:
        return self.header.side * self.header.side * self.header.channels

    @property
    def start(self) -> int:
        """Where the squares begin."""
        return -(-(Header.SIZE + self.count * 37) // _ALIGNMENT) * _ALIGNMENT

    @property
    def total(self) -> int:
        return self.start + self.count * self.row_bytes

    def divide(self, content: NDArray[np.uint8]) -> _Parts:
        """(total,) -> its parts, as views."""
        ends = Header.SIZE + np.cumsum([self.count * 32, self.count * 4, self.count])
        return _Parts(
            digests=content[Header.SIZE : ends[0]].reshape(self.count, 32),
            checksums=content[ends[0] : ends[1]].view(np.uint32),
            kept=content[ends[1] : ends[2]],
            squares=content[self.start :].reshape(self.count, self.header.side, self.header.side, self.header.channels),
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
    _layout: _Layout
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
                mapped = np.memmap(self._target, dtype=np.uint8, mode="c", shape=(self._layout.total,))
                self.images = self._layout.divide(mapped).squares
                for source in self._sources:
                    if source.is_dead:
                        remove(source.path)
        except OSError:
            pass  # the images are there; the next run decodes them again
        finally:
            if self._file is not None:
                self._file.close()

    def _mend(self) -> None:
        """Write the rows that had to be decoded again where they belong."""
        if not self._mended:
            return
        layout = self._layout
        with self._target.open("r+b") as file:
            for row in self._mended:
                square = self.images[row]
                file.seek(Header.SIZE + row * 32)
                file.write(self._wanted[row].tobytes())
                file.seek(layout.start + row * layout.row_bytes)
                file.write(square.tobytes())
                file.seek(Header.SIZE + layout.count * 32 + row * 4)
                file.write(np.uint32(_checksum(self._wanted[row], square)).tobytes())
                file.seek(Header.SIZE + layout.count * 36 + row)
                file.write(b"\1")


def _map_whole(target: Path, layout: _Layout, table: NDArray[np.uint8]) -> SquareArray | None:
    """The array that is there; None if there is none, or what is there has another form."""
    try:
        with target.open("rb") as file:
            if file.read(Header.SIZE) != layout.header.to_bytes() or os.fstat(file.fileno()).st_size != layout.total:
                remove(target)
                return None
        mapped = np.memmap(target, dtype=np.uint8, mode="c", shape=(layout.total,))
        os.utime(target)
    except FileNotFoundError:
        return None
    parts = layout.divide(mapped)
    return SquareArray(parts.squares, target, layout, parts, table)


def _map_new(target: Path, layout: _Layout, table: NDArray[np.uint8], sources: list[_Source]) -> SquareArray:
    """An empty array under a name of its own, locked, with its room on the disk reserved."""
    part = part_of(target)
    file = create_locked(part)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, layout.total)  # a full disk shows now, not as a crash while writing
        else:
            file.truncate(layout.total)
        file.write(layout.header.to_bytes() + table.tobytes())
        file.flush()
        mapped = np.memmap(part, dtype=np.uint8, mode="r+", shape=(layout.total,))
    except BaseException:
        file.close()
        remove(part)
        raise
    parts = layout.divide(mapped)
    return SquareArray(parts.squares, target, layout, parts, table, sources, part, file)


def _checksum(digest: NDArray[np.uint8], square: NDArray[np.uint8]) -> int:
    return zlib.crc32(square.data, zlib.crc32(digest.data))


def _key(preprocessing: Preprocessing) -> bytes:
    """Everything that decides what a content's square looks like."""
    values = {
        "resize": preprocessing.resize,
        "fit": preprocessing.fit,
        "interpolation": preprocessing.interpolation,
        "channels": preprocessing.channels,
        "code": hash_code(),
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()

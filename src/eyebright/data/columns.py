"""Images in a column of an Arrow or a Parquet file, each found by its row. Needs pyarrow, which is handed in.

Nothing but a column's bytes is ever opened: the path that may stand beside them is only a name.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, Protocol, final

from eyebright.data.archives import LIMITS
from eyebright.data.tars import write_unpacked
from eyebright.errors import ImageError, printable

_ROWS_AT_ONCE = 64
_DAMAGED = object()
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


class Part(Protocol):
    """One file of images."""

    def read(self, row: int, name: str) -> bytes | None: ...


@final
@dataclass(frozen=True, eq=False)
class ColumnStore:
    """Images in a column of files; names are the file and the row in it: "train-00000-of-00002.parquet: row 17"."""

    parts: Mapping[str, Part]
    folder: str

    def read(self, name: str) -> bytes:
        part, _, row = name.rpartition(": row ")
        file = self.parts.get(part)
        if file is None or not row.isdecimal():
            raise ImageError(self.locate(name), "there is no such row")
        content = file.read(int(row), self.locate(name))
        if content is None:
            raise ImageError(
                self.locate(name),
                "holds no image, at most the path of one, which is not opened; embed the images, as save_to_disk does",
            )
        return content

    def locate(self, name: str) -> str:
        return os.path.join(self.folder, name)


@final
class ArrowPart:
    """An Arrow file in memory-mapped batches: a row is found without reading those before it."""

    def __init__(self, arrow: Any, path: str) -> None:
        source = arrow.memory_map(path)
        try:
            self._batches = list(arrow.ipc.open_stream(source))
        except arrow.ArrowInvalid:
            file = arrow.ipc.open_file(source)
            self._batches = [file.get_batch(i) for i in range(file.num_record_batches)]
            self.schema = file.schema
        else:
            # A stream that was cut off between two batches reads like a shorter one.
            if source.read_at(len(_END_OF_STREAM), source.size() - len(_END_OF_STREAM)) != _END_OF_STREAM:
                raise arrow.ArrowInvalid("it is cut off")
            self.schema = arrow.ipc.open_stream(arrow.memory_map(path)).schema
        self._starts = [0]
        for batch in self._batches:
            self._starts.append(self._starts[-1] + batch.num_rows)
        self.column = ""

    def values(self, column: str) -> list[Any]:
        return [value for batch in self._batches for value in batch.column(column).to_pylist()]

    def read(self, row: int, name: str) -> bytes | None:
        if not row < self._starts[-1]:
            raise ImageError(name, "there is no such row")
        batch = bisect_right(self._starts, row) - 1
        value = self._batches[batch].column(self.column)[row - self._starts[batch]].as_py()
        return _content(value)


@final
class ParquetPart:
    """A Parquet file, whose rows can't be reached singly: at the first one its images are copied into a temporary
    file without a name, one after the other, which is gone when the process is."""

    def __init__(self, arrow: Any, path: str, column: str, rows: int) -> None:
        self._arrow = arrow
        self._path = path
        self._column = column
        self._rows = rows
        self._lock = threading.Lock()
        self._copy: IO[bytes] | None = None
        self._ends = array("q", [0])
        self._present = bytearray()
        self._damaged = bytearray()

    def read(self, row: int, name: str) -> bytes | None:
        if not row < self._rows:
            raise ImageError(name, "there is no such row")
        with self._lock:
            if self._copy is None:
                try:
                    self._copy = self._unpack()
                except (self._arrow.ArrowException, OSError) as error:
                    raise ImageError(name, f"can't be read ({printable(str(error))[:120]})") from None
            if row >= len(self._damaged) or self._damaged[row]:
                raise ImageError(name, "is damaged in its file")
            if not self._present[row]:
                return None
            self._copy.seek(self._ends[row])
            return self._copy.read(self._ends[row + 1] - self._ends[row])

    def _unpack(self) -> IO[bytes]:
        packed = os.path.getsize(self._path)
        ends, present, damaged = array("q", [0]), bytearray(), bytearray()
        copy = tempfile.TemporaryFile(prefix="eyebright-")  # noqa: SIM115 - lives as long as the store
        try:
            for value in self._values():
                content = _content(value)
                ends.append(ends[-1] + len(content or b""))
                present.append(content is not None)
                damaged.append(value is _DAMAGED)
                LIMITS.check_total(ends[-1], packed, self._path)
                write_unpacked(copy, content or b"", self._path)
        except BaseException:
            copy.close()
            raise
        weakref.finalize(self, copy.close)
        self._ends, self._present, self._damaged = ends, present, damaged
        return copy

    def _values(self) -> Iterator[Any]:
        """The column's value in every row; _DAMAGED from a damaged page to the end of its row group."""
        damage = (self._arrow.ArrowException, OSError)
        with self._arrow.parquet.ParquetFile(self._path, buffer_size=1 << 20, page_checksum_verification=True) as file:
            for group in range(file.num_row_groups):
                left = file.metadata.row_group(group).num_rows
                batches = file.iter_batches(
                    batch_size=_ROWS_AT_ONCE, row_groups=[group], columns=[self._column], use_threads=False
                )
                while left > 0:
                    try:
                        values = next(batches).column(0)
                    except (StopIteration, *damage):
                        break
                    for value in values:
                        yield value.as_py()
                    left -= len(values)
                for _ in range(left):
                    yield _DAMAGED


def _content(value: Any) -> bytes | None:
    content = value.get("bytes") if isinstance(value, dict) else value
    return content if isinstance(content, bytes) else None

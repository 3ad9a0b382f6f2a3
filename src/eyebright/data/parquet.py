"""Parquet and Arrow files: a manifest of paths, or Hugging Face `datasets` with the images inside. Needs pyarrow.

Read as they are: a folder that `save_to_disk` wrote (Arrow files, memory-mapped), Parquet files as the Hub has them,
and any Parquet file with a column of image files. Nothing but a column's bytes is ever opened: the path that stands
beside them is only a name.
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import weakref
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol, final

from eyebright.data.archives import LIMITS
from eyebright.data.folders import SPLIT_SYNONYMS, class_name, counted, listed, splits_named_in, table_of_labels
from eyebright.data.manifests import Cells, check_header, table_of_rows
from eyebright.data.samples import SPLITS, UNASSIGNED, SampleTable
from eyebright.data.tars import write_unpacked
from eyebright.errors import DataError, ImageError, MissingExtraError, printable

_IMAGE_NAMES = ("image", "img", "images", "picture", "photo", "jpg", "png", "bytes")
_LABEL_NAMES = ("label", "labels", "class", "fine_label", "target", "cls")
_ROWS_AT_ONCE = 64
_DAMAGED = object()
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"
_STATE, _INFO, _DICT = "state.json", "dataset_info.json", "dataset_dict.json"


def is_parquet_name(name: str) -> bool:
    return name.lower().endswith((".parquet", ".pq"))


def is_arrow_name(name: str) -> bool:
    return name.lower().endswith(".arrow")


class _Part(Protocol):
    """One file of images."""

    def read(self, row: int, name: str) -> bytes | None: ...


@final
@dataclass(frozen=True, eq=False)
class ColumnStore:
    """Images in a column of files; names are the file and the row in it: "train-00000-of-00002.parquet: row 17"."""

    parts: Mapping[str, _Part]
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


def read_parquet(path: str, *, min_classes: int) -> SampleTable:
    """The table of a Parquet file: a manifest with a column path (see `manifests`), or images with labels.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: it is damaged, or has no such columns.
    """
    arrow = _import_pyarrow()
    with _damage_named(arrow, path):
        schema = arrow.parquet.read_schema(path)
    if _image_columns(arrow, schema):
        folder = os.path.dirname(path)
        return read_parquet_files([path], where=path, folder=folder, min_classes=min_classes)
    header = [name for name in schema.names if not name.startswith("__index_level_")]  # pandas' row numbers
    check_header([name.strip().lower() for name in header], printable(path))
    with _damage_named(arrow, path):
        return table_of_rows(
            _manifest_rows(arrow, path, header),
            [name.strip().lower() for name in header],
            where=path,
            unit="row",
            min_classes=min_classes,
        )


def read_parquet_files(paths: Sequence[str], *, where: str, folder: str, min_classes: int) -> SampleTable:
    """The table of Parquet files with images inside; splits come from the files' names (train-00000-of-00002.parquet).

    Args:
        paths: the files, in order.
        where: what to call them all.
        folder: what their names are relative to.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: one is damaged, or has no images or no labels.
    """
    arrow = _import_pyarrow()
    names = [os.path.relpath(path, folder or ".").replace(os.sep, "/") for path in paths]
    reader = _LabelReader(arrow, printable(where))
    parts: dict[str, _Part] = {}
    for name, path, split in zip(names, paths, splits_named_in(names), strict=True):
        with _damage_named(arrow, path):
            schema = arrow.parquet.read_schema(path)
            columns = reader.choose(schema, printable(path), {})
            labels = arrow.parquet.read_table(path, columns=[columns.label]).column(0).to_pylist()
        reader.add(name, labels, columns, split)
        parts[name] = _ParquetPart(arrow, path, columns.image, len(labels))
    return reader.table(ColumnStore(parts, folder), where, min_classes)


def read_saved_dataset(folder: str, *, min_classes: int) -> SampleTable:
    """The table of a folder that Hugging Face's `save_to_disk` wrote, of one split or of several.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: files are absent or damaged, or there are no images or no labels.
    """
    arrow = _import_pyarrow()
    shown = printable(folder)
    if os.path.isfile(os.path.join(folder, _DICT)):
        told = _read_json(os.path.join(folder, _DICT)).get("splits")
        if not isinstance(told, list) or not all(_is_file_name(name) for name in told):
            raise DataError(f"{shown}: {_DICT} does not list the splits")
        below = [(name, name) for name in told]
    else:
        below = [("", "")]
    reader = _LabelReader(arrow, shown)
    parts: dict[str, _Part] = {}
    for inner, split in below:
        of_split = os.path.join(folder, inner) if inner else folder
        state = _read_json(os.path.join(of_split, _STATE))
        info = _read_json(os.path.join(of_split, _INFO))
        index = SPLIT_SYNONYMS.get(split.lower())
        if split and index is None:
            reader.notes.append(f'the split "{printable(split)}" is none of train, val and test; it is divided')
        for file in _data_files(state, of_split):
            path = os.path.join(of_split, file)
            with _damage_named(arrow, path):
                part = _ArrowPart(arrow, path)
                columns = reader.choose(part.schema, printable(path), info)
                part.column = columns.image
                labels = part.values(columns.label)
            name = f"{inner}/{file}" if inner else file
            reader.add(name, labels, columns, UNASSIGNED if index is None else SPLITS.index(index))
            parts[name] = part
    return reader.table(ColumnStore(parts, folder), folder, min_classes)


def is_saved_dataset(folder: str) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in (_STATE, _DICT))


# Labels


@dataclass(frozen=True, kw_only=True)
class _Columns:
    image: str
    label: str
    class_names: tuple[str, ...] | None


class _LabelReader:
    """Collects the labels of one file after the other."""

    def __init__(self, arrow: Any, shown: str) -> None:
        self.notes: list[str] = []
        self._arrow = arrow
        self._shown = shown
        self._names: list[str] = []
        self._labels: list[tuple[str, ...]] = []
        self._splits: list[int] = []
        self._without: list[str] = []
        self._once: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._several = False

    def choose(self, schema: Any, shown: str, info: Mapping[str, Any]) -> _Columns:
        """The columns of images and labels, and the names of the classes."""
        features = _features(schema) or info.get("features") or {}
        if not isinstance(features, dict):
            features = {}
        images = _image_columns(self._arrow, schema)
        if not images:
            raise DataError(f"{shown}: has the columns {listed(schema.names, limit=8)}, but none of images")
        image = _preferred(images, _IMAGE_NAMES)
        told = [name for name in schema.names if _class_label(features.get(name)) is not None]
        label = _preferred(told, _LABEL_NAMES) if told else _preferred_or_none(schema.names, _LABEL_NAMES)
        if label is None:
            raise DataError(
                f"{shown}: has the columns {listed(schema.names, limit=8)}, but none of labels; name it label"
            )
        for kind, chosen, found in (("images", image, images), ("labels", label, told)):
            note = f"of the columns of {kind}, {printable(chosen)} is used: {listed(found)}"
            if len(found) > 1 and note not in self.notes:
                self.notes.append(note)
        names = _class_label(features.get(label))
        return _Columns(image=image, label=label, class_names=names or None)

    def add(self, part: str, labels: Sequence[Any], columns: _Columns, split: int) -> None:
        """Add a file's labels; rows without one are left out."""
        for row, label in enumerate(labels):
            name = f"{part}: row {row}"
            several = isinstance(label, list)
            self._several |= several
            found = [self._name(value, columns, name) for value in (label if several else [label])]
            known = tuple(dict.fromkeys(value for value in found if value is not None))
            if not known:
                self._without.append(name)
                continue
            self._names.append(name)
            self._labels.append(self._once.setdefault(known, known))
            self._splits.append(split)

    def table(self, store: ColumnStore, where: str, min_classes: int) -> SampleTable:
        if not self._names:
            raise DataError(f"{self._shown}: no image has a label")
        notes = [*self.notes]
        if self._without:
            notes.append(
                f"{counted(len(self._without), 'image', 'images')} without a label left out: {listed(self._without)}"
            )
        return table_of_labels(
            store,
            self._names,
            [labels[0] for labels in self._labels],
            splits=self._splits,
            label_sets=self._labels if self._several else None,
            notes=notes,
            where=where,
            min_classes=min_classes,
            kind="label",
        )

    def _name(self, value: Any, columns: _Columns, place: str) -> str | None:
        if value is None or value == -1:  # Hugging Face marks test samples without a label so
            return None
        names = columns.class_names
        if isinstance(value, str):
            return class_name(value.strip()) or None
        if not isinstance(value, int):
            raise DataError(
                f"{self._shown}: {printable(place)} has the label {value!r:.40}; it must be a class's name or number"
            )
        if names is None:
            return str(int(value))
        if not 0 <= value < len(names):
            raise DataError(
                f"{self._shown}: {printable(place)} has the label {value}, but there are {len(names)} classes, "
                "counted from 0"
            )
        return names[value]


def _features(schema: Any) -> dict[str, Any]:
    """What Hugging Face `datasets` notes about the columns; empty where it did not write the file."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _class_label(feature: Any) -> tuple[str, ...] | None:
    """The names of a ClassLabel, or of a list of them; None for another feature."""
    if isinstance(feature, list) and len(feature) == 1:
        return _class_label(feature[0])
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _class_label(feature.get("feature"))
    names = feature.get("names")
    if feature.get("_type") != "ClassLabel" or not isinstance(names, list):
        return None
    return tuple(class_name(str(name)) for name in names)


def _image_columns(arrow: Any, schema: Any) -> list[str]:
    """Columns of {bytes, path}, or of plain bytes."""
    return [field.name for field in schema if _bytes_type(arrow, field.type) is not None]


def _bytes_type(arrow: Any, kind: Any) -> str | None:
    """ "struct" or "plain" for a column that holds files, None for another."""
    types = arrow.types
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "plain"
    if types.is_struct(kind):
        inner = [kind.field(i) for i in range(kind.num_fields)]
        if any(field.name == "bytes" and _bytes_type(arrow, field.type) == "plain" for field in inner):
            return "struct"
    return None


def _preferred(names: Sequence[str], known: Sequence[str]) -> str:
    return _preferred_or_none(names, known) or names[0]


def _preferred_or_none(names: Sequence[str], known: Sequence[str]) -> str | None:
    by_name = {name.lower(): name for name in names}
    return next((by_name[name] for name in known if name in by_name), None)


# Files


@final
class _ArrowPart:
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
class _ParquetPart:
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


def _manifest_rows(arrow: Any, path: str, header: Sequence[str]) -> Iterator[tuple[int, Cells]]:
    number = 0
    with arrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=list(header)):
            for row in batch.to_pylist():
                number += 1
                yield number, {name.strip().lower(): _cell(row[name], name, number, path) for name in header}


def _cell(value: Any, name: str, number: int, path: str) -> str | list[str]:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and name.strip().lower() != "path":
        return str(int(value))
    if isinstance(value, list) and name.strip().lower() == "labels" and all(isinstance(v, str | int) for v in value):
        return [str(label) for label in value]
    raise DataError(f"{printable(path)}: row {number} has a {type(value).__name__} as {name}; it must be text")


def _data_files(state: Mapping[str, Any], folder: str) -> list[str]:
    """The Arrow files in the order of their samples."""
    told = state.get("_data_files")
    files = [entry.get("filename") for entry in told if isinstance(entry, dict)] if isinstance(told, list) else []
    if not files or not all(_is_file_name(name) for name in files):
        raise DataError(f"{printable(os.path.join(folder, _STATE))}: does not list the data's files beside it")
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise DataError(f"{printable(folder)}: selects rows by an old way of saving; load and save it again")
    return [str(name) for name in files]


def _is_file_name(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        raise DataError(f"{printable(path)}: is missing; save the data again with save_to_disk") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{printable(path)}: can't be read ({printable(str(error))[:100]})") from None
    if not isinstance(content, dict):
        raise DataError(f"{printable(path)}: is not what save_to_disk writes")
    return content


def _import_pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
        import pyarrow.types
    except ImportError as error:
        raise MissingExtraError("reading Parquet and Arrow files", "parquet") from error
    return pyarrow


@contextmanager
def _damage_named(arrow: Any, path: str) -> Iterator[None]:
    """Whatever pyarrow raises becomes a DataError that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{printable(path)}: does not exist") from None
    except (arrow.ArrowException, OSError, ValueError, KeyError) as error:
        raise DataError(f"{printable(path)}: is damaged or can't be read ({printable(str(error))[:120]})") from None

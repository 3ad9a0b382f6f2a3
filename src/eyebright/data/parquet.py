"""Parquet and Arrow files: a manifest of paths, or Hugging Face `datasets` with the images inside. Needs pyarrow.

Read as they are: a folder that `save_to_disk` wrote (Arrow files, memory-mapped), Parquet files as the Hub has them,
and any Parquet file with a column of image files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from eyebright.data.column_labels import LabelReader, cell_text, list_image_columns
from eyebright.data.columns import ArrowPart, ColumnStore, ParquetPart, Part
from eyebright.data.folders import SPLIT_SYNONYMS, splits_named_in
from eyebright.data.manifests import COLUMNS, Cells, check_header, column_name, table_of_rows
from eyebright.data.samples import SPLITS, UNASSIGNED, SampleTable
from eyebright.errors import DataError, MissingExtraError, printable

_STATE, _INFO, _DICT = "state.json", "dataset_info.json", "dataset_dict.json"


def is_parquet_name(name: str) -> bool:
    return name.lower().endswith((".parquet", ".pq"))


def is_arrow_name(name: str) -> bool:
    return name.lower().endswith(".arrow")


def read_parquet(path: str, *, min_classes: int, keep_absent: bool = False) -> SampleTable:
    """The table of a Parquet file: a manifest with a column path (see `manifests`), or images with labels.

    `keep_absent` is for the first, as in `manifests.read_manifest`.

    Raises:
        MissingExtraError: pyarrow is not installed.
        DataError: it is damaged, or has no such columns.
    """
    arrow = _import_pyarrow()
    with _damage_named(arrow, path):
        schema = arrow.parquet.read_schema(path)
    if list_image_columns(arrow, schema):
        folder = os.path.dirname(path)
        return read_parquet_files([path], where=path, folder=folder, min_classes=min_classes)
    header = [
        field.name
        for field in schema
        if not field.name.startswith("__index_level_")  # pandas' row numbers
        and (column_name(field.name) in COLUMNS or not arrow.types.is_nested(field.type))
    ]
    check_header([column_name(name) for name in header], printable(path))
    with _damage_named(arrow, path):
        return table_of_rows(
            _manifest_rows(arrow, path, header),
            [column_name(name) for name in header],
            where=path,
            unit="row",
            min_classes=min_classes,
            keep_absent=keep_absent,
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
    reader = LabelReader(arrow, printable(where))
    parts: dict[str, Part] = {}
    for name, path, split in zip(names, paths, splits_named_in(names), strict=True):
        with _damage_named(arrow, path):
            schema = arrow.parquet.read_schema(path)
            columns = reader.choose(schema, printable(path), {})
            labels = arrow.parquet.read_table(path, columns=[columns.label]).column(0).to_pylist()
        more = {}
        for column in columns.more:
            with reader.needed_or_left_out(column), _damage_named(arrow, path):
                more[column] = arrow.parquet.read_table(path, columns=[column]).column(0).to_pylist()
        reader.add(name, labels, columns, split, more)
        parts[name] = ParquetPart(arrow, path, columns.image, len(labels))
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
    reader = LabelReader(arrow, shown)
    parts: dict[str, Part] = {}
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
                part = ArrowPart(arrow, path)
                columns = reader.choose(part.schema, printable(path), info)
                part.column = columns.image
                labels = part.values(columns.label)
            more = {}
            for column in columns.more:
                with reader.needed_or_left_out(column), _damage_named(arrow, path):
                    more[column] = part.values(column)
            name = f"{inner}/{file}" if inner else file
            reader.add(name, labels, columns, UNASSIGNED if index is None else SPLITS.index(index), more)
            parts[name] = part
    return reader.table(ColumnStore(parts, folder), folder, min_classes)


def is_saved_dataset(folder: str) -> bool:
    """Whether `save_to_disk` wrote a folder."""
    return any(os.path.isfile(os.path.join(folder, name)) for name in (_STATE, _DICT))


# Files


def _manifest_rows(arrow: Any, path: str, header: Sequence[str]) -> Iterator[tuple[int, Cells]]:
    number = 0
    with arrow.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=list(header)):
            for row in batch.to_pylist():
                number += 1
                yield number, {column_name(name): _cell(row[name], name, number, path) for name in header}


def _cell(value: Any, name: str, number: int, path: str) -> str | list[str]:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) and column_name(name) in COLUMNS:
        value = int(value)
    text = cell_text(value)
    whole = isinstance(value, int | float) and (not text or text.lstrip("-").isdecimal())
    if column_name(name) not in COLUMNS or not text or (whole and column_name(name) != "path"):
        return text
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
    except (arrow.ArrowException, OSError, ValueError, KeyError, OverflowError) as error:
        raise DataError(f"{printable(path)}: is damaged or can't be read ({printable(str(error))[:120]})") from None

"""A CSV file that lists images: `path,label`, and if wanted `split` and `group`."""

from __future__ import annotations

import csv
import io
import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from eyebright.data.folders import SPLIT_SYNONYMS, FolderStore, class_name, counted, listed, table_of_labels
from eyebright.data.samples import SPLITS, UNASSIGNED, SampleTable
from eyebright.errors import DataError, nearest, printable

_REQUIRED = ("path", "label")
_COLUMNS = (*_REQUIRED, "split", "group")
_DELIMITERS = (",", ";", "\t")


@dataclass(frozen=True, kw_only=True)
class _Row:
    line: int
    path: str
    label: str
    split: int
    group: str


def read_manifest(path: str, *, min_classes: int) -> SampleTable:
    """The table of a CSV file; relative paths start at the CSV's folder.

    The first line names the columns: path, label, and optionally split (train, val, test or empty) and group.
    Separated by commas, semicolons or tabs. A path listed twice is kept once if both rows agree.

    Raises:
        DataError: it can't be read, a column is unknown or absent, a row is incomplete or contradicts another,
            or files are missing; each with the line or the names.
    """
    shown = printable(path)
    rows, has_groups = _read_rows(path, shown)
    if not rows:
        raise DataError(f"{shown}: has a header but no rows; list one image per line")
    kept: dict[str, _Row] = {}
    repeated: list[str] = []
    for row in rows:
        earlier = kept.setdefault(row.path, row)
        if earlier is row:
            continue
        for column in ("label", "split", "group"):
            if getattr(earlier, column) != getattr(row, column):
                raise DataError(
                    f"{shown}: {printable(row.path)} has one {column} in line {earlier.line} and another in line "
                    f"{row.line}; keep the right one"
                )
        repeated.append(row.path)

    store = FolderStore(os.path.dirname(path))
    missing = [name for name in kept if not os.path.exists(store.locate(name))]
    if missing:
        raise DataError(
            f"{shown}: {counted(len(missing), 'file does', 'files do')} not exist: {listed(missing)}; "
            f"relative paths start at {printable(os.path.abspath(store.root))}"
        )
    notes = []
    if repeated:
        notes.append(f"{counted(len(repeated), 'repeated row', 'repeated rows')} dropped: {listed(repeated)}")
    return table_of_labels(
        store,
        tuple(kept),
        [row.label for row in kept.values()],
        splits=[row.split for row in kept.values()],
        groups=tuple(_group(row) for row in kept.values()) if has_groups else None,
        notes=notes,
        where=path,
        min_classes=min_classes,
        kind="label",
    )


def _group(row: _Row) -> str:
    # A sample without a group is one of its own; a null character can't be in a group that the file names.
    return row.group or f"\0{row.path}"


def _read_rows(path: str, shown: str) -> tuple[list[_Row], bool]:
    """The rows, and whether there is a column of groups."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            text = file.read()
    except OSError as error:
        raise DataError(f"{shown}: can't be read ({error.strerror})") from None
    first_line = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[_Row] = []
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header, shown)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append(_row(header, cells, reader.line_num, shown))
    except csv.Error as error:
        raise DataError(f"{shown}: line {reader.line_num} is no valid CSV ({error})") from None
    return rows, "group" in header


def _check_header(header: Sequence[str], shown: str) -> None:
    if not any(header):
        raise DataError(f"{shown}: is empty; its first line must be: path,label")
    for name in header:
        if name not in _COLUMNS:
            raise DataError(f'{shown}: unknown column "{printable(name)[:60]}"; {nearest(name, _COLUMNS)}')
        if header.count(name) > 1:
            raise DataError(f'{shown}: the column "{name}" is there twice')
    for name in _REQUIRED:
        if name not in header:
            raise DataError(f'{shown}: the column "{name}" is missing; the first line must be: path,label')


def _row(header: Sequence[str], cells: Sequence[str], line: int, shown: str) -> _Row:
    if len(cells) != len(header):
        raise DataError(f"{shown}: line {line} has {len(cells)} columns and the header {len(header)}")
    values = dict(zip(header, cells, strict=True))
    for name in _REQUIRED:
        if not values[name].strip():
            raise DataError(f"{shown}: line {line} has no {name}")
    split = values.get("split", "").strip().lower()
    if split and split not in SPLIT_SYNONYMS:
        raise DataError(
            f'{shown}: line {line} has the split "{printable(split)}"; use train, val, test, or leave it empty'
        )
    return _Row(
        line=line,
        path=posixpath.normpath(values["path"]),
        label=class_name(values["label"].strip()),
        split=SPLITS.index(SPLIT_SYNONYMS[split]) if split else UNASSIGNED,
        group=values.get("group", "").strip(),
    )

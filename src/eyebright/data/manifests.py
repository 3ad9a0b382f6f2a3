"""A table that lists images: `path,label`, if wanted `split` and `group`, and any columns to slice by."""

from __future__ import annotations

import csv
import difflib
import os
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from eyebright.data.folders import (
    SPLIT_SYNONYMS,
    FolderStore,
    class_name,
    counted,
    listed,
    merged_spellings,
    table_of_labels,
)
from eyebright.data.samples import SPLITS, UNASSIGNED, SampleTable
from eyebright.errors import DataError, nearest, printable

COLUMNS = ("path", "label", "labels", "split", "group")
_DELIMITERS = (",", ";", "\t")
BETWEEN_LABELS = "|"
NEARLY = 0.75
"""As difflib's ratio: a column so much like one that is not there is a slip ("splits", "grup"), none to slice by."""

Cells = Mapping[str, str | Sequence[str]]
"""Column -> text; the labels of a sample may be a list already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    number: int
    labels: tuple[str, ...]
    split: int
    group: str
    more: tuple[str, ...]


def read_manifest(path: str, *, min_classes: int, keep_absent: bool = False) -> SampleTable:
    """The table of a CSV or TSV file; relative paths start at its folder.

    The first line names the columns: path, label, and optionally split (train, val, test or empty) and group. Whatever
    other columns there are (camera, site, day) is kept, so that results can be told for each of their values.
    Separated by commas, semicolons or tabs. Instead of label there may be labels: the classes of a sample that has
    several, with | between them. A path listed twice is kept once if both rows agree. With `keep_absent`, files that
    are missing are samples that can't be read.

    Raises:
        DataError: it can't be read, a column is misspelt or absent, a row is incomplete or contradicts another,
            or files are missing; each with the line or the names.
    """
    shown = printable(path)
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            first_line = file.readline()
            if "\0" in first_line:
                raise DataError(f"{shown}: is no UTF-8 text, maybe UTF-16; save it as CSV in UTF-8")
            delimiter = max(_DELIMITERS, key=first_line.count)
            file.seek(0)
            # Blanks behind a comma belong to nothing, in a path no more than in a label; those in quotes stay.
            reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
            try:
                header = [column_name(name) for name in next(reader, [])]
                check_header(header, shown)
                rows = _cells(reader, header, shown)
                return table_of_rows(
                    rows, header, where=path, unit="line", min_classes=min_classes, keep_absent=keep_absent
                )
            except csv.Error as error:
                raise DataError(f"{shown}: line {reader.line_num} is no valid CSV ({error})") from None
    except OSError as error:
        raise DataError(f"{shown}: can't be read ({error.strerror})") from None


def column_name(given: str) -> str:
    """A column as it is called from here on: small letters for those that Eyebright looks for, others as they are."""
    name = given.strip()
    return name.lower() if name.lower() in COLUMNS else name


def check_header(header: Sequence[str], shown: str) -> None:
    """Refuse a manifest without path or labels, and a column that is nearly named like one that Eyebright looks for.

    Args:
        header: the columns, by `column_name`; some may have no name, as the row numbers that pandas writes.
        shown: the manifest, for messages.

    Raises:
        DataError: which column.
    """
    if not any(header):
        raise DataError(f"{shown}: is empty; its first line must be: path,label")
    folded = [name.lower() for name in header if name]
    for name in folded:
        if folded.count(name) > 1:
            raise DataError(f'{shown}: the column "{printable(name)[:60]}" is there twice')
    if "label" in header and "labels" in header:
        raise DataError(f"{shown}: has the columns label and labels; keep label for one class each, labels for several")
    missing = [name for name in ("path", "label") if name not in header and f"{name}s" not in header]
    absent = [*missing, *(name for name in ("split", "group") if name not in header)]
    for name in folded:
        # Taken for one to slice by, a misspelt "group" would let one patient's images be trained and tested on.
        if name not in COLUMNS and difflib.get_close_matches(name, absent, n=1, cutoff=NEARLY):
            told = nearest(name, absent)
            raise DataError(
                f'{shown}: unknown column "{printable(name)[:60]}"; {told} If not, give it a name less like that one'
            )
    if missing:
        raise DataError(f'{shown}: the column "{missing[0]}" is missing; the first line must be: path,label')


def table_of_rows(
    rows: Iterable[tuple[int, Cells]],
    header: Sequence[str],
    *,
    where: str,
    unit: str,
    min_classes: int,
    keep_absent: bool = False,
) -> SampleTable:
    """The table of a manifest's rows.

    Args:
        rows: the number of each row, and its cells by column.
        header: the columns, checked; cells of the same names.
        where: the manifest; relative paths start at its folder.
        unit: what the numbers count: "line" or "row".
        keep_absent: see `read_manifest`.

    Raises:
        DataError: see `read_manifest`.
    """
    shown = printable(where)
    column = "labels" if "labels" in header else "label"
    others = [name for name in header if name and name not in COLUMNS]
    kept: dict[str, _Row] = {}
    repeated: list[str] = []
    once: dict[str, str] = {}  # a million rows share the few names of their classes
    spellings: set[str] = set()
    root = os.path.dirname(os.path.abspath(where))
    for number, cells in rows:
        path, row = _row(number, cells, column, others, f"{shown}: {unit} {number}", once, spellings)
        path = _relative(path, root)
        earlier = kept.setdefault(path, row)
        if earlier is row:
            continue
        differs = (
            (column, sorted(earlier.labels) != sorted(row.labels)),
            ("split", earlier.split != row.split),
            ("group", earlier.group != row.group),
        )
        for name, is_different in differs:
            if is_different:
                raise DataError(
                    f"{shown}: {printable(path)} has one {name} in {unit} {earlier.number} and another in {unit} "
                    f"{number}; keep the right one"
                )
        repeated.append(path)
    if not kept:
        raise DataError(f"{shown}: has a header but no rows; list one image per line")

    store = FolderStore(os.path.dirname(where))
    missing = [] if keep_absent else [name for name in kept if not os.path.exists(store.locate(name))]
    if missing:
        raise DataError(
            f"{shown}: {counted(len(missing), 'file does', 'files do')} not exist: {listed(missing)}; "
            f"relative paths start at {printable(os.path.abspath(store.root))}"
        )
    notes = merged_spellings(spellings)
    if repeated:
        notes.append(f"{counted(len(repeated), 'repeated row', 'repeated rows')} dropped: {listed(repeated)}")
    return table_of_labels(
        store,
        tuple(kept),
        [row.labels[0] for row in kept.values()],
        splits=[row.split for row in kept.values()],
        # A sample without a group is one of its own; a null character can't be in a group that the file names.
        groups=tuple(row.group or f"\0{path}" for path, row in kept.items()) if "group" in header else None,
        label_sets=[row.labels for row in kept.values()] if column == "labels" else None,
        columns={name: tuple(row.more[i] for row in kept.values()) for i, name in enumerate(others)},
        notes=notes,
        where=where,
        min_classes=min_classes,
        kind="label",
    )


def _relative(path: str, root: str) -> str:
    """One name for a file, whichever way it is written: below the manifest's folder, or else absolute."""
    plain = posixpath.normpath(path)
    inside = plain.startswith(f"{root.rstrip('/')}/")
    return plain[len(root.rstrip("/")) + 1 :] if inside else plain


def _cells(reader: Iterator[list[str]], header: Sequence[str], shown: str) -> Iterator[tuple[int, Cells]]:
    number = 0
    for cells in reader:
        number = reader.line_num  # type: ignore[attr-defined]
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise DataError(f"{shown}: line {number} has {len(cells)} columns and the header {len(header)}")
        yield number, dict(zip(header, cells, strict=True))


def _row(
    number: int,
    cells: Cells,
    column: str,
    others: Sequence[str],
    shown: str,
    once: dict[str, str],
    spellings: set[str],
) -> tuple[str, _Row]:
    path = str(cells["path"])
    if not path.strip():
        raise DataError(f"{shown} has no path")
    found = cells[column]
    if isinstance(found, str):
        found = found.split(BETWEEN_LABELS) if column == "labels" else [found]
    raw = [label for label in found if label.strip()]
    if not raw:
        raise DataError(f"{shown} has no {column}")
    spellings.update(raw)
    labels = dict.fromkeys(class_name(label.strip()) for label in raw)  # in order, each once
    split = str(cells.get("split", "")).strip().lower()
    if split and split not in SPLIT_SYNONYMS:
        raise DataError(f'{shown} has the split "{printable(split)}"; use train, val, test, or leave it empty')
    group = str(cells.get("group", "")).strip()
    return path, _Row(
        number=number,
        labels=tuple(once.setdefault(label, label) for label in labels),
        split=SPLITS.index(SPLIT_SYNONYMS[split]) if split else UNASSIGNED,
        group=once.setdefault(group, group),
        more=tuple(once.setdefault(value, value) for value in (str(cells[name]).strip() for name in others)),
    )

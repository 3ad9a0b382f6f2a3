"""Where a classifier does badly: its accuracy on parts of the test images, the worst first.

Parts are made by folder, by group and the other columns of a list of images, by image size and by confidence.
N samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from eyebright import metrics
from eyebright.data.headers import read_header
from eyebright.data.samples import ImageStore, SampleTable
from eyebright.errors import ImageError
from eyebright.evaluation.columns import MOST_VALUES, choose_columns

FEWEST = 5
"""A part of fewer samples says nothing."""
MOST_READ = 20_000
"""Up to so many images are asked for their size; reading a file's head again costs time."""
_CONFIDENCES = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 0.99), (0.99, 1.0))


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A part of the test images."""

    kind: str
    """"folder", "group", "column", "image size" or "confidence"."""
    name: str
    num_samples: int
    num_correct: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    column: str | None = None
    """Which column of the list of images, if its `name` is a value there."""

    @property
    def where(self) -> str:
        """What `name` is one of: the kind, or the column's name."""
        return self.kind if self.column is None else self.column


def list_slices(
    table: SampleTable,
    correct: NDArray[np.bool_],
    confidence: NDArray[np.floating],
    columns: Sequence[str] = (),
) -> tuple[Slice, ...]:
    """Every part of at least five samples; those that are certainly bad first.

    They are ordered by the upper end of the accuracy's interval, so that a small part that is bad by chance does not
    come before a large one that is bad indeed.

    Args:
        table: N samples.
        correct: (N,)
        confidence: (N,) NaN for images that could not be read.
        columns: of the list of images; see `choose_columns`.

    Raises:
        DataError: there is no such column.
    """
    found = _by_name("folder", _folders(table), correct)
    chosen = choose_columns(table, columns)
    for column, values in chosen.items():
        found += _by_name("column", values, correct, column=column)
    if table.groups is not None and "group" not in chosen:
        found += _by_name("group", table.groups, correct)
    found += _by_size(table, correct)
    for low, high in _CONFIDENCES:
        # Closed below: calibrated confidences of exactly 0.5 come of two classes that are equally likely.
        inside = (confidence >= low) & ((confidence < high) | (high == 1.0))
        shown = f"{low * 100:.0f} to {high * 100:.0f} %"
        found += _slice("confidence", shown, np.flatnonzero(inside), correct)
    return tuple(sorted(found, key=lambda part: (part.accuracy_high, part.accuracy, part.where, part.name)))


def _folders(table: SampleTable) -> list[str]:
    """Each sample's folder; nothing where folders are the classes, which have a table of their own."""
    folders = [str(PurePosixPath(name).parent) for name in table.names]
    pairs = set(zip(folders, table.labels.tolist(), strict=True))
    return [] if len(pairs) == len(set(folders)) == len({label for _, label in pairs}) else folders


def _by_name(kind: str, values: Sequence[str], correct: NDArray[np.bool_], *, column: str | None = None) -> list[Slice]:
    """One part for each value, if there are a few; a single one would be the whole."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, value in enumerate(values):
        rows[value].append(row)
    if len(rows) < 2 or (column is None and len(rows) > MOST_VALUES):
        return []
    return [part for value in sorted(rows) for part in _slice(kind, value, rows[value], correct, column=column)]


def _by_size(table: SampleTable, correct: NDArray[np.bool_]) -> list[Slice]:
    """A third each of small, middling and large images, by their shorter side; nothing where all are alike."""
    if len(table) > MOST_READ:
        return []
    sides = np.array([_short_side(table.store, name) for name in table.names])
    known = sides[sides > 0]
    if len(known) < 3 * FEWEST:
        return []
    # Cut between sizes that occur, so that two cameras make two parts.
    part = np.searchsorted(np.unique(np.quantile(known, (1 / 3, 2 / 3), method="lower")), sides, side="left")
    found = []
    for number in np.unique(part[sides > 0]).tolist():
        inside = (part == number) & (sides > 0)
        low, high = int(sides[inside].min()), int(sides[inside].max())
        shown = f"shorter side of {low} pixels" if low == high else f"shorter side of {low} to {high} pixels"
        found += _slice("image size", shown, np.flatnonzero(inside), correct)
    return found if len(found) > 1 else []


def _short_side(store: ImageStore, name: str) -> int:
    """In pixels; 0 where it can't be told."""
    try:
        content = store.read(name)
        if not isinstance(content, bytes):
            return int(min(content.shape[:2]))
        header = read_header(content, name)
        return min(header.width, header.height)
    except ImageError:
        return 0


def _slice(
    kind: str, name: str, rows: Iterable[int], correct: NDArray[np.bool_], *, column: str | None = None
) -> list[Slice]:
    """The part, in a list that is empty if it is too small."""
    inside = correct[np.asarray(list(rows), dtype=np.int64)]
    if len(inside) < FEWEST:
        return []
    right = int(inside.sum())
    interval = metrics.wilson_interval(right, len(inside))
    return [
        Slice(
            kind=kind,
            name=name,
            num_samples=len(inside),
            num_correct=right,
            accuracy=right / len(inside),
            accuracy_low=interval.low,
            accuracy_high=interval.high,
            column=column,
        )
    ]

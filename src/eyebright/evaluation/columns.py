"""The columns of a list of images (camera, site, day) as parts of the test images. N samples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from eyebright.data.samples import SampleTable
from eyebright.errors import printable

MOST_VALUES = 50
"""A column, folder or group with more values than this has a name for every sample, or nearly."""
EMPTY = "(empty)"
"""What a part is called whose samples have nothing in the column."""


def choose_columns(table: SampleTable, asked: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """The columns to make parts of, by name, each with the value that every sample has in it.

    Args:
        table: N samples.
        asked: names of columns, in any case; nothing takes every column of 2 to 50 values, but for those that say the
            class once more. A column that was asked for may have more values: if all are numbers, three ranges with a
            third of the samples each take their place.

    Raises:
        DataError: there is no such column.
    """
    if asked:
        names = dict.fromkeys(table.find_column(name) for name in asked)
        return {name: _in_ranges(_values(table, name)) for name in names}
    found = {name: _values(table, name) for name in table.columns}
    return {
        name: values
        for name, values in found.items()
        if 1 < len(set(values)) <= MOST_VALUES and not _says_the_class(table, values)
    }


def remark_on_columns(columns: dict[str, tuple[str, ...]], fewest: int) -> tuple[str, ...]:
    """Which values too few samples have to say anything about; a sentence for each column that has some.

    Args:
        columns: from `choose_columns`.
        fewest: how many samples make a part.
    """
    remarks = []
    for name, values in columns.items():
        counts = Counter(values)
        few = [value for value, count in sorted(counts.items()) if count < fewest]
        if few:
            shown = ", ".join(printable(value)[:40] for value in few[:5]) + (" ..." if len(few) > 5 else "")
            remarks.append(
                f'Of "{printable(name)[:60]}", {len(few):,} of {len(counts):,} values have fewer than {fewest} test '
                f"images, too few to tell: {shown}."
            )
    return tuple(remarks)


def _values(table: SampleTable, name: str) -> tuple[str, ...]:
    if name == "group" and table.groups is not None:
        # A sample without a group has one of its own, which the list does not name.
        return tuple(EMPTY if value.startswith("\0") else value for value in table.groups)
    return tuple(value or EMPTY for value in table.columns[name])


def _says_the_class(table: SampleTable, values: Sequence[str]) -> bool:
    """Whether each value is one class and each class one value: the table of classes tells that already."""
    pairs = set(zip(values, table.labels.tolist(), strict=True))
    return len(pairs) == len(set(values)) == len({label for _, label in pairs})


def _in_ranges(values: tuple[str, ...]) -> tuple[str, ...]:
    """Many different numbers as three ranges; anything else as it is."""
    told = {value for value in values if value != EMPTY}
    if len(told) <= MOST_VALUES:
        return values
    try:
        number_of = {value: float(value) for value in told}
    except ValueError:
        return values
    if not all(map(math.isfinite, number_of.values())):
        return values
    numbers = np.array([number_of[value] for value in values if value != EMPTY])
    edges: list[float] = np.unique(np.quantile(numbers, (0, 1 / 3, 2 / 3, 1), method="nearest")).tolist()
    ranges = [(low, f"{low:g} to {'' if high == edges[-1] else 'below '}{high:g}") for low, high in pairwise(edges)]
    if len(ranges) < 2:  # nearly all are the same
        return values

    def place(value: str) -> str:
        if value == EMPTY:
            return value
        return next(words for low, words in reversed(ranges) if low <= number_of[value])

    return tuple(map(place, values))

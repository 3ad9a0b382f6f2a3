"""The images behind each cell of a confusion matrix, as the page keeps them: small, and each once.

The page's script (`cells.js`) shows them when a cell is chosen. N samples, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyebright.errors import ImageError, printable
from eyebright.evaluation.report import EvaluationReport
from eyebright.page.thumbnail import picture

ReadThumbnail = Callable[[str], NDArray[np.uint8] | None]
"""A sample's name -> its image (H, W, 3) uint8, or None where it can't be shown."""

BUDGET = 2_000_000
"""Characters that pictures may take in a page: with them a page of 2,000 test images stays below 3 MB."""
_FIRST = 12
"""So many of every cell are kept before any cell gets more."""
_SIDE, _QUALITY = 64, 60


@dataclass(frozen=True)
class _Cell:
    label: int
    predicted: int
    rows: tuple[int, ...]
    """Of the table: surest first where it is a mistake, least sure first where it is right."""


def can_show_cells(reports: Sequence[EvaluationReport], names: Sequence[str]) -> bool:
    """Whether reports tell what was said of each of these images; those of older versions do not."""
    return bool(names) and all(len(report.predicted.split()) == len(names) for report in reports)


def describe_cells(reports: Sequence[EvaluationReport], names: Sequence[str], read_thumbnail: ReadThumbnail) -> str:
    """JSON that may stand within <script>: every name inert, `<` escaped.

    `classes`: K names. `pictures`: of each image that is kept, its name and its picture, or null where it can't be
    shown. `networks`: for each report, by "label,predicted", pairs of a picture's place among these and the confidence
    in percent, or -1.

    Args:
        reports: on the same N samples, `can_show_cells`.
        names: N, as the store of samples calls them.
        read_thumbnail: reads one of them.
    """
    found = [list_cells(report) for report in reports]
    pictures: dict[int, list[str | None]] = {}
    left = BUDGET
    for row in _in_turn(found):
        if row not in pictures:
            shown = _read(read_thumbnail, names[row])
            cost = len(shown or "") + len(names[row])
            if cost > left:
                break
            left -= cost
            pictures[row] = [_end(names[row]), shown]
    place = {row: number for number, row in enumerate(pictures)}
    networks = []
    for report, cells in zip(reports, found, strict=True):
        sure = confidences_of(report)
        networks.append(
            {
                f"{cell.label},{cell.predicted}": [[place[row], sure[row]] for row in cell.rows if row in place]
                for cell in cells
            }
        )
    content = {
        "classes": [printable(name) for name in reports[0].class_names],
        "pictures": list(pictures.values()),
        "networks": networks,
    }
    # Inside <script>, only "<" could end the block; \u003c is the same to JSON.
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")


def list_cells(report: EvaluationReport) -> tuple[_Cell, ...]:
    """Every cell that holds an image, mistakes first; the most frequent first."""
    rows: dict[tuple[int, int], list[int]] = {}
    for row, (label, said) in enumerate(zip(report.labels.split(), report.predicted.split(), strict=True)):
        if said != "-":
            rows.setdefault((int(label), int(said)), []).append(row)
    sure = confidences_of(report)
    cells = [
        _Cell(label, said, tuple(sorted(inside, key=lambda row: sure[row] if label == said else -sure[row])))
        for (label, said), inside in rows.items()
    ]
    return tuple(sorted(cells, key=lambda c: (c.label == c.predicted, -len(c.rows), c.label, c.predicted)))


def confidences_of(report: EvaluationReport) -> list[int]:
    """(N,) in whole percents, never rounded up to a certainty that was not claimed; -1 where a report does not tell."""
    words = report.confidences.split()
    if not words:
        return [-1] * report.num_samples
    return [-1 if word == "-" else 100 if float(word) >= 1 else min(99, round(float(word) * 100)) for word in words]


def _in_turn(found: Sequence[Sequence[_Cell]]) -> Iterator[int]:
    """All rows of all cells: the first few of each cell, then what is left of mistakes, then what is left."""
    cells = sorted((c for of_report in found for c in of_report), key=lambda cell: cell.label == cell.predicted)
    mistakes = [cell for cell in cells if cell.label != cell.predicted]
    for some, first, last in ((cells, 0, _FIRST), (mistakes, _FIRST, None), (cells, _FIRST, None)):
        ends = max((len(cell.rows[first:last]) for cell in some), default=0)
        for number in range(first, first + ends):
            for cell in some:
                if number < len(cell.rows):
                    yield cell.rows[number]


def _read(read_thumbnail: ReadThumbnail, name: str) -> str | None:
    try:
        image = read_thumbnail(name)
    except ImageError:
        return None
    return None if image is None else picture(image, side=_SIDE, quality=_QUALITY).source


def _end(name: str) -> str:
    """The last two parts of a name, which are what tells one image from another."""
    return printable("/".join(name.replace("\\", "/").split("/")[-2:]))

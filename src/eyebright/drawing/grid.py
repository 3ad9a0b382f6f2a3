"""A table as a drawing: rules, spans, brackets, one column marked. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from eyebright.drawing.scene import RESERVE, Outline, Part, Scene, Text, line, rectangle, text_width

_MARGIN = 32.0
_TOP = 92.0
_SIZE = 12.5


@dataclass(frozen=True)
class Cell:
    """One cell."""

    lines: tuple[str, ...]
    times: int = 0
    """With a bracket around its lines and "x 3" behind it, if above 0."""
    span: int = 1
    """How many columns it covers."""
    is_bold: bool = False
    is_number: bool = False
    """Set against the right edge; words begin at the left, unless the table is centred."""
    is_quiet: bool = False

    @property
    def needs(self) -> float:
        """Its width without any room around it."""
        words = max((text_width(words, _SIZE, is_bold=self.is_bold) for words in self.lines), default=0.0) * RESERVE
        return words + (54 if self.times else 0)


def draw_grid(
    title: str,
    facts: str,
    headings: Sequence[Cell],
    rows: Sequence[Sequence[Cell]],
    *,
    note: str,
    marked: int | None = None,
    fixed: int = 0,
    is_dense: bool = False,
) -> Scene:
    """A table.

    Args:
        title: the largest line.
        facts: the line below it.
        headings: one cell for each column.
        rows: cells from left to right; the spans of each row add up to the number of columns.
        note: the line below the table.
        marked: the column that the reader looks for.
        fixed: how many columns at the left are set from the left; those after are centred. 0: none is centred.
        is_dense: without rules between rows.
    """
    assert all(sum(cell.span for cell in row) == len(headings) for row in rows)
    step, pad = (17.0, 4.0) if is_dense else (17.0, 12.0)
    widths = _widths([headings, *rows], len(headings), 26.0 if fixed else 24.0)
    lefts = [_MARGIN + sum(widths[:column]) for column in range(len(headings) + 1)]
    heights = [max(len(cell.lines) for cell in row) * step + pad for row in rows]
    head_height = max(len(cell.lines) for cell in headings) * step + 14
    bottom = _TOP + head_height + sum(heights)
    parts: list[Part] = [Text(_MARGIN, 42, title, 22, "ink", is_bold=True), Text(_MARGIN, 63, facts, 13, "quiet")]
    if marked is not None:
        parts.append(rectangle("mark", lefts[marked], _TOP, widths[marked], bottom - _TOP, radius=6))
    parts.append(line("strong-rule", (_MARGIN, _TOP), (lefts[-1], _TOP)))
    y = _TOP
    for number, (row, height) in enumerate(zip([headings, *rows], [head_height, *heights], strict=True)):
        column = 0
        for cell in row:
            parts += _cell(cell, lefts[column], lefts[column + cell.span], y, height, step,
                           is_centred=bool(fixed) and column >= fixed, is_heading=number == 0)  # fmt: skip
            column += cell.span
        y += height
        if number == 0 or number == len(rows) or (is_dense and number == len(rows) - 1):
            parts.append(line("strong-rule", (_MARGIN, y), (lefts[-1], y)))
        elif not is_dense:
            parts.append(line("rule", (_MARGIN, y), (lefts[-1], y)))
    parts += [Text(_MARGIN, y + 26 + 16 * n, words, 11.5, "quiet") for n, words in enumerate(note.split("\n"))]
    words_width = max(text_width(words, 13) * RESERVE for words in (facts, *note.split("\n")))
    right = max(lefts[-1], _MARGIN + words_width)
    description = f"{title}: a table of {', '.join(' '.join(cell.lines) for cell in headings)}"
    height = y + 26 + 16 * note.count("\n") + 28
    return Scene(round(right + _MARGIN), round(height), f"{title}, a table", description, tuple(parts))


def _widths(rows: Sequence[Sequence[Cell]], columns: int, room: float) -> list[float]:
    widths = [0.0] * columns
    for row in rows:
        column = 0
        for cell in row:
            if cell.span == 1:
                widths[column] = max(widths[column], cell.needs + room)
            column += cell.span
    return widths


def _cell(
    cell: Cell, left: float, right: float, top: float, height: float, step: float, *, is_centred: bool, is_heading: bool
) -> list[Outline | Text]:
    parts: list[Outline | Text] = []
    is_bold = cell.is_bold or is_heading
    first = top + (height - len(cell.lines) * step) / 2 + step * 0.72
    widest = max((text_width(words, _SIZE, is_bold=is_bold) for words in cell.lines), default=0.0) * RESERVE
    middle = (left + right) / 2 - (14 if cell.times else 0)
    for number, words in enumerate(cell.lines):
        y = first + number * step
        paint = "quiet" if cell.is_quiet or (number and not is_centred and not cell.times) else "ink"
        bold = is_bold and (not number or is_heading)
        if is_centred:
            parts.append(Text(middle, y, words, _SIZE, paint, "middle", is_bold=bold))
        elif cell.is_number:
            parts.append(Text(right - 6, y, words, _SIZE, paint, "end", is_bold=bold))
        else:
            parts.append(Text(left + 6, y, words, _SIZE, paint, "start", is_bold=bold))
    if cell.times:
        half = widest / 2 + 7
        above, below = first - 12, first + (len(cell.lines) - 1) * step + 5
        for side in (-1, 1):
            x = middle + side * half
            parts.append(line("bracket", (x - side * 5, above), (x, above), (x, below), (x - side * 5, below)))
        parts.append(Text(middle + half + 7, (above + below) / 2 + 4.5, f"x {cell.times}", _SIZE, "ink"))
    return parts

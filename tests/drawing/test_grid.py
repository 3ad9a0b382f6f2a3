from __future__ import annotations

import pytest

from eyebright.drawing.grid import Cell, draw_grid
from eyebright.drawing.scene import RESERVE, Outline, Text


def test_columns_are_as_wide_as_their_widest_words_need() -> None:
    rows = [[Cell(("a",)), Cell(("much longer than its heading",))], [Cell(("spans both",), span=2)]]
    scene = draw_grid("T", "facts", [Cell(("left",)), Cell(("right",))], rows, note="note", fixed=1)
    found = {part.words: part for part in scene.parts if isinstance(part, Text)}
    long = found["much longer than its heading"]
    assert found["a"].left + found["a"].width < long.left - (RESERVE - 1) * long.width / 2
    assert found["spans both"].anchor == "start"
    assert long.anchor == "middle"
    assert scene.width >= long.left + long.width * RESERVE


def test_a_bracket_holds_its_lines_and_says_how_often() -> None:
    cell = Cell(("1x1, 64", "3x3, 64"), times=3)
    scene = draw_grid("T", "f", [Cell(("x",)), Cell(("y",))], [[Cell(("r",)), cell]], note="n", fixed=1)
    brackets = [part for part in scene.parts if isinstance(part, Outline) and part.paint == "bracket"]
    assert len(brackets) == 2
    lines = [part for part in scene.parts if isinstance(part, Text) and part.words in cell.lines]
    edges = [[float(step[1]) for step in bracket.steps] for bracket in brackets]
    assert max(edges[0]) < min(line.left for line in lines)
    assert max(line.left + line.width for line in lines) < min(edges[1])
    (times,) = [part for part in scene.parts if isinstance(part, Text) and part.words == "x 3"]
    assert times.left > max(edges[1])


def test_a_row_that_does_not_fill_the_table_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        draw_grid("T", "f", [Cell(("x",)), Cell(("y",))], [[Cell(("alone",))]], note="n")

from __future__ import annotations

import re

import pytest

from eyebright.drawing.scene import PAINTS, Scene, Text, arrow_head, circle, line, polygon, rectangle, text_paint


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, relative luminance."""
    lights = []
    for colour in (one, other):
        parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_every_colour_is_written_out() -> None:
    for paint in PAINTS.values():
        assert paint.fill or paint.stroke
        for colour in (*(paint.fill or ()), *(paint.stroke or ())):
            assert re.fullmatch("#[0-9a-f]{6}", colour)


@pytest.mark.parametrize("name", [name.removesuffix("-front") for name in PAINTS if name.endswith("-front")])
def test_words_on_a_box_can_be_read(name: str) -> None:
    front, words = PAINTS[f"{name}-front"].fill, PAINTS[text_paint(name)].fill
    assert front is not None
    assert words is not None
    assert all(contrast(front[page], words[page]) >= 4.5 for page in (0, 1))


def test_boxes_stand_out_from_the_page() -> None:
    page = PAINTS["page"].fill
    assert page is not None
    for name, paint in PAINTS.items():
        if name.endswith("-front") and name != "input-front":
            assert paint.fill is not None
            assert paint.stroke is not None
            for side in (0, 1):
                assert max(contrast(paint.fill[side], page[side]), contrast(paint.stroke[side], page[side])) >= 2.9, (
                    name
                )


def test_text_knows_where_it_begins() -> None:
    width = Text(0, 0, "conv", 10).width
    assert Text(100, 0, "conv", 10, "ink", "end").left == pytest.approx(100 - width)
    assert Text(100, 0, "conv", 10, "ink", "middle").left == pytest.approx(100 - width / 2)


def test_outlines_are_closed_where_they_enclose_something() -> None:
    closed = (
        polygon("page", [(0, 0), (1, 0), (1, 1)]), rectangle("page", 0, 0, 2, 1), circle("page", 0, 0, 1),
        rectangle("page", 0, 0, 2, 1, radius=9), arrow_head("head", (0, 0), "left"),
    )  # fmt: skip
    assert all(outline.steps[-1] == ("Z",) for outline in closed)
    assert line("rule", (0, 0), (1, 1)).steps == (("M", 0, 0), ("L", 1, 1))
    assert list(Scene(1, 1, "", "", closed).flat()) == list(closed)

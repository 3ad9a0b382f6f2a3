"""The file is what a reader expects: a table of objects that stand where it says, one page, text as text."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable

from eyebright.drawing.graph import Graph
from eyebright.drawing.pdf import write_pdf
from eyebright.drawing.scene import Scene, Text, rectangle
from eyebright.drawing.volumes import draw_volumes

GraphOf = Callable[..., Graph]


def content(pdf: bytes) -> str:
    (found,) = re.findall(rb"stream\n(.*)\nendstream", pdf, re.DOTALL)
    return zlib.decompress(found).decode("latin-1")


def test_every_object_stands_where_the_table_says(graph_of: GraphOf) -> None:
    pdf = write_pdf(draw_volumes(graph_of("vgg16")))
    assert pdf.startswith(b"%PDF-1.7\n")
    assert pdf.endswith(b"%%EOF\n")
    start = int(re.findall(rb"startxref\n(\d+)", pdf)[0])
    assert pdf[start:].startswith(b"xref\n0 6\n")
    places = [int(place) for place in re.findall(rb"(\d{10}) 00000 n ", pdf)]
    for number, place in enumerate(places, 1):
        assert pdf[place:].startswith(f"{number} 0 obj\n".encode())
    (length,) = re.findall(rb"/Length (\d+)", pdf)
    (stream,) = re.findall(rb"stream\n(.*)\nendstream", pdf, re.DOTALL)
    assert len(stream) == int(length)


def test_text_can_be_searched_and_the_page_has_the_size_of_the_drawing(graph_of: GraphOf) -> None:
    scene = draw_volumes(graph_of("vgg16"))
    pdf = write_pdf(scene)
    assert f"/MediaBox [0 0 {scene.width * 0.75:.2f} {scene.height * 0.75:.2f}]".encode() in pdf
    assert "(224 x 224 x 64) Tj" in content(pdf)


def test_brackets_and_foreign_letters_do_not_break_it() -> None:
    scene = Scene(50, 20, "a (b\\", "", (Text(1, 10, "(é) \\ 犬"), rectangle("page", 0, 0, 2, 2, radius=1)))
    pdf = write_pdf(scene)
    assert "(\\(\xe9\\) \\\\ ?) Tj" in content(pdf)
    assert b"/Title (a \\(b\\\\)" in pdf


def test_light_and_dark_differ_and_each_is_the_same_every_time(graph_of: GraphOf) -> None:
    scene = draw_volumes(graph_of("cnn"))
    assert write_pdf(scene) == write_pdf(scene) != write_pdf(scene, is_dark=True)
    assert content(write_pdf(scene)).splitlines()[1].startswith("1 1 1 rg")

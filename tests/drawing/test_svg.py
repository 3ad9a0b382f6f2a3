"""Drawings are valid, small, the same bytes each time; in a browser no two words touch, whatever the typeface."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import pytest

from eyebright.drawing.family import draw_family
from eyebright.drawing.flow import draw_flow
from eyebright.drawing.graph import Graph
from eyebright.drawing.scene import Group, Scene, Text, text_width
from eyebright.drawing.summary import draw_summary
from eyebright.drawing.svg import FONT, write_svg
from eyebright.drawing.volumes import draw_volumes
from eyebright.models.catalog import MODELS

GraphOf = Callable[..., Graph]
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def scenes(graph_of: GraphOf) -> dict[str, Scene]:
    """Every drawing of the catalogue."""
    found = {f"{name} volumes": draw_volumes(graph_of(name)) for name in MODELS}
    found |= {f"{name} unfolded": draw_volumes(graph_of(name), unfold=True) for name in ("resnet18", "resnet50")}
    found |= {f"{name} flow": draw_flow(graph_of(name)) for name in MODELS if name.startswith("resnet")}
    families = {"ResNet": (18, 34, 50, 101, 152), "VGG": (11, 13, 16, 19)}
    found |= {
        f"{title} table": draw_family(title, [graph_of(f"{title.lower()}{depth}") for depth in depths], marked=2)
        for title, depths in families.items()
    }
    found["cnn table"] = draw_summary(graph_of("cnn", 64))
    return found


def test_every_drawing_is_valid_xml_with_a_title_and_nothing_from_elsewhere(scenes: dict[str, Scene]) -> None:
    for name, scene in scenes.items():
        text = write_svg(scene)
        root = ElementTree.fromstring(text)
        assert root.tag == f"{SVG}svg", name
        title = root.find(f"{SVG}title")
        assert title is not None
        assert title.text
        assert text.count("http") == 1, name  # the namespace
        assert "nan" not in text
        assert "inf" not in text.replace("information", "")


def test_vgg16_is_small_and_nothing_is_huge(scenes: dict[str, Scene]) -> None:
    assert len(write_svg(scenes["vgg16 volumes"]).encode()) < 30_000
    assert max(len(write_svg(scene).encode()) for scene in scenes.values()) < 120_000


def test_another_process_writes_the_same_bytes(graph_of: GraphOf) -> None:
    code = (
        "import sys\nfrom eyebright.jobs.draw import draw\n"
        "sys.stdout.buffer.write(draw('resnet18', view='flow').svg.encode())"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=120, env=None).stdout
        for _ in range(2)
    ]
    assert runs[0] == runs[1] == write_svg(draw_flow(graph_of("resnet18"))).encode()


def test_a_light_drawing_has_no_dark_colours_and_the_other_way_round(scenes: dict[str, Scene]) -> None:
    scene = scenes["vgg16 volumes"]
    auto, light, dark = (write_svg(scene, theme=theme) for theme in ("auto", "light", "dark"))
    assert "@media screen and (prefers-color-scheme:dark)" in auto
    assert "@media" not in light + dark
    assert ".d-page{fill:#ffffff}" in light
    assert ".d-page{fill:#1c1b22}" in dark


def test_hostile_names_stay_text() -> None:
    name = '</title><script>alert(1)</script>&"\x1b\u202e'
    scene = Scene(10, 10, name, name, (Group(name, name, name, name, (Text(1, 1, name),)),))
    for inside in (False, True):
        text = write_svg(scene, inside_page=inside)
        assert "<script" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        ElementTree.fromstring(text)


def test_widths_are_those_of_helvetica() -> None:
    assert text_width("224 x 224 x 64", 1000) == 8 * 556 + 2 * 500 + 4 * 278
    assert text_width("VGG", 10, is_bold=True) == pytest.approx(6.67 + 7.78 + 7.78)


MEASURE = """() => {
  const svg = document.querySelector("svg"), all = [...svg.querySelectorAll("text")];
  const boxes = all.map((t) => {
    const b = t.getBBox();
    return [b.x, b.y + b.height * .2, b.x + b.width, b.y + b.height * .8, t.textContent];
  });
  const [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  const outside = boxes.filter((b) => b[0] < 0 || b[1] < 0 || b[2] > width || b[3] > height);
  const wrong = outside.map((b) => "outside: " + b[4]);
  boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
    if (a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]) wrong.push(a[4] + " / " + b[4]);
  }));
  return [boxes.length, wrong];
}"""


@pytest.mark.browser
@pytest.mark.parametrize("font", [FONT, "DejaVu Sans"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_words_touch_in_a_browser(browser: Any, scenes: dict[str, Scene], font: str, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    for name, scene in scenes.items():
        page.set_content(write_svg(scene).replace(FONT, font))
        count, wrong = page.evaluate(MEASURE)
        assert count > 10, name
        assert wrong == [], name
    page.close()


@pytest.mark.browser
def test_words_can_be_read_on_both_pages(browser: Any, scenes: dict[str, Scene]) -> None:
    """Contrast of at least 4.5 (WCAG 2.2, 1.4.3) against the page, for text that stands on it."""
    script = """() => {
      const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
      const light = (c) => {
        const p = c.match(/[\\d.]+/g).map((v) => linear(v / 255));
        return .2126 * p[0] + .7152 * p[1] + .0722 * p[2];
      };
      const page = light(getComputedStyle(document.querySelector(".d-page")).fill);
      const kinds = "text.d-ink, text.d-quiet, text.d-accent, text.d-projection-text";
      return [...document.querySelectorAll(kinds)].map((t) => {
        const words = light(getComputedStyle(t).fill);
        return (Math.max(words, page) + .05) / (Math.min(words, page) + .05); });
    }"""
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        for name in ("vgg16 volumes", "resnet50 flow", "ResNet table"):
            page.set_content(write_svg(scenes[name]))
            assert min(page.evaluate(script)) >= 4.5, name
        page.close()

"""The page is whole, inert and readable; a real browser looks at it where there is one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.errors import DataError
from eyebright.evaluation.compare import Comparison
from eyebright.evaluation.facts import BASELINE
from eyebright.evaluation.render import render_comparison, render_run

Build = Callable[..., Comparison]

HOSTILE = (
    "<script>document.title='owned'</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(2)>',
    "'; background:url(http://127.0.0.1:9/x); '",
    "</style><link rel=stylesheet href=http://127.0.0.1:9/a.css>",
    "\u202egnp.tac\u202c\n\x1b[31m",
    '=HYPERLINK("http://127.0.0.1:9")',
    "a" * 300,
    "شجرة",
    "${style} {0} %s &amp; </main>",
)


def gradient(name: str) -> NDArray[np.uint8]:
    side = 28 if len(name) % 2 else 300
    ramp = np.linspace(0, 255, side, dtype=np.uint8)
    return np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.uint8(90)), axis=2)


def hostile(build: Build) -> Comparison:
    """Every text that a user or a file can bring is hostile."""
    return build(
        HOSTILE,
        unreadable=(5, 99),
        skills=(4.0, 3.0, 2.0),
        data_name=HOSTILE[1],
        command=f"eyebright compare {HOSTILE[2]}",
        machine=HOSTILE[0],
        notes=(HOSTILE[4], HOSTILE[7]),
        versions={HOSTILE[1]: HOSTILE[0]},
    )


def test_the_baseline_is_compared_but_its_mistakes_are_not_shown(build_comparison: Build) -> None:
    drawn = build_comparison()
    *networks, last = drawn.contestants
    baseline = replace(last, model=BASELINE, title="Without a network", weights="outlines and colours")
    page = render_comparison(replace(drawn, contestants=(*networks, baseline)), gradient)
    parts = {part.split('"', 1)[0]: part for part in page.split('<section id="')[1:]}
    shown = {anchor for anchor, part in parts.items() if "Without a network" in part}
    assert shown == {"side-by-side", "learning", "classes", "costs", "networks", "measured"}
    assert parts["pairs"].count("no network") == 2
    assert "<dt>looks at</dt><dd>outlines and colours</dd>" in parts["networks"]


@pytest.mark.parametrize("classes", [2, 10, 40])
def test_the_page_has_every_block_for_any_number_of_classes(build_comparison: Build, classes: int) -> None:
    comparison = build_comparison(tuple(f"species {i}" for i in range(classes)), per_class=8, unreadable=(1,))
    page = render_comparison(comparison, gradient)
    anchors = ["side-by-side", "pairs", "confidence", "learning", "confusions", "mistakes", "unsure", "unreadable"]
    anchors += ["classes", "parts", "costs", "networks", "measured"]
    assert re.findall(r'<section id="([^"]+)"', page) == anchors
    for anchor in anchors:
        assert f'href="#{anchor}"' in page
    assert ("top-5" in page) == (classes > 5)
    assert page.count("<h1>") == 1
    assert len(page) < 400_000


def test_the_page_of_a_run_speaks_of_one_network(build_comparison: Build) -> None:
    page = render_run(build_comparison(("a", "b"), skills=(3.0,)), gradient)
    assert "Side by side" not in page
    assert "no network got" not in page
    with pytest.raises(DataError, match="one network, not 3"):
        render_run(build_comparison(), gradient)


def test_the_same_comparison_gives_the_same_page(build_comparison: Build) -> None:
    assert render_comparison(build_comparison(), gradient) == render_comparison(build_comparison(), gradient)


def test_nothing_in_the_page_points_outside(build_comparison: Build) -> None:
    page = render_comparison(build_comparison(), gradient)
    assert not re.findall(r"https?:|//[a-z]|@import|<script|<link|url\(", page)
    assert all(link.startswith(("#", "data:image/")) for link in re.findall(r'(?:href|src)="([^"]*)"', page))


def test_hostile_names_are_text(build_comparison: Build) -> None:
    page = render_comparison(hostile(build_comparison), gradient)
    assert not re.findall(r"<(?:script|link|iframe|object|form)|<img src=x|<svg onload|\u202e|\x1b", page)
    assert "&lt;script&gt;" in page
    assert page.count("</style>") == 1
    assert page.count("</main>") == 1


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["plain", "hostile", "many classes", "one run"])
def test_a_browser_shows_it_at_every_width_and_fetches_nothing(
    build_comparison: Build, browser: Any, tmp_path: Path, kind: str
) -> None:
    many = tuple(f"Euphrasia officinalis subspecies {i}" for i in range(40))
    page_of = {
        "plain": lambda: render_comparison(build_comparison(unreadable=(4,)), gradient),
        "hostile": lambda: render_comparison(hostile(build_comparison), gradient),
        "many classes": lambda: render_comparison(build_comparison(many, per_class=5), gradient),
        "one run": lambda: render_run(build_comparison(many[:30], per_class=5, skills=(3.0,)), gradient),
    }
    path = tmp_path / "report.html"
    path.write_text(page_of[kind](), encoding="utf-8")
    for scheme in ("light", "dark"):
        seen: list[str] = []
        page = browser.new_page(color_scheme=scheme)
        page.on("request", lambda request, seen=seen: seen.append(request.url))
        page.on("console", lambda message, seen=seen: seen.append(f"console: {message.text}"))
        page.on("pageerror", lambda error, seen=seen: seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog, seen=seen: (seen.append("a dialog"), dialog.dismiss()))
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
        for width in (320, 400, 800, 1400):
            page.set_viewport_size({"width": width, "height": 900})
            wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{kind} overflows by {wide} pixels at {width}, {scheme}"
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        assert {url for url in seen if not url.startswith("data:")} == {path.as_uri()}
        assert "owned" not in page.title() or "<script" in page.title()
        page.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(
    build_comparison: Build, browser: Any, tmp_path: Path, scheme: str
) -> None:
    path = tmp_path / "report.html"
    comparison = build_comparison(unreadable=(4,), notes=("A note.",))
    path.write_text(render_comparison(comparison, lambda name: None), encoding="utf-8")
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1400, "height": 900})
    page.goto(path.as_uri())
    weak = page.evaluate(CONTRASTS)
    page.close()
    assert weak == []


CONTRASTS = """() => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const parse = c => { const n = c.match(/[\\d.]+/g).map(Number); return n.length > 3 ? n : [...n, 1]; };
  const over = (top, under) => top.slice(0, 3).map((v, i) => v * top[3] + under[i] * (1 - top[3]));
  const ground = e => {
    const layers = [];
    for (; e; e = e.parentElement) layers.push(parse(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const light = c => {
    const [r, g, b] = c.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const weak = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let counted = 0;
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim(), e = walk.currentNode.parentElement;
    if (!text || e.closest('title')) continue;
    const style = getComputedStyle(e), drawn = e.closest('svg');
    const a = light(parse(drawn ? style.fill : style.color).slice(0, 3)), b = light(ground(e));
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    counted++;
    if (contrast < 4.5) weak.push([text.slice(0, 30), contrast.toFixed(2)]);
  }
  return counted > 200 ? weak : ['too few texts: ' + counted];
}"""

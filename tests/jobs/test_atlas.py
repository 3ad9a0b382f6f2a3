"""The atlas as its reader gets it: whole pages, links that lead somewhere, nothing from outside, no text over text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from eyebright.errors import OutputError
from eyebright.jobs.atlas import FIRST, Atlas, atlas
from eyebright.lessons.words import PAGES
from eyebright.models.published import is_starter_installed

EMPTY = {"meta", "img", "br", "path", "link"}
# Every line of text that can be seen, as boxes; two that overlap by more than a pixel each way are reported.
OVERLAPS = """() => {
  const boxes = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.data.trim() || node.parentElement.closest('title, desc, style, script')) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) if (box.width > 1) boxes.push([box, node.data.trim(), node]);
  }
  const found = [];
  for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
    const [a, words, one] = boxes[i], [b, others, two] = boxes[j];
    const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    const little = one.parentElement.closest('svg') ? 4 : 1;  // boxes of drawn text are taller than its letters
    if (one !== two && across > 1 && down > little) found.push(words.slice(0, 30) + ' | ' + others.slice(0, 30));
  }
  return found;
}"""


class Reader(HTMLParser):
    """Collects links and sources, and checks that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("href", "src"):
                self.links.append(value or "")
            if key == "id":
                self.ids.append(value or "")
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words += data.split()


def words_of(page: str) -> str:
    """What a page says, every number as #: these differ a little from machine to machine."""
    reader = Reader()
    reader.feed(page)
    reader.close()
    return re.sub(r"[-−]?\d[\d.,]*", "#", " ".join(reader.words))


@pytest.fixture(scope="module")
def made() -> Atlas:
    if not is_starter_installed():
        pytest.skip("needs the starter weights: pip install ./weights")
    return atlas()


@pytest.fixture(scope="module")
def folder(made: Atlas, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made.save(tmp_path_factory.mktemp("atlas") / "pages")


def test_pages_are_whole_and_their_links_lead_to_each_other_only(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == sorted(PAGES)
    for path in folder.iterdir():
        reader = Reader()
        reader.feed(path.read_text(encoding="utf-8"))
        reader.close()
        assert reader.open == []
        assert len(reader.ids) == len(set(reader.ids))
        outside = [link for link in reader.links if not link.startswith("data:image/") and link not in PAGES]
        assert outside == []
        assert set(PAGES) <= set(reader.links)


def test_the_same_call_gives_the_same_bytes(made: Atlas) -> None:
    assert dict(atlas().pages) == dict(made.pages)


def test_the_atlas_in_the_documentation_is_what_the_command_writes(made: Atlas) -> None:
    written = Path(__file__).parents[2] / "docs" / "atlas"
    assert sorted(path.name for path in written.iterdir()) == sorted(made.pages)
    for name, page in made.pages.items():
        assert words_of((written / name).read_text(encoding="utf-8")) == words_of(page), name


def test_the_figures_of_the_networks_stand_on_their_pages(made: Atlas) -> None:
    assert "138.4 million parameters" in made.pages["vgg16.html"]
    assert "hold 89.4&#160;% of the parameters" in made.pages["vgg16.html"]
    assert "25.6 million parameters" in made.pages["resnet50.html"]
    assert sum(len(page) for page in made.pages.values()) < 600_000


def test_nothing_is_overwritten(made: Atlas, folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(OutputError, match="nothing is ever overwritten"):
        made.save(folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(400, "light"), (1200, "dark")])
def test_in_a_browser_no_text_lies_on_text_and_nothing_is_fetched(
    folder: Path, browser: Any, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("request", lambda request: wrong.extend([request.url] if request.url.startswith("http") else []))
    for name in PAGES:
        page.goto((folder / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(OVERLAPS) == []
    page.goto((folder / FIRST).as_uri())
    for name in list(PAGES)[1:]:
        page.click(".onward a")
        assert page.url.endswith(name)
    assert wrong == []
    page.close()

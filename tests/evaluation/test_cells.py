"""A cell of the confusion matrix shows its images; a real browser chooses some, where there is one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.errors import ImageError
from eyebright.evaluation import cells
from eyebright.evaluation.cells import can_show_cells, confidences_of, describe_cells, list_cells
from eyebright.evaluation.compare import Comparison
from eyebright.evaluation.render import render_comparison, render_run

Build = Callable[..., Comparison]
CLASSES = ("</script><script>document.title='owned'</script>", "<img src=x onerror=alert(1)>", "\u202egnp.tac\x1b[31m")


def noise(name: str) -> NDArray[np.uint8]:
    """Photos compress badly; so does noise."""
    if name.endswith("7.png"):
        raise ImageError(name, "not there")
    seed = int(re.sub(r"\D", "", name) or 0)
    return np.random.default_rng(seed).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def names_of(comparison: Comparison) -> list[str]:
    count = comparison.contestants[0].report.num_samples
    return [f"photos/<b>{i:04d}.png" for i in range(count)]


def test_mistakes_come_surest_first_and_right_answers_least_sure_first(build_comparison: Build) -> None:
    report = build_comparison(skills=(3.0,), unreadable=(4,)).contestants[0].report
    labels, said, sure = report.labels.split(), report.predicted.split(), confidences_of(report)
    assert sure[4] == -1
    found = list_cells(report)
    assert sum(len(cell.rows) for cell in found) == report.num_samples - 1
    for cell in found:
        assert len(cell.rows) == report.confusion[cell.label][cell.predicted]
        assert all((int(labels[row]), int(said[row])) == (cell.label, cell.predicted) for row in cell.rows)
        shown = [sure[row] for row in cell.rows]
        assert shown == sorted(shown, reverse=cell.label != cell.predicted)
    right = [cell.label == cell.predicted for cell in found]
    assert right == sorted(right)
    assert confidences_of(replace(report, confidences="")) == [-1] * report.num_samples


def test_each_picture_is_held_once_and_every_cell_leads_to_it(build_comparison: Build) -> None:
    reports = [c.report for c in build_comparison(skills=(5.0, 3.0)).contestants]
    names = [f"{i}.png" for i in range(300)]
    told = json.loads(describe_cells(reports, names, noise))
    assert sorted(name for name, _ in told["pictures"]) == sorted(names)
    assert [source for name, source in told["pictures"] if name.endswith("7.png")] == [None] * 30
    for report, network in zip(reports, told["networks"], strict=True):
        for key, rows in network.items():
            label, said = map(int, key.split(","))
            assert len(rows) == report.confusion[label][said]
        places = [place for rows in network.values() for place, _ in rows]
        assert sorted(places) == list(range(300))


def test_a_small_budget_keeps_the_surest_mistakes_and_some_of_every_cell(
    build_comparison: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = [c.report for c in build_comparison(("a", "b", "c"), skills=(1.0,), per_class=100).contestants]
    names = [f"{i}.png" for i in range(300)]
    monkeypatch.setattr(cells, "BUDGET", 200_000)
    text = describe_cells(reports, names, noise)
    assert 150_000 < len(text) < 210_000
    told = json.loads(text)
    assert 60 < len(told["pictures"]) < 200
    for cell in list_cells(reports[0]):
        rows = told["networks"][0][f"{cell.label},{cell.predicted}"]
        assert len(rows) >= min(12, len(cell.rows))
        kept = [told["pictures"][place][0] for place, _ in rows]
        assert kept == [names[row] for row in cell.rows[: len(kept)]]


def test_without_names_or_with_reports_of_older_versions_cells_are_no_buttons(build_comparison: Build) -> None:
    comparison = build_comparison(skills=(3.0,))
    names = names_of(comparison)
    old = replace(comparison.contestants[0], report=replace(comparison.contestants[0].report, predicted=""))
    assert not can_show_cells([old.report], names)
    assert not can_show_cells([comparison.contestants[0].report], [])
    for page in (
        render_run(comparison, noise),
        render_run(replace(comparison, contestants=(old,)), noise, names=names),
    ):
        assert "<script" not in page
        assert ' data-cell="' not in page
    assert render_run(comparison, noise, names=names).count("<script") == 2


def test_a_page_of_two_thousand_photos_stays_below_three_megabytes(build_comparison: Build) -> None:
    comparison = build_comparison(tuple(map(str, range(20))), per_class=100)
    page = render_comparison(comparison, noise, names=names_of(comparison))
    assert 2_000_000 < len(page.encode()) < 3_000_000


@pytest.fixture
def watched(browser: Any, build_comparison: Build, tmp_path: Path) -> Iterator[Any]:
    """The page of hostile names, opened; afterwards nothing was fetched, said or run."""
    comparison = build_comparison(CLASSES, skills=(3.0, 2.0), unreadable=(4,))
    path = tmp_path / "report.html"
    path.write_text(render_comparison(comparison, noise, names=names_of(comparison)), encoding="utf-8")
    seen: list[str] = []

    def dismiss(dialog: Any) -> None:
        seen.append("a dialog")
        dialog.dismiss()

    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.on("request", lambda request: seen.append(request.url))
    page.on("console", lambda message: seen.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.on("dialog", dismiss)
    page.goto(path.as_uri())
    yield page
    assert {url for url in seen if not url.startswith("data:")} == {path.as_uri()}
    assert page.title() != "owned"
    page.close()


def count_of(button: Any) -> int:
    return int(button.inner_text().replace(",", ""))


@pytest.mark.browser
def test_a_click_shows_a_cells_images_and_another_hides_them(watched: Any) -> None:
    wrong = watched.locator("#confusions td.wrong button").first
    wrong.click()
    shown = watched.locator("#cell-images figure")
    assert shown.count() == count_of(wrong) > 1
    assert wrong.get_attribute("aria-expanded") == "true"
    label, said = (int(part) for part in wrong.get_attribute("data-cell").split(",")[1:])
    title = watched.locator("#cell-images h3").inner_text()
    assert title.startswith("ResNet-50: labelled ")
    assert [CLASSES[label][:2] in title, CLASSES[said][:2] in title] == [label < 2, said < 2]
    assert "surest first" in watched.get_by_role("status").inner_text()
    assert "<b>" in watched.locator("#cell-images small").first.inner_text()
    watched.wait_for_function("[...document.querySelectorAll('#cell-images img')].every(i => i.naturalWidth > 0)")
    right = watched.locator("#confusions td.right button").first
    right.click()
    assert wrong.get_attribute("aria-expanded") == "false"
    assert "least sure first" in watched.get_by_role("status").inner_text()
    sure = [int(text[:-1]) for text in watched.locator("#cell-images figcaption span").all_inner_texts()]
    assert sure == sorted(sure)
    right.click()
    assert watched.locator("#cell-images").count() == 0


@pytest.mark.browser
def test_the_keyboard_alone_is_enough(watched: Any) -> None:
    first = watched.locator("#confusions button[data-cell]").first
    assert re.fullmatch(r"labelled .+, said .+: \d+ images?", first.get_attribute("aria-label"))
    first.focus()
    assert first.get_attribute("data-cell") == "0,0,0"
    focused = "document.activeElement.dataset.cell"
    watched.keyboard.press("ArrowLeft")
    assert watched.evaluate(focused) == "0,0,0"  # there is nothing
    watched.keyboard.press("ArrowRight")
    along = watched.evaluate(focused)
    assert along in ("0,0,1", "0,0,2")  # whichever is no zero first
    watched.keyboard.press("ArrowDown")
    here = watched.evaluate(focused)
    assert here == along.replace("0,0,", "0,1,")
    watched.keyboard.press("Enter")
    assert watched.locator("#cell-images figure").count() > 1
    watched.keyboard.press("Escape")
    assert watched.locator("#cell-images").count() == 0
    assert watched.evaluate(focused) == here
    watched.keyboard.press("Space")
    assert watched.locator("#cell-images figure").count() > 1
    # One stop for a matrix: Tab leads on, and back to where the arrows have been.
    watched.keyboard.press("Escape")
    watched.keyboard.press("Tab")
    watched.keyboard.press("Shift+Tab")
    assert watched.evaluate(focused) == here
    close = watched.get_by_role("button", name="Close")
    watched.keyboard.press("Enter")
    close.press("Enter")
    assert watched.locator("#cell-images").count() == 0
    assert watched.evaluate(focused) == here


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 800, 1300])
def test_the_images_fit_below_the_line_of_their_matrix(watched: Any, width: int) -> None:
    watched.set_viewport_size({"width": width, "height": 900})
    watched.locator("#confusions td.wrong button").first.click()
    assert watched.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    cards = watched.evaluate("[...document.querySelectorAll('#confusions .card')].map(c => c.offsetTop)")
    panel = watched.evaluate("document.getElementById('cell-images').offsetTop")
    assert [card < panel for card in cards] == [True, width > 400]
    watched.set_viewport_size({"width": 320, "height": 900})
    order = "[...document.querySelectorAll('#confusions .cards > *')].map(e => e.id)"
    watched.wait_for_function(f"{order}.indexOf('cell-images') === 1")


@pytest.mark.browser
def test_of_many_classes_the_most_confused_pairs_show_their_images(
    browser: Any, build_comparison: Build, tmp_path: Path
) -> None:
    comparison = build_comparison(tuple(f"species {i}" for i in range(40)), per_class=5, skills=(2.0,))
    path = tmp_path / "report.html"
    path.write_text(render_run(comparison, noise, names=names_of(comparison)), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    button = page.locator("#confusions td button").first
    button.press("Enter")
    assert page.locator("#cell-images figure").count() == count_of(button)
    page.close()

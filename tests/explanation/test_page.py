"""The page: what it says, and in a real browser that hostile names stay text and nothing is fetched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyebright.explanation.attribution import Attribution, Explanation, Faithfulness, JudgedMap, SimilarImage
from eyebright.explanation.page import Subject, faithfulness_in_words, render_explanations
from eyebright.inference.predictor import Prediction

HOSTILE = '"><script>alert(1)</script><img src=http://example.com/x.png>'
FAITHFUL = Faithfulness(
    deletion=(0.9, 0.2, 0.1, 0.1, 0.1),
    insertion=(0.1, 0.7, 0.9, 0.9, 0.9),
    random_deletion=(0.9, 0.8, 0.5, 0.3, 0.1),
    random_insertion=(0.1, 0.2, 0.3, 0.6, 0.9),
    random_scores=(-0.2, -0.05, -0.11),
)
SUBJECT = Subject(run=f"run {HOSTILE}", network="ResNet-18", layer="layer4 (7 x 7 positions)", command=HOSTILE)


def explanation(name: str = "photos/a.png", label: str = "cat", side: int = 60) -> Explanation:
    values = np.zeros((side, side), dtype=np.float32)
    values[: side // 2] = 1
    found = Attribution(method="grad-cam", values=values, grid=(7, 7), layer="layer4", label=label)
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Explanation(
        prediction=Prediction(
            name=name, label=label, confidence=0.9, probabilities={label: 0.9, "dog": 0.1}, labels=(label,)
        ),
        image=pixels,
        label=label,
        maps=(JudgedMap(attribution=found, faithfulness=FAITHFUL),),
        contrast=replace(found, against="dog"),
        similar=(SimilarImage(name=f"t/{HOSTILE}", label=HOSTILE, similarity=0.87, image=pixels),),
    )


def unread() -> Explanation:
    nothing = Prediction(name="b.png", label=None, confidence=None, probabilities={}, error="is empty")
    return Explanation(prediction=nothing, image=None, label="")


def test_a_map_is_told_in_words_with_what_chance_does() -> None:
    words = faithfulness_in_words(FAITHFUL, "<cat>")
    assert "brightest 25&#160;% takes <bdi>&lt;cat&gt;</bdi> from 90 to <b>20&#160;%</b>" in words
    assert "at random, to 80&#160;%" in words
    assert "<b>0.53</b>, better than each of 3 random maps (-0.20 to -0.05)" in words
    among, below = replace(FAITHFUL, random_scores=(0.1, 0.2, 0.6)), replace(FAITHFUL, random_scores=(0.6, 0.7, 0.6))
    assert "<strong>no better</strong> than the best of 3 random maps (0.10" in faithfulness_in_words(among, "cat")
    assert "<strong>worse</strong> than each of 3 random maps (0.60" in faithfulness_in_words(below, "cat")


def test_of_several_images_a_method_is_better_only_where_that_is_no_chance() -> None:
    alike = [explanation(f"{number}.png") for number in range(4)]
    page = render_explanations(alike, SUBJECT)
    assert '<td class="number">0.65 (0.65 to 0.65)</td><td>better than random</td>' in page
    other = replace(FAITHFUL, deletion=FAITHFUL.insertion, insertion=FAITHFUL.deletion)
    turned = [replace(one, maps=(replace(one.maps[0], faithfulness=other),)) for one in alike]
    page = render_explanations([*alike[:2], *turned[:2]], SUBJECT)
    assert "<td><strong>can't be told from random</strong></td>" in page
    assert "<td>better than random</td>" not in page
    assert "<td><strong>worse than random</strong></td>" in render_explanations(turned, SUBJECT)


def test_the_page_shows_every_image_once_and_names_what_could_not_be_read() -> None:
    page = render_explanations([explanation(), explanation("c.png", side=28), unread()], SUBJECT)
    assert page.count("data:image/jpeg") == 2  # the larger image, and the thumbnail of the one like it
    assert page.count(".seen0{background-image") == page.count(".seen1{background-image") == 1
    assert page.count('class="tint"') == 4
    assert "layer4 (7 x 7 positions)" in page
    assert "<td>better than random</td>" in page
    assert "is empty" in page
    assert "Why not <bdi>dog</bdi>?" in page
    assert "likeness 0.87" in page


def test_one_image_is_asked_about_by_its_class() -> None:
    page = render_explanations([explanation()], SUBJECT)
    assert "<h1>Why <bdi>cat</bdi>?</h1>" in page
    assert "Are the maps to be trusted?" not in page


def test_an_image_that_has_none_of_the_classes_is_not_said_to_have_been_asked_about() -> None:
    found = explanation()
    page = render_explanations([replace(found, prediction=replace(found.prediction, label=None, labels=()))], SUBJECT)
    assert "<h1>What speaks for <bdi>cat</bdi>?</h1>" in page
    assert "none of the classes is likely enough; the likeliest is explained" in page
    assert "asked for" not in page


def test_an_answer_is_not_called_asked_for_and_never_why_not() -> None:
    found = explanation()
    both = replace(found, prediction=replace(found.prediction, labels=("dog", "cat"), label="dog"))
    page = render_explanations([both], SUBJECT)
    assert "<h1>Why <bdi>cat</bdi>?</h1>" in page
    assert "asked for" not in page
    assert "Why not" not in page
    assert "<bdi>cat</bdi> rather than <bdi>dog</bdi>?" in page
    other = render_explanations([replace(found, prediction=replace(found.prediction, labels=("dog",)))], SUBJECT)
    assert "(asked for; not its answer)" in other


def test_hostile_names_are_text() -> None:
    page = render_explanations([explanation(HOSTILE, HOSTILE)], SUBJECT)
    assert "<script>alert" not in page
    assert "<img src=http" not in page


@pytest.mark.browser
def test_in_a_browser_nothing_is_fetched_and_the_maps_can_be_faded(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "p.html"
    path.write_text(render_explanations([explanation(HOSTILE, HOSTILE), explanation()], SUBJECT), encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 800})
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append("dialog"))
    page.on("request", lambda request: wrong.extend([request.url] if request.url.startswith("http") else []))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    opacity = "getComputedStyle(document.querySelector('.tint')).opacity"
    assert page.evaluate(opacity) == "1"
    page.locator("#strength").focus()
    page.keyboard.press("Home")
    assert page.evaluate(opacity) == "0"
    page.emulate_media(media="print")
    assert not page.locator("#desk").is_visible()
    assert wrong == []
    page.close()

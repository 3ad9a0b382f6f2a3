from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyebright.explanation.features_page import (
    Exciting,
    Features,
    ShownChannel,
    ShownStage,
    draw_outline,
    picture_filters,
    render_features,
)

HOSTILE = '"><script>alert(1)</script><img src=http://example.com/x.png>'


def features() -> Features:
    image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    exciting = Exciting(name=f"a/{HOSTILE}", labels=(HOSTILE,), image=image, box=(0, 10, 30, 60))
    stages = tuple(
        ShownStage(
            name=name,
            channels=8,
            height=7,
            width=7,
            maps="",
            maps_about="",
            maps_size=(0, 0),
            shown=(
                ShownChannel(number=3, painted=image, exciting=(exciting, exciting)),
                ShownChannel(number=5, painted=None, exciting=(), is_deaf=True),
                ShownChannel(number=6, painted=None, exciting=()),
            ),
        )
        for name in ("stem", "layer1", "layer2")
    )
    return Features(
        subject=HOSTILE,
        filters_of="conv1",
        filters=np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32),
        image_name=HOSTILE,
        image=image,
        data=HOSTILE,
        num_images=12,
        stages=stages,
        notes=(HOSTILE,),
    )


def test_a_filter_is_grey_where_it_is_zero_and_each_has_its_own_scale() -> None:
    filters = np.zeros((3, 1, 2, 2), dtype=np.float32)
    filters[1, 0] = [[2.0, -2.0], [0.0, 1.0]]
    filters[2, 0, 0, 0] = 0.01
    pictures = picture_filters(filters)
    assert all(picture.shape == (2, 2, 3) for picture in pictures)
    assert (pictures[0] == 128).all()
    assert pictures[1][..., 0].tolist() == [[255, 0], [128, 191]]
    assert pictures[2][0, 0].tolist() == [255, 255, 255]


def test_the_outline_stands_where_the_box_is() -> None:
    flat = np.full((50, 50, 3), 100, dtype=np.uint8)
    shown = draw_outline(flat, (10, 20, 30, 50), side=100)
    changed = (shown != 100).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (40, 99, 20, 59)
    assert not changed[50:90, 30:50].any()


def test_the_page_walks_through_the_stages_and_hostile_names_are_text() -> None:
    page = render_features(features())
    places = [page.index(f'<section id="{name}"') for name in ("filters", "stem", "layer1", "layer2")]
    assert places == sorted(places)
    assert page.count("painted to excite it</figcaption>") == 3
    assert page.count("<h3>channel 5</h3>") == page.count("No picture was painted") == 3
    assert "channel 6" not in page  # there is nothing to show of it
    assert "<script>alert" not in page
    assert "<img src=http" not in page


@pytest.mark.browser
def test_in_a_browser_nothing_is_fetched_and_a_phone_scrolls_down_only(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "p.html"
    path.write_text(render_features(features()), encoding="utf-8")
    page = browser.new_page(viewport={"width": 390, "height": 800})
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("dialog", lambda dialog: wrong.append("dialog"))
    page.on("request", lambda request: wrong.extend([request.url] if request.url.startswith("http") else []))
    page.goto(path.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert wrong == []
    page.close()

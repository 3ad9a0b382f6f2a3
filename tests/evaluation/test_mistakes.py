"""Matrices, pairs, classes and thumbnails say what the report holds."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from eyebright.errors import ImageError
from eyebright.evaluation.compare import Comparison
from eyebright.evaluation.mistakes import (
    confused_pairs,
    render_classes,
    render_confusions,
    render_mistakes,
    wrong_for_all,
)

Build = Callable[..., Comparison]


def without_image(name: str) -> NDArray[np.uint8] | None:
    return None


def pictures(shown: str) -> list[Image.Image]:
    return [
        Image.open(io.BytesIO(base64.b64decode(data)))
        for data in re.findall(r'src="data:image/(?:png|jpeg);base64,([^"]+)"', shown)
    ]


def test_a_matrix_holds_every_count_of_the_report(build_comparison: Build) -> None:
    contestant = build_comparison(unreadable=(3, 4)).contestants[2]
    shown = render_confusions([contestant])
    body = shown[shown.index("<tbody>") :]
    for label, row in enumerate(re.findall(r"<tr>(.*?)</tr>", body)):
        cells = [int(text or 0) for text in re.findall(r"<td[^>]*>(\d*)</td>", row)]
        expected = [*contestant.report.confusion[label], contestant.report.unreadable_per_class[label]]
        assert cells == expected


def test_no_column_for_unreadable_images_where_there_are_none(build_comparison: Build) -> None:
    assert "unreadable" not in render_confusions(build_comparison().contestants)


@pytest.mark.parametrize(("classes", "matrices"), [(2, 3), (30, 3), (31, 0)])
def test_many_classes_are_listed_as_pairs_instead(build_comparison: Build, classes: int, matrices: int) -> None:
    names = tuple(f"species {i}" for i in range(classes))
    shown = render_confusions(build_comparison(names, per_class=4).contestants)
    assert shown.count('class="matrix"') == matrices


def test_pairs_are_counted_and_the_most_frequent_comes_first(build_comparison: Build) -> None:
    report = build_comparison().contestants[2].report
    pairs = confused_pairs(report)
    assert sum(p.count for p in pairs) == report.num_samples - report.num_correct
    assert [p.count for p in pairs] == sorted((p.count for p in pairs), reverse=True)
    first = pairs[0]
    row, column = report.class_names.index(first.label), report.class_names.index(first.predicted)
    assert report.confusion[row][column] == first.count


def test_the_weakest_class_comes_first(build_comparison: Build) -> None:
    contestant = build_comparison().contestants[2]
    names = re.findall(r'<th scope="row"><bdi>(.*?)</bdi>', render_classes([contestant]))
    assert names[0] == min(contestant.report.per_class, key=lambda r: (r.f1, r.name)).name
    assert sorted(names) == sorted(contestant.report.class_names)


def test_tiny_images_stay_as_they_are_and_are_enlarged_by_pixels(build_comparison: Build) -> None:
    image = np.random.default_rng(0).integers(0, 255, (28, 20, 3)).astype(np.uint8)
    shown = render_mistakes(build_comparison().contestants[2:], lambda name: image)
    assert "class=tiny" in shown
    assert 'width="69" height="96"' in shown
    assert np.array_equal(np.asarray(pictures(shown)[0].convert("RGB")), image)


def test_large_images_shrink_to_96_pixels(build_comparison: Build) -> None:
    image = np.full((600, 1200, 3), (200, 30, 30), dtype=np.uint8)
    shown = render_mistakes(build_comparison().contestants[2:], lambda name: image)
    small = pictures(shown)[0]
    assert small.size == (96, 48)
    assert np.abs(np.asarray(small, dtype=int) - (200, 30, 30)).max() < 12
    assert len(shown) < 60_000


def test_an_image_of_extreme_proportions_is_shown(build_comparison: Build) -> None:
    image = np.zeros((1, 5000, 3), dtype=np.uint8)
    assert pictures(render_mistakes(build_comparison().contestants[2:], lambda name: image))[0].size == (96, 1)


def test_an_image_that_can_not_be_shown_gives_a_box_that_says_so(build_comparison: Build) -> None:
    def gone(name: str) -> NDArray[np.uint8] | None:
        raise ImageError(name, "moved away")

    for read in (without_image, gone):
        assert "no preview" in render_mistakes(build_comparison().contestants[2:], read)


def test_an_image_is_read_once_for_all_contestants(build_comparison: Build) -> None:
    asked: list[str] = []

    def read(name: str) -> NDArray[np.uint8] | None:
        asked.append(name)
        return None

    render_mistakes(build_comparison(skills=(1.0, 1.0, 1.0)).contestants * 2, read)
    assert len(asked) == len(set(asked)) > 0


def test_a_mistake_says_what_was_said_and_what_is_true(build_comparison: Build) -> None:
    contestant = build_comparison().contestants[2]
    first = contestant.report.mistakes[0]
    shown = render_mistakes([contestant], without_image)
    assert f"said <b><bdi>{first.predicted}</bdi></b> {round(first.confidence * 100)}&#160;%" in shown
    assert f"labelled <b><bdi>{first.label}</bdi></b>" in shown
    assert f'title="{first.place}"' in shown


def test_images_that_every_network_gets_wrong_are_counted_without_unreadable_ones(build_comparison: Build) -> None:
    contestants = build_comparison(skills=(3.0, 3.0, 3.0), unreadable=(0, 1, 2)).contestants
    wrong = [{i for i, c in enumerate(x.report.correctness) if c == "0"} - {0, 1, 2} for x in contestants]
    assert wrong_for_all(contestants) == len(set.intersection(*wrong))


def test_a_perfect_network_has_no_mistakes_to_show(build_comparison: Build) -> None:
    contestants = build_comparison(("a", "b"), skills=(60.0,)).contestants
    assert "No wrong answers" in render_mistakes(contestants, without_image)
    assert render_confusions(contestants).count('class="wrong"') == 0

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.data.samples import SampleTable
from eyebright.errors import DataError, ImageError
from eyebright.evaluation.corruptions import CORRUPTIONS
from eyebright.evaluation.render_robustness import render_robustness
from eyebright.evaluation.robustness import (
    LabelledSquares,
    evaluate_corruptions,
    evaluate_views,
    iter_views,
    read_labelled,
)
from eyebright.preprocess import Preprocessing
from eyebright.progress import SilentProgress

CLASSES = ("dark", "bright")


def answer(squares: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bright or dark, by the mean."""
    bright = 1 / (1 + np.exp(-(squares.mean(axis=(1, 2, 3)) - 128) / 8))
    return np.stack([1 - bright, bright], axis=1).astype(np.float32)


def labelled(count: int = 40) -> LabelledSquares:
    random = np.random.default_rng(0)
    labels = np.arange(count) % 2
    squares = random.integers(0, 100, (count, 16, 16, 3)) + 100 * labels[:, None, None, None]
    return LabelledSquares(squares=squares.astype(np.uint8), labels=labels, drawn_from=count, unreadable=0)


def test_what_a_classifier_of_brightness_bears() -> None:
    report = evaluate_corruptions(answer, labelled(), progress=SilentProgress())
    assert report.accuracy == 1.0
    by_name = {result.name: result for result in report.results}
    assert by_name["gaussian blur"].accuracies == (1.0,) * 5
    assert by_name["rotation"].accuracies == (1.0,) * 5
    assert by_name["darkness"].accuracies[-1] == 0.5
    assert by_name["brightness"].accuracies[-1] == 0.5
    assert by_name["darkness"].confidences[-1] > 0.9
    assert 0.5 < report.mean_corrupted_accuracy < 1.0
    assert report.mean_corrupted_accuracy == pytest.approx(np.mean([r.accuracies for r in report.results]))
    assert "worst at the highest" in str(report)
    assert evaluate_corruptions(answer, labelled(), progress=SilentProgress()) == report


def test_the_size_of_a_batch_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    few = CORRUPTIONS[:2]
    report = evaluate_corruptions(answer, labelled(), corruptions=few, progress=SilentProgress())
    monkeypatch.setattr("eyebright.evaluation.robustness.BATCH_SIZE", 7)
    again = evaluate_corruptions(answer, labelled(), corruptions=few, progress=SilentProgress())
    assert [r.accuracies for r in again.results] == [r.accuracies for r in report.results]


def test_ten_views_are_the_image_its_mirror_image_and_both_moved() -> None:
    squares = np.random.default_rng(1).integers(0, 255, (2, 32, 32, 3), dtype=np.uint8)
    views = list(iter_views(squares))
    assert len(views) == 10
    assert np.array_equal(views[0], squares)
    assert np.array_equal(views[1], squares[:, :, ::-1])
    assert np.array_equal(views[2][:, 2:, 2:], squares[:, :-2, :-2])
    assert np.array_equal(views[8][:, :-2, :-2], squares[:, 2:, 2:])
    assert len({view.tobytes() for view in views}) == 10


def test_several_views_help_a_classifier_that_looks_at_one_side_only() -> None:
    random = np.random.default_rng(2)
    labels = np.arange(60) % 2
    squares = random.integers(60, 140, (60, 16, 16, 3)).astype(np.uint8)
    for row in range(0, 60, 2):  # the sign of a class is on the left or on the right
        half = slice(0, 8) if row % 4 else slice(8, 16)
        squares[row, :, half] //= 2

    def left_only(some: NDArray[np.uint8]) -> NDArray[np.float32]:
        first = 1 / (1 + np.exp(-(80 - some[:, :, :8].mean(axis=(1, 2, 3))) / 2))
        return np.stack([first, 1 - first], axis=1).astype(np.float32)

    images = LabelledSquares(squares=squares, labels=labels, drawn_from=60, unreadable=0)
    one, two, ten = evaluate_views(left_only, images, progress=SilentProgress())
    assert (one.views, two.views, ten.views) == (1, 2, 10)
    assert (one.gained, one.lost, one.p_value, one.cost) == (0, 0, 1.0, 1.0)
    assert one.accuracy == 0.75
    assert two.log_loss < one.log_loss
    assert ten.cost > two.cost > 1
    assert two.gained - two.lost == round(60 * (two.accuracy - one.accuracy))


def test_a_view_is_made_only_when_it_is_looked_at_so_that_its_cost_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    pad = np.pad

    def padding(*given: Any, **options: Any) -> Any:
        happened.append("moved")
        return pad(*given, **options)

    def looking(some: NDArray[np.uint8]) -> NDArray[np.float32]:
        happened.append("looked")
        return np.full((len(some), 2), 0.5, dtype=np.float32)

    monkeypatch.setattr(np, "pad", padding)
    images = LabelledSquares(
        squares=np.zeros((4, 16, 16, 3), dtype=np.uint8), labels=np.arange(4) % 2, drawn_from=4, unreadable=0
    )
    evaluate_views(looking, images, progress=SilentProgress())
    assert happened == ["looked", "looked", "moved", *["looked"] * 8]


def test_images_are_drawn_the_same_for_the_same_seed_and_unreadable_ones_are_left_out() -> None:
    images = np.random.default_rng(3).integers(0, 255, (50, 20, 20, 3), dtype=np.uint8)

    class Torn:
        def read(self, name: str) -> NDArray[np.uint8]:
            if int(name.split()[-1]) % 10 == 0:
                raise ImageError(name, "torn")
            image: NDArray[np.uint8] = images[int(name.split()[-1])]
            return image

        def locate(self, name: str) -> str:
            return name

    table = SampleTable(
        store=Torn(),
        names=tuple(f"row {row}" for row in range(50)),
        labels=np.arange(50) % 2,
        classes=CLASSES,
        splits=np.full(50, -1, dtype=np.int8),
    )
    preprocessing = Preprocessing(image_size=16, resize=16)
    draws = [read_labelled(table, preprocessing, most=20, seed=s, progress=SilentProgress()) for s in (1, 1, 2)]
    assert np.array_equal(draws[0].squares, draws[1].squares)
    assert draws[0].squares.shape != draws[2].squares.shape or not np.array_equal(draws[0].squares, draws[2].squares)
    assert len(draws[0].labels) + draws[0].unreadable == 20
    whole = read_labelled(table, preprocessing, most=100, seed=1, progress=SilentProgress())
    assert (len(whole.labels), whole.unreadable, whole.drawn_from) == (45, 5, 50)
    torn = table.take([0, 10])
    with pytest.raises(DataError, match="none of the images can be read"):
        read_labelled(torn, preprocessing, most=20, seed=0, progress=SilentProgress())


def test_the_page_shows_every_state_and_keeps_names_inert() -> None:
    images = labelled()
    report = evaluate_corruptions(answer, images, progress=SilentProgress())
    views = evaluate_views(answer, images, progress=SilentProgress())
    page = render_robustness(report, images.squares[0], views, name="<b>x", data="<script>alert(1)</script>")
    assert page.count("<figure>") == 6 * len(CORRUPTIONS)
    assert "<script>alert" not in page
    assert "10 views" in page
    grey = np.full((16, 16, 1), 90, dtype=np.uint8)
    assert "<figure>" in render_robustness(report, grey, (), name="x", data="y")

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from eyebright.explanation.attribution import Attribution, Explanation, Faithfulness, JudgedMap
from eyebright.explanation.overlay import AGAINST, FOR, overlay, tint, write_sheet
from eyebright.inference.predictor import Prediction


def attribution(values: list[list[float]], against: str | None = None) -> Attribution:
    array = np.array(values, dtype=np.float32)
    return Attribution(method="grad-cam", values=array, grid=(2, 2), layer="layer4", label="cat", against=against)


def test_only_what_speaks_for_the_class_is_coloured() -> None:
    colours = tint(attribution([[0.0, 2.0], [-2.0, 1.0]]))
    assert colours[0, 0, 3] == colours[1, 0, 3] == 0
    assert colours[0, 1, 3] > colours[1, 1, 3] > 0
    assert int(colours[0, 1, :3].sum()) > int(colours[1, 1, :3].sum())  # the stronger, the lighter


def test_a_contrast_shows_both_sides_on_one_scale() -> None:
    colours = tint(attribution([[0.0, 2.0], [-4.0, 1.0]], against="dog"))
    assert tuple(colours[0, 1, :3]) == FOR
    assert tuple(colours[1, 0, :3]) == AGAINST
    assert int(colours[1, 0, 3]) == pytest.approx(2 * int(colours[0, 1, 3]), abs=1)
    assert colours[0, 0, 3] == 0


def test_a_map_of_nothing_leaves_the_image_grey() -> None:
    image = np.full((2, 2, 3), (200, 0, 0), dtype=np.uint8)
    for values in ([[0.0, 0.0], [0.0, 0.0]], [[-1.0, -1.0], [-1.0, -1.0]]):
        seen = overlay(image, attribution(values))
        assert (seen == seen[0, 0, 0]).all()


def test_a_sheet_holds_every_map() -> None:
    fractions = (0.0, 0.5, 1.0)
    faithful = Faithfulness(
        deletion=fractions,
        insertion=fractions,
        random_deletion=fractions,
        random_insertion=fractions,
        random_scores=(0.0,),
    )
    judged = JudgedMap(attribution=attribution([[0.0, 2.0], [0.0, 1.0]]), faithfulness=faithful)
    found = Explanation(
        prediction=Prediction(name="a", label="cat", confidence=0.9, probabilities={"cat": 0.9, "d" * 99: 0.1}),
        image=np.zeros((2, 2, 3), dtype=np.uint8),
        label="cat",
        maps=(judged, judged),
        contrast=attribution([[0.0, 2.0], [0.0, 1.0]], against="d" * 99),
    )
    sheet = write_sheet(found)
    assert sheet == write_sheet(found)
    with Image.open(io.BytesIO(sheet)) as picture:
        assert picture.size == (24 + 4 * 360, 438)

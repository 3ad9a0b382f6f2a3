from __future__ import annotations

import numpy as np
import pytest

from eyebright.calibration.novelty import unit_rows
from eyebright.explanation.neighbours import find_nearest


def test_the_nearest_have_the_largest_cosine_whatever_their_length() -> None:
    embeddings = unit_rows(np.array([[0, 1], [10, 0], [1, 1], [-1, 0], [0, 0]]))
    found = find_nearest(unit_rows(np.array([[2, 0.1]]))[0], embeddings, 3)
    assert [row for row, _ in found] == [1, 2, 0]
    assert found[0][1] == pytest.approx(2 / np.hypot(2, 0.1))
    assert find_nearest(np.array([1, 0], dtype=np.float32), embeddings, 9)[-1] == (3, -1.0)


def test_nothing_is_like_an_embedding_of_zeros() -> None:
    found = find_nearest(np.zeros(2, np.float32), np.eye(2, dtype=np.float32), 2)
    assert found == ((0, 0.0), (1, 0.0))

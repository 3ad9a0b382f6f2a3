from __future__ import annotations

import numpy as np
import pytest

from eyebright.calibration.novelty import MOST_REFERENCES, NEIGHBOURS, choose_references, measure_novelty, unit_rows


def test_it_is_the_distance_that_scikit_learns_neighbours_have() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors", reason="needs scikit-learn as the oracle")
    rng = np.random.default_rng(0)
    references, asked = rng.normal(size=(80, 12)), rng.normal(size=(30, 12))
    search = neighbors.NearestNeighbors(n_neighbors=NEIGHBOURS, metric="cosine").fit(references)
    expected = search.kneighbors(asked)[0][:, -1]
    np.testing.assert_allclose(measure_novelty(asked, unit_rows(references)), expected, atol=1e-6)


def test_length_does_not_matter_and_few_references_are_enough() -> None:
    references = unit_rows(np.eye(3)[:2])
    found = measure_novelty(np.array([[5.0, 0, 0], [0.1, 0, 0], [0, 0, 7.0]]), references)
    assert found.tolist() == [1, 1, 1]  # of two references the farther counts
    assert measure_novelty(np.array([[0, 2.0, 0]]), references[1:]).tolist() == [0]
    assert measure_novelty(np.zeros((1, 3)), references).tolist() == [1]


def test_references_are_drawn_from_all_and_kept_in_order() -> None:
    assert choose_references(5, 0).tolist() == [0, 1, 2, 3, 4]
    drawn = choose_references(5000, 0)
    assert len(np.unique(drawn)) == MOST_REFERENCES
    assert (np.diff(drawn) > 0).all()
    assert np.array_equal(drawn, choose_references(5000, 0))
    assert not np.array_equal(drawn, choose_references(5000, 1))
    assert 2200 < drawn.mean() < 2800

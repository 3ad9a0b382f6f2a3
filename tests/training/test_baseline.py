"""The classifier without a network, on squares that differ in nothing but colour."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eyebright.data.samples import SampleTable
from eyebright.data.sources import read_samples
from eyebright.embedding.descriptors import describe_squares
from eyebright.inference.descriptor_engine import DescriptorEngine
from eyebright.progress import SilentProgress
from eyebright.training import baseline
from eyebright.training.baseline import fit_baseline
from eyebright.training.settings import Settings

SETTINGS = Settings()
WITHOUT_CACHE = replace(SETTINGS, data=replace(SETTINGS.data, cache=False))


def build_table(count: int = 60) -> SampleTable:
    labels = np.arange(count) % 2
    images = np.random.default_rng(0).integers(0, 120, (count, 20, 20, 3), dtype=np.uint8)
    images[np.arange(count), :, :, labels] += 100
    table = read_samples((images, labels))
    return replace(table, splits=(np.arange(count) % 6 == 5).astype(np.int8))  # every sixth to choose by


def test_it_is_fitted_calibrated_and_the_same_twice() -> None:
    first, second = (fit_baseline(build_table(), WITHOUT_CACHE, progress=SilentProgress()) for _ in range(2))
    np.testing.assert_array_equal(first.head.weight, second.head.weight)
    assert first.num_train == 50
    assert first.calibration.num_samples == 10
    assert first.calibration.correct.all()
    assert first.calibration.references is not None


def test_its_engine_gives_the_logits_that_it_was_calibrated_on() -> None:
    fitted = fit_baseline(build_table(), WITHOUT_CACHE, progress=SilentProgress())
    squares = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    engine = DescriptorEngine(fitted.head.weight, fitted.head.bias)
    logits, described = engine.run_and_embed(np.moveaxis(squares, 3, 1))
    np.testing.assert_array_equal(described, describe_squares(squares))
    np.testing.assert_allclose(logits, described @ fitted.head.weight.T + fitted.head.bias, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(engine.run(np.moveaxis(squares, 3, 1)), logits)


def test_of_many_samples_it_learns_from_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "MOST_SAMPLES", 20)
    monkeypatch.setattr(baseline, "FEWEST_OF_CLASS", 1)
    assert fit_baseline(build_table(), WITHOUT_CACHE, progress=SilentProgress()).num_train == 20
    table = build_table()
    rare = replace(table, labels=np.where(np.arange(60) == 3, 1, 0), classes=("0", "1"))
    assert fit_baseline(rare, WITHOUT_CACHE, progress=SilentProgress()).num_train == 21  # the only one of its class


def test_a_class_keeps_so_many_that_some_can_be_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "MOST_SAMPLES", 30)
    fitted = fit_baseline(build_table(120), WITHOUT_CACHE, progress=SilentProgress())
    assert fitted.num_train == 2 * baseline.FEWEST_OF_CLASS
    assert fitted.calibration.num_samples == 20


def test_it_stops_where_that_is_asked_for() -> None:
    with pytest.raises(KeyboardInterrupt):
        fit_baseline(build_table(), WITHOUT_CACHE, progress=Stopping())


class Stopping(SilentProgress):
    """Asks to stop from the beginning."""

    stop_requested = True

from __future__ import annotations

import time
from pathlib import Path

import pytest

from eyebright.data.samples import ImageStore
from eyebright.inference.load import load
from eyebright.progress import SilentProgress
from eyebright.speed.measure import measure_speed

Images = tuple[ImageStore, tuple[str, ...]]


def test_an_engine_is_measured_from_files_alone_and_one_by_one(bundle: Path, images: Images) -> None:
    found = measure_speed(
        {"torch": load(bundle)}, *images, rounds=2, singles=7, progress=SilentProgress(), gigaflop=0.5, side=32
    )
    (one,) = found.engines
    assert (one.engine, one.computes) == ("torch", "float32")
    assert one.times == 1  # it is what it is compared with
    assert 0 < one.from_files.low <= one.from_files.median <= one.from_files.high
    assert one.alone.median > 0
    assert one.one_image.count == 2 * 7  # those of the warm-up round are left out
    assert 0 < one.one_image.median <= one.one_image.slow
    assert one.gflops == pytest.approx(0.5 * one.alone.median)
    assert one.gflops is not None
    assert one.share_of_peak == pytest.approx(one.gflops / found.peaks["float32"])


def test_another_way_is_what_all_are_compared_with(bundle: Path, images: Images) -> None:
    slow = 0.2
    found = measure_speed(
        {"torch": load(bundle)},
        *images,
        rounds=1,
        singles=1,
        progress=SilentProgress(),
        others={"slow": lambda: time.sleep(slow)},
        side=32,
    )
    (one,) = found.engines
    assert found.others["slow"].median <= len(images[1]) / slow
    assert one.times == pytest.approx(one.from_files.median / found.others["slow"].median)
    assert one.gflops is None
    assert one.share_of_peak is None

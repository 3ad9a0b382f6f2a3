from __future__ import annotations

import sys

import numpy as np
import pytest

from eyebright.jobs.costs import FEWEST_RUNS, MOST_RUNS, measure_latency, watch_memory
from eyebright.jobs.train import Run


def test_one_image_alone_takes_some_time(run: Run) -> None:
    found = measure_latency(run.predictor)
    assert FEWEST_RUNS <= found.count <= MOST_RUNS
    assert 0 < found.median <= found.slow
    assert run.contestant is not None
    assert run.contestant.latency_ms is not None
    assert run.contestant.latency_ms > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts anew")
def test_memory_is_counted_from_the_beginning_of_the_block() -> None:
    large = np.ones(40_000_000)  # 320 MB before the block
    del large
    with watch_memory() as small:
        kept = np.ones(1000)
    with watch_memory() as larger:
        kept = np.ones(20_000_000)
    del kept
    assert small.num_bytes is not None
    assert larger.num_bytes is not None
    assert 140e6 < larger.num_bytes - small.num_bytes < 300e6

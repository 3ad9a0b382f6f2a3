from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from eyebright.inference.load import load
from eyebright.speed.costs import FEWEST_RUNS, MOST_RUNS, measure_latency, read_peak, watch_memory


def test_one_image_alone_takes_some_time(bundle: Path) -> None:
    found = measure_latency(load(bundle))
    assert FEWEST_RUNS <= found.count <= MOST_RUNS
    assert 0 < found.median <= found.slow


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
    peak = read_peak()
    assert peak is not None
    assert peak == pytest.approx(larger.num_bytes, rel=0.05)  # the system counts in steps


def test_memory_of_a_gpu_is_told_where_one_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"cuda:0": 500, "cuda:1": 700}  # as torch keeps it: what is given back is not free at once
    most = dict(kept)
    monkeypatch.setattr(torch.cuda, "init", lambda: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: kept.update({"cuda:0": 0, "cuda:1": 0}))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: most.update({device: kept[device]}))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: most[device])
    with watch_memory() as without:
        pass
    assert without.gpu_bytes is None
    with watch_memory("cuda:1") as there:
        most["cuda:1"] = 123
    assert there.gpu_bytes == 123

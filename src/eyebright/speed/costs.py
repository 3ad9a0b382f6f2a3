"""What a classifier costs beside training time: how long one image takes, and how much memory is held meanwhile."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eyebright.inference.predictor import Predictor
from eyebright.preprocess import IN_COLOUR

MOST_RUNS = 100
FEWEST_RUNS = 10
SECONDS = 2.0
"""After so long no further image is timed, once there are ten."""


@dataclass(frozen=True, kw_only=True)
class Latency:
    """How long one image alone takes, already decoded, in milliseconds."""

    median: float
    slow: float
    """99 of 100 stay below; with fewer than 100 images, the slowest."""
    count: int


@dataclass(kw_only=True)
class Peak:
    """The most memory that the process held during a block."""

    num_bytes: int | None = None
    """None until the block has ended, and where the system does not tell."""
    gpu_bytes: int | None = None
    """On its GPU, where it has used one."""


def measure_latency(predictor: Predictor) -> Latency:
    """Classify a picture of noise, alone, over and over."""
    side, channels = predictor.preprocessing.resize, predictor.preprocessing.channels
    depth = 3 if channels in IN_COLOUR else channels
    picture = np.random.default_rng(0).integers(0, 256, (side, side, depth), dtype=np.uint8)
    predictor.predict(picture)  # whatever is set up only once
    taken: list[float] = []
    began = time.perf_counter()
    while len(taken) < MOST_RUNS and (len(taken) < FEWEST_RUNS or time.perf_counter() - began < SECONDS):
        start = time.perf_counter()
        predictor.predict(picture)
        taken.append(1000 * (time.perf_counter() - start))
    return Latency(
        median=float(np.median(taken)),
        slow=float(np.quantile(taken, 0.99, method="higher")),
        count=len(taken),
    )


@contextmanager
def watch_memory(device: str = "cpu") -> Iterator[Peak]:
    """The most that is held until the block ends; Linux alone can begin to count anew, and GPUs.

    Args:
        device: that the block computes on; a GPU's memory is told too.
    """
    peak = Peak()
    gpu = _find_gpu(device)
    if gpu is not None:
        gpu.empty_cache()  # what earlier work has left there would count
        gpu.reset_peak_memory_stats(device)
    fresh = False
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        fresh = True
    try:
        yield peak
    finally:
        if fresh:
            peak.num_bytes = read_peak()
        if gpu is not None:
            peak.gpu_bytes = int(gpu.max_memory_reserved(device))


def _find_gpu(device: str) -> Any:
    """torch's `cuda`, if that is where the device is; else None. Whoever found it there has imported torch."""
    if not device.startswith("cuda"):
        return None
    cuda: Any = sys.modules["torch"].cuda
    cuda.init()
    return cuda


def read_peak() -> int | None:
    """The most memory that this process has held, in bytes; None where the system does not tell."""
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None

"""From image files to labels with several engines, in turns; the networks alone; single images; the machine's peak.

Shapes: N images, R side of a square, C channels. No torch here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from eyebright.data.cache import iter_squares
from eyebright.data.samples import ImageStore
from eyebright.inference.predictor import BATCH_SIZE, Predictor
from eyebright.progress import Progress
from eyebright.speed.costs import Latency
from eyebright.speed.products import SIDE, build_products, find_type
from eyebright.speed.rounds import Spread, Way, compare_turns, find_rates, take_turns


@dataclass(frozen=True, kw_only=True)
class EngineSpeed:
    """What one engine does on this machine."""

    engine: str
    computes: str
    """The type of number: "float32", "bfloat16" or "int8"."""
    from_files: Spread
    """Images a second from their files to their labels."""
    alone: Spread
    """Images a second of the network alone, decoded before."""
    times: float
    """From files: how many times as fast as the way that all are compared with."""
    one_image: Latency
    """From the bytes of one file to its label, alone."""
    gflops: float | None
    """Billions of operations a second of the network alone; None if its operations are not known."""
    share_of_peak: float | None
    """Of what a matrix product in the same type does at its best, in the same rounds; None if one is not known."""
    first_seconds: float | None = None
    """From the start of a process to its first answer; None if not measured."""
    peak_bytes: int | None = None
    """The most memory of a process that does nothing else; None if not measured."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Everything from one set of rounds."""

    engines: tuple[EngineSpeed, ...]
    others: Mapping[str, Spread]
    """Images a second of the other ways."""
    peaks: Mapping[str, float]
    """Billions of operations a second of a matrix product in its fastest round, by type."""


def measure_speed(
    predictors: Mapping[str, Predictor],
    store: ImageStore,
    names: Sequence[str],
    *,
    rounds: int,
    singles: int,
    progress: Progress,
    gigaflop: float | None = None,
    others: Mapping[str, Way] | None = None,
    side: int = SIDE,
) -> Measured:
    """Let all engines classify the same images in turns.

    Args:
        predictors: one for each engine.
        store: where the images are.
        names: N of them that can be read.
        rounds: how often each way is timed, after one round to warm up.
        singles: how many images are classified one by one in each round.
        progress: told how far it is, and asked whether to stop.
        gigaflop: billions of operations for one image, two for each multiply-add.
        others: ways that bring the same images to labels without these engines; all are compared with the first of
            them, or with the first engine if there are none.
        side: of the matrices that are multiplied.

    Raises:
        KeyboardInterrupt: a stop was requested.
    """
    others = others or {}
    ways: dict[str, Way] = dict(others)
    squares: dict[str, NDArray[np.uint8]] = {}
    taken: dict[str, list[float]] = {}
    for engine, predictor in predictors.items():
        shape = repr(predictor.preprocessing)
        if shape not in squares:
            squares[shape] = np.concatenate([part for part, _ in iter_squares(store, names, predictor.preprocessing)])
        taken[engine] = []
        chosen = [names[number % len(names)] for number in range(singles)]
        ways[f"{engine}, from files"] = partial(_predict_files, predictor, store, names)
        ways[f"{engine}, alone"] = partial(_run_alone, predictor, squares[shape])
        ways[f"{engine}, one by one"] = partial(_predict_singles, predictor, store, chosen, taken[engine])
    products = build_products(side)
    seconds = take_turns(
        ways | {name: product for name, (_, product) in products.items()}, rounds=rounds, progress=progress
    )
    reference = seconds[next(iter(ways))]
    peaks: dict[str, float] = {}
    for name, (kind, _) in products.items():
        peaks[kind] = max(peaks.get(kind, 0.0), 2 * side**3 / 1e9 / min(seconds[name]))
    found = []
    for engine in predictors:
        kind = find_type(engine)
        alone = find_rates(seconds[f"{engine}, alone"], len(names))
        gflops = None if gigaflop is None else alone.median * gigaflop
        found.append(
            EngineSpeed(
                engine=engine,
                computes=kind,
                from_files=find_rates(seconds[f"{engine}, from files"], len(names)),
                alone=alone,
                times=compare_turns(reference, seconds[f"{engine}, from files"]),
                one_image=_find_latency(taken[engine][singles:]),
                gflops=gflops,
                share_of_peak=None if gflops is None or kind not in peaks else gflops / peaks[kind],
            )
        )
    return Measured(
        engines=tuple(found),
        others={name: find_rates(seconds[name], len(names)) for name in others},
        peaks=peaks,
    )


def _predict_files(predictor: Predictor, store: ImageStore, names: Sequence[str]) -> None:
    for _ in predictor.predict_files(store, names):
        pass


def _run_alone(predictor: Predictor, squares: NDArray[np.uint8]) -> None:
    """(N, R, R, C), batch by batch as `predict_files` runs them."""
    for start in range(0, len(squares), BATCH_SIZE):
        predictor.logits(squares[start : start + BATCH_SIZE])


def _predict_singles(predictor: Predictor, store: ImageStore, names: Sequence[str], taken: list[float]) -> None:
    """One image after the other; the milliseconds of each are added to `taken`."""
    for name in names:
        began = time.perf_counter()
        predictor.predict(store.read(name))
        taken.append(1000 * (time.perf_counter() - began))


def _find_latency(taken: Sequence[float]) -> Latency:
    return Latency(
        median=float(np.median(taken)),
        slow=float(np.quantile(taken, 0.99, method="higher")),
        count=len(taken),
    )

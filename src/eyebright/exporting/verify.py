"""Does an exported network answer as the network does? Both run on the same test images, taking turns. No torch here.

Shapes: N images, B images of a batch, C channels, S side that the network sees, K classes.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from eyebright.bundle.engines import ONNX, VerifiedEngine
from eyebright.errors import DataError, ExportError
from eyebright.inference.engine import Engine
from eyebright.inference.predictor import sigmoid
from eyebright.progress import Progress

MAX_DIFFERENCE = 1e-3
"""How far a logit in float32 may be off, as a share of the largest: rounding is a hundredth of that."""
_SINGLES = 9

Batch = tuple[NDArray[np.uint8], NDArray[np.int64] | NDArray[np.bool_]]
"""Pixels (B, C, S, S), and labels: (B,), or (B, K) which classes each image has."""


def verify(
    engine: Engine,
    torch: Engine,
    batches: Iterable[Batch],
    *,
    thresholds: Sequence[float] | None = None,
    total: int,
    weights_sha256: str,
    how: str,
    machine: str,
    created: str,
    progress: Progress,
) -> VerifiedEngine:
    """Run an engine and torch in float32 on the same images, and compare answers and speed.

    Args:
        engine: the exported one.
        torch: the network itself.
        batches: pixels and labels of images that took no part in training or calibration.
        thresholds: (K,) from which probability on an image has each class; None where it has exactly one.
        total: how many images there are, for `progress`.
        weights_sha256, how, machine, created: see `VerifiedEngine`.
        progress: told how far it is.

    Raises:
        DataError: there are no images.
        KeyboardInterrupt: a stop was requested.
    """
    progress.start(f"comparing {engine.name} with torch", total)
    seconds: dict[str, list[float]] = {"engine": [], "torch": []}
    count = agree = correct = torch_correct = 0
    difference = largest = 0.0
    single: NDArray[np.uint8] | None = None
    for number, (pixels, labels) in enumerate(batches):
        if progress.stop_requested:
            raise KeyboardInterrupt
        if single is None:
            single = pixels[:1].copy()
            engine.run(pixels)  # the first run sets things up, and is not timed
            torch.run(pixels)
        turns = [("engine", engine), ("torch", torch)]
        logits: dict[str, NDArray[np.float32]] = {}
        for name, runs in turns if number % 2 else reversed(turns):
            began = time.perf_counter()
            logits[name] = runs.run(pixels)
            seconds[name].append((time.perf_counter() - began) / len(pixels))
        found, wanted = (_answer(logits[name], thresholds) for name in ("engine", "torch"))
        count += len(labels)
        agree += _count_same(found, wanted)
        correct += _count_same(found, labels)
        torch_correct += _count_same(wanted, labels)
        # np.maximum, since Python's max would lose a NaN.
        difference = float(np.maximum(difference, np.abs(logits["engine"] - logits["torch"]).max()))
        largest = max(largest, float(np.abs(logits["torch"]).max()))
        progress.advance(count)
    progress.finish()
    if single is None:
        raise DataError("there are no test images that can be read to compare the export on; give labelled images")
    return VerifiedEngine(
        engine=engine.name,
        file=None,
        weights_sha256=weights_sha256,
        num_images=count,
        num_agree=agree,
        num_correct=correct,
        torch_correct=torch_correct,
        largest_difference=difference,
        largest_logit=largest,
        size_bytes=0,
        latency_seconds=_latency(engine, single),
        images_per_second=1 / statistics.median(seconds["engine"]),
        torch_latency_seconds=_latency(torch, single),
        torch_images_per_second=1 / statistics.median(seconds["torch"]),
        how=how,
        machine=machine,
        created=created,
        several_labels=thresholds is not None,
    )


def _answer(logits: NDArray[np.float32], thresholds: Sequence[float] | None) -> NDArray[np.int64] | NDArray[np.bool_]:
    """Logits (B, K) -> the likeliest class (B,), or which classes (B, K), as `Predictor` decides."""
    if thresholds is None:
        likeliest: NDArray[np.int64] = logits.argmax(axis=1)
        return likeliest
    present: NDArray[np.bool_] = sigmoid(logits) >= np.asarray(thresholds, dtype=np.float32)
    return present


def _count_same(some: NDArray[np.int64] | NDArray[np.bool_], others: NDArray[np.int64] | NDArray[np.bool_]) -> int:
    """For how many images two answers are the same in every class."""
    assert some.shape == others.shape
    same = some == others
    return int((same if same.ndim == 1 else same.all(axis=1)).sum())


def _latency(engine: Engine, image: NDArray[np.uint8]) -> float:
    """Seconds for one image, the median of a few."""
    times = []
    for _ in range(_SINGLES):
        began = time.perf_counter()
        engine.run(image)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def require_same_answers(verified: VerifiedEngine, *, max_drop: float) -> None:
    """Refuse an export that does not answer as the network does.

    Args:
        verified: what was measured.
        max_drop: how many points of accuracy it may lose.

    Raises:
        ExportError: it loses more than that; or, in float32, its logits are off by more than rounding.
    """
    if verified.drop > max_drop + 1e-9:
        what = "of images with all labels right" if verified.several_labels else "of accuracy"
        raise ExportError(
            f"{verified.engine} loses {verified.drop:.1f} points {what} on {verified.num_images:,} test images, "
            f"and at most {max_drop:g} are allowed; it was not kept. Allow more with --max-drop, or export without it"
        )
    if not math.isfinite(verified.largest_difference):
        raise ExportError(f"{verified.engine} answers with values that are no numbers; it was not kept")
    allowed = MAX_DIFFERENCE * max(verified.largest_logit, 1.0)
    if verified.engine == ONNX and not verified.largest_difference <= allowed:
        raise ExportError(
            f"{verified.engine} answers differently: a logit is off by {verified.largest_difference:.2g}, and "
            f"{allowed:.2g} would be rounding; it was not kept. Please report this network"
        )

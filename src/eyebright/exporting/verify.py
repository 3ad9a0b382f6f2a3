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

from eyebright.bundle.engines import EXECUTORCH, ONNX, VerifiedEngine
from eyebright.errors import DataError, ExportError
from eyebright.inference.engine import Engine
from eyebright.inference.predictor import pass_thresholds, sigmoid
from eyebright.progress import Progress

MAX_DIFFERENCE = 1e-4
"""How far a logit in float32 may be off, as a share of the largest: rounding is a hundredth of that."""
MIN_COSINE = 0.999
"""Between an embedding in float32 and torch's: rounding leaves 1.000000."""
MIN_COSINE_ROUNDED = 0.95
"""The same in int8 or bfloat16, where ResNet-50's are 0.985 to 0.998: further off, novelty would be another's."""
_SINGLES = 9
_TIMED_BATCHES, _ROUNDS = 4, 3

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
    """Run an engine and torch in float32 on the same images, and compare answers; then time both on the first few.

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
    held: list[NDArray[np.uint8]] = []
    count = agree = correct = torch_correct = 0
    difference = largest = 0.0
    cosine = 1.0
    for pixels, labels in batches:
        _heed(progress)
        if len(held) < _TIMED_BATCHES:
            held.append(pixels.copy(order="K"))
        logits, embedded = engine.run_and_embed(pixels)
        torch_logits, torch_embedded = torch.run_and_embed(pixels)
        found, wanted = (_answer(values, thresholds) for values in (logits, torch_logits))
        count += len(labels)
        agree += _count_same(found, wanted)
        correct += _count_same(found, labels)
        torch_correct += _count_same(wanted, labels)
        # np.maximum and np.minimum, since Python's would lose a NaN.
        difference = float(np.maximum(difference, np.abs(logits - torch_logits).max()))
        cosine = float(np.minimum(cosine, _cosines(embedded, torch_embedded).min()))
        largest = max(largest, float(np.abs(torch_logits).max()))
        progress.advance(count)
    progress.finish()
    if not held:
        raise DataError("there are no test images that can be read to compare the export on; give labelled images")
    # Only now, since whoever decodes the batches works ahead beside whatever runs on them.
    seconds, torch_seconds = _time_in_turns((engine, torch), held, progress)
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
        lowest_cosine=cosine,
        size_bytes=0,
        latency_seconds=_latency(engine, held[0][:1]),
        images_per_second=1 / seconds,
        torch_latency_seconds=_latency(torch, held[0][:1]),
        torch_images_per_second=1 / torch_seconds,
        how=how,
        machine=machine,
        created=created,
        several_labels=thresholds is not None,
    )


def _heed(progress: Progress) -> None:
    if progress.stop_requested:
        raise KeyboardInterrupt


def _time_in_turns(
    engines: tuple[Engine, Engine], batches: list[NDArray[np.uint8]], progress: Progress
) -> tuple[float, float]:
    """Seconds an image of each engine, the medians over batches in memory, beginning in turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for engine in engines:
        engine.run(batches[0])  # the first run sets things up, and is not timed
    for turn, pixels in enumerate(_ROUNDS * batches):
        _heed(progress)
        for number in (0, 1) if turn % 2 else (1, 0):
            began = time.perf_counter()
            engines[number].run(pixels)
            seconds[number].append((time.perf_counter() - began) / len(pixels))
    return statistics.median(seconds[0]), statistics.median(seconds[1])


def _cosines(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float64]:
    """Of the angles between the rows of two (B, D), (B,); two rows of zeros are alike."""
    one, other = found.astype(np.float64), wanted.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    alike = (one == other).all(axis=1)
    cosines: NDArray[np.float64] = (one * other).sum(axis=1) / np.where(lengths == 0, 1, lengths)
    return np.where(alike, 1.0, cosines)


def _answer(logits: NDArray[np.float32], thresholds: Sequence[float] | None) -> NDArray[np.int64] | NDArray[np.bool_]:
    """Logits (B, K) -> the likeliest class (B,), or which classes (B, K), as `Predictor` decides."""
    if thresholds is None:
        likeliest: NDArray[np.int64] = logits.argmax(axis=1)
        return likeliest
    return pass_thresholds(sigmoid(logits), thresholds)


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
        ExportError: it loses more than that; in float32, its logits are off by more than rounding; or its embeddings,
            by which images unlike the training images are told, point another way.
    """
    if verified.drop > max_drop + 1e-9:
        what = "of images with all labels right" if verified.several_labels else "of accuracy"
        raise ExportError(
            f"{verified.engine} loses {verified.drop:.1f} points {what} on {verified.num_images:,} test images, "
            f"and at most {max_drop:g} are allowed; it was not kept. Allow more with --max-drop, or export without it"
        )
    if not math.isfinite(verified.largest_difference) or not math.isfinite(verified.lowest_cosine or 0):
        raise ExportError(f"{verified.engine} answers with values that are no numbers; it was not kept")
    allowed = MAX_DIFFERENCE * max(verified.largest_logit, 1.0)
    if verified.engine in (ONNX, EXECUTORCH) and not verified.largest_difference <= allowed:
        raise ExportError(
            f"{verified.engine} answers differently: a logit is off by {verified.largest_difference:.2g}, and "
            f"{allowed:.2g} would be rounding; it was not kept. Please report this network"
        )
    bound = MIN_COSINE if verified.engine in (ONNX, EXECUTORCH) else MIN_COSINE_ROUNDED
    if verified.lowest_cosine is not None and verified.lowest_cosine < bound:
        raise ExportError(
            f"{verified.engine} sees images differently: the cosine between an embedding and torch's is "
            f"{verified.lowest_cosine:.4f}, and {bound} is the least; it was not kept. Export another way"
        )

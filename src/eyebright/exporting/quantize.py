"""An ONNX graph in int8: uint8 activations, int8 weights for each channel, calibrated on images. No torch here.

Weights are rounded so that every channel still adds up to what it did (see `rounding`). Where a tensor's range should
end is a bargain: a wide range rounds coarsely, a narrow one cuts off. Four ways to choose it are tried, and of the best
one also a graph whose first and last layers stay in float; whichever stays closest to the float graph is kept. All four
come from the same two passes over the images, with one histogram a tensor in memory.
Shapes: N images, C channels, S side that the network sees, K classes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from eyebright.errors import DataError
from eyebright.exporting.answers import divergence, read_answers
from eyebright.exporting.rounding import quantise
from eyebright.inference.onnx_engine import INPUT, LOGITS, threads_wanted
from eyebright.progress import Progress

_BATCH = 8
_BINS = 2048
_LEVELS = 256
_STEPS = (7, 11, 13, 17, 19)  # the histograms take every so manieth value: tens of millions are more than they need
_CUT_OFF = 1e-4  # percentile: the share of values that lies outside the range
_SHARES = np.linspace(1.0, 0.2, 81)
"""Of the whole range: what is tried."""
_WORTH = 0.8
"""Float ends are slower: they are kept if they bring the answers at least this much closer."""
_WEIGHTED = ("Conv", "Gemm")
_OPERATIONS = ["Conv", "Gemm", "Add", "MaxPool", "GlobalAveragePool", "Relu", "Concat", "Flatten", "MatMul"]

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way to choose the ranges, and how far its answers are from the float graph's."""

    method: str
    """"min-max", "percentile", "least squares" or "entropy"."""
    float_ends: bool
    """Whether the first and the last layer stay in float."""
    divergence: float
    """Of its answers from the float graph's, see `answers.divergence`; 0 is equal."""
    agreement: float
    """The share of images that get the same class, or the same classes where they may have several."""

    def __str__(self) -> str:
        ends = ", first and last layer in float" if self.float_ends else ""
        return (
            f"int8 by {self.method}{ends}: {100 * self.agreement:.1f} % of the calibration images get the same answer, "
            f"divergence {self.divergence:.4f}"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantized:
    """An int8 graph and how it was chosen."""

    model: onnx.ModelProto
    chosen: Attempt
    attempts: tuple[Attempt, ...]


def describe(quantized: Quantized) -> str:
    """What was chosen, for the record."""
    ends = ", first and last layer in float" if quantized.chosen.float_ends else ""
    return f"int8 by {quantized.chosen.method}{ends}"


def quantize(
    model: onnx.ModelProto,
    images: NDArray[np.uint8],
    *,
    thresholds: Sequence[float] | None = None,
    progress: Progress,
) -> Quantized:
    """The int8 graph that stays closest to a float one.

    Args:
        model: as `build_onnx` wrote it; it is not changed.
        images: (N, C, S, S) pixels to calibrate on, never those it is tested on; a hundred are enough.
        thresholds: (K,) where an image may have several classes; None where it has exactly one.
        progress: told how far it is.

    Raises:
        DataError: there are no images.
        KeyboardInterrupt: a stop was requested.
    """
    if not len(images):
        raise DataError("int8 needs validation images to calibrate on, and there are none that can be read")
    logging.getLogger("onnxruntime.quantization").setLevel(logging.ERROR)
    ranges = _find_ranges(model, images, progress)
    wanted = _run(model, images)
    rounded = _round_weights(model)
    attempt = partial(_attempt, model, rounded=rounded, images=images, wanted=wanted, thresholds=thresholds)
    tried: list[tuple[Attempt, onnx.ModelProto]] = []
    progress.start("comparing int8 graphs", len(ranges) + 1)
    for method, chosen in ranges.items():
        tried.append(attempt(chosen, method=method, float_ends=False))
        _step(progress, len(tried))
    best, _ = min(tried, key=lambda pair: pair[0].divergence)
    tried.append(attempt(ranges[best.method], method=best.method, float_ends=True))
    progress.finish()
    last, kept = tried[-1]
    if last.divergence > _WORTH * best.divergence:
        last, kept = min(tried[:-1], key=lambda pair: pair[0].divergence)
    return Quantized(model=kept, chosen=last, attempts=tuple(one for one, _ in tried))


def _step(progress: Progress, done: int) -> None:
    if progress.stop_requested:
        raise KeyboardInterrupt
    progress.advance(done)


def _attempt(
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    *,
    rounded: Mapping[str, TensorProto],
    images: NDArray[np.uint8],
    wanted: NDArray[np.float32],
    thresholds: Sequence[float] | None,
    method: str,
    float_ends: bool,
) -> tuple[Attempt, onnx.ModelProto]:
    made = _with_int8(model, ranges, rounded, _ends(model) if float_ends else [])
    found = _run(made, images)
    attempt = Attempt(
        method=method,
        float_ends=float_ends,
        divergence=divergence(wanted, found, several_labels=thresholds is not None),
        agreement=float((read_answers(wanted, thresholds) == read_answers(found, thresholds)).all(axis=1).mean()),
    )
    return attempt, made


def _ends(model: onnx.ModelProto) -> list[str]:
    """The names of the first and the last layer with weights."""
    weighted = [node.name for node in model.graph.node if node.op_type in _WEIGHTED]
    return [weighted[0], weighted[-1]]


def _round_weights(model: onnx.ModelProto) -> dict[str, TensorProto]:
    """Layer -> its weights, in float, as they will be after rounding.

    The quantizer divides by the largest magnitude / 127; here that is the step already, so it finds the same integers.
    """
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type in _WEIGHTED and node.input[1] in tensors:
            weight = numpy_helper.to_array(tensors[node.input[1]])
            integers, step = quantise(weight, scale="mse", sums="kernel+channel", fills=True)
            values = integers * step.reshape(-1, *[1] * (weight.ndim - 1))
            found[node.name] = numpy_helper.from_array(values.astype(np.float32), node.input[1])
    return found


def _with_int8(
    model: onnx.ModelProto, ranges: Mapping[str, Range], rounded: Mapping[str, TensorProto], keep: Sequence[str]
) -> onnx.ModelProto:
    """The graph with QuantizeLinear and DequantizeLinear around every layer but those to keep."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    places = {tensor.name: tensor for tensor in copied.graph.initializer}
    for name, tensor in rounded.items():
        if name not in keep:
            places[tensor.name].CopyFrom(tensor)
    data = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in ranges.items()}
    # What stands before the first layer turns pixels into what the network sees, and stays as it is.
    before = [node.name for node in model.graph.node if node.op_type in ("Cast", "Mul")]
    before += [node.name for node in model.graph.node if node.op_type == "Add" and "shift" in node.input]
    quantizer = QDQQuantizer(
        copied,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, data),
        nodes_to_quantize=[],
        nodes_to_exclude=[*before, *keep],
        op_types_to_quantize=_OPERATIONS,
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )
    quantizer.quantize_model()
    made: onnx.ModelProto = quantizer.model.model
    return made


def _run(model: onnx.ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Logits (N, K)."""
    session = _open(model)
    found = [session.run([LOGITS], {INPUT: batch})[0] for batch in _batches(images)]
    return np.concatenate(found)


def _open(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads_wanted()
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(images), _BATCH):
        yield images[start : start + _BATCH]


def _find_ranges(model: onnx.ModelProto, images: NDArray[np.uint8], progress: Progress) -> dict[str, dict[str, Range]]:
    """Method -> tensor -> the range that its 256 levels are to cover."""
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    known = {value.name for value in seen.graph.output}
    names = [name for node in seen.graph.node for name in node.output]
    seen.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names if name not in known
    )
    session = _open(seen)
    order = [value.name for value in session.get_outputs()]
    low, high = np.full(len(order), np.inf), np.full(len(order), -np.inf)
    counts = np.zeros((len(order), _BINS), dtype=np.int64)

    progress.start("calibrating", 2 * len(images))
    done = 0
    for histograms in (False, True):
        if histograms:
            low, high = np.minimum(low, 0), np.maximum(high, 0)  # zero must have a level of its own
            per_value = _BINS / np.maximum(high - low, 1e-12)
        for batch in _batches(images):
            for row, values in enumerate(session.run(order, {INPUT: batch})):
                if not histograms:
                    low[row], high[row] = min(low[row], values.min()), max(high[row], values.max())
                    continue
                bins = thin_out(values) - np.float32(low[row])
                bins *= np.float32(per_value[row])
                counts[row] += np.bincount(np.minimum(bins.astype(np.int64), _BINS - 1), minlength=_BINS)
            done += len(batch)
            _step(progress, done)
    progress.finish()
    methods: dict[str, Callable[[float, float, NDArray[np.int64]], Range]] = {
        "min-max": lambda low, high, _: (low, high),
        "percentile": percentile_range,
        "least squares": least_squares_range,
        "entropy": entropy_range,
    }
    return {
        method: {name: choose(float(low[row]), float(high[row]), counts[row]) for row, name in enumerate(order)}
        for method, choose in methods.items()
    }


def thin_out(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Some of very many values, (any shape) -> (n,), from every column of a feature map alike.

    The step shares no factor with the width: 7, which divides the width of every map of a 224-pixel image, would take
    the same columns of every row, and of maps 7 wide only the one at the border, beside which there are zeros.
    """
    flat = values.reshape(-1)
    if flat.size <= 4 * _BINS:
        return flat
    return flat[:: next(step for step in _STEPS if values.shape[-1] % step)]


def percentile_range(low: float, high: float, counts: NDArray[np.int64]) -> Range:
    """The narrowest range of whole bins that holds all values but one in ten thousand, half of these on either side.

    Args:
        low: where the first bin begins, at most 0.
        high: where the last bin ends, at least 0.
        counts: (bins,) how many values are in each.
    """
    shares = counts.cumsum() / max(counts.sum(), 1)
    width = (high - low) / len(counts)
    first = int(np.searchsorted(shares, _CUT_OFF / 2, side="right"))
    last = int(np.searchsorted(shares, 1 - _CUT_OFF / 2))
    return min(low + first * width, 0.0), max(low + (min(last, len(counts) - 1) + 1) * width, 0.0)


def least_squares_range(low: float, high: float, counts: NDArray[np.int64]) -> Range:
    """The range whose 256 levels are off by least, squared and summed over all values. Args: see `percentile_range`."""
    centres = low + (high - low) * (np.arange(len(counts)) + 0.5) / len(counts)
    best, smallest = (low, high), np.inf
    for share in _SHARES:
        first, last = low * share, high * share
        step = (last - first) / (_LEVELS - 1)
        if step <= 0:
            continue
        rounded = np.round((np.clip(centres, first, last) - first) / step) * step + first
        found = float((counts * (centres - rounded) ** 2).sum())
        if found < smallest:
            best, smallest = (first, last), found
    return best


def entropy_range(low: float, high: float, counts: NDArray[np.int64]) -> Range:
    """The range whose 256 levels lose the least information of the histogram, after TensorRT's calibration.

    Args: see `percentile_range`.

    Source:
        Migacz, "8-bit Inference with TensorRT", GTC 2017: the range with the smallest Kullback-Leibler divergence
        between the values cut off at its ends and the same values rounded to its levels.
    """
    if high <= low:
        return low, high
    # Half of what a ReLU lets through is exactly zero, which every range keeps exactly; it would drown the rest.
    zero = min(int(-low / (high - low) * len(counts)), len(counts) - 1)
    counts = counts.copy()
    counts[zero] = counts[zero + 1] if zero + 1 < len(counts) else counts[zero - 1]
    total = counts.sum()
    if total == 0:
        return low, high
    edges = low + (high - low) * np.arange(len(counts) + 1) / len(counts)
    best, smallest = (low, high), np.inf
    for share in _SHARES:
        first = int(np.searchsorted(edges, low * share, side="right")) - 1
        last = max(int(np.searchsorted(edges, high * share)), first + 1)
        inside = counts[first:last].astype(np.float64)
        cut = inside.copy()
        cut[0] += counts[:first].sum()
        cut[-1] += counts[last:].sum()
        level = np.arange(len(inside)) * _LEVELS // max(len(inside), _LEVELS)
        filled = inside > 0
        sums = np.bincount(level, weights=inside, minlength=_LEVELS)
        sizes = np.bincount(level, weights=filled, minlength=_LEVELS)
        rounded = np.where(filled, (sums / np.maximum(sizes, 1))[level], 0.0)
        p, q = cut / total, rounded / max(rounded.sum(), 1)
        lost = p > 0
        found = float((p[lost] * np.log(p[lost] / np.maximum(q[lost], 1e-9))).sum())
        if found < smallest:
            best, smallest = (float(edges[first]), float(edges[last])), found
    return min(best[0], 0.0), max(best[1], 0.0)

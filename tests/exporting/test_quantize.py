from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from eyebright.errors import DataError
from eyebright.exporting.onnx_graph import build_onnx
from eyebright.exporting.quantize import (
    Quantized,
    Range,
    describe,
    entropy_range,
    least_squares_range,
    percentile_range,
    quantize,
    thin_out,
)
from eyebright.exporting.rounding import quantise
from eyebright.models.catalog import build_model
from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing
from eyebright.progress import SilentProgress

Chooser = Callable[[float, float, NDArray[np.int64]], Range]
CHOICES: tuple[Chooser, ...] = (percentile_range, least_squares_range, entropy_range)


@pytest.fixture(scope="module")
def graph() -> onnx.ModelProto:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("resnet18", num_classes=4)
        assert isinstance(model, Network)
        torch.nn.init.normal_(model.head.weight, std=0.3)
    return build_onnx(model, Preprocessing(image_size=32, resize=32), "abcd", weights_sha256="0" * 64)


def pictures(seed: int, count: int = 12) -> NDArray[np.uint8]:
    """Smooth ones, each of its own colour."""
    chance = np.random.default_rng(seed)
    base = chance.integers(0, 200, (count, 3, 1, 1))
    return np.asarray(base + chance.integers(0, 55, (count, 3, 32, 32)), dtype=np.uint8)


@pytest.fixture(scope="module")
def found(graph: onnx.ModelProto) -> Quantized:
    before = graph.SerializeToString()
    made = quantize(graph, pictures(0), progress=SilentProgress())
    assert graph.SerializeToString() == before
    return made


def test_the_int8_graph_answers_nearly_as_the_float_graph_and_is_int8(graph: onnx.ModelProto, found: Quantized) -> None:
    assert [attempt.method for attempt in found.attempts[:4]] == ["min-max", "percentile", "least squares", "entropy"]
    assert found.attempts[4].float_ends
    assert found.chosen in found.attempts
    assert 0 < found.chosen.divergence <= min(a.divergence for a in found.attempts[:4])
    assert found.chosen.method in describe(found)

    from eyebright.exporting.quantize import _run

    fresh = pictures(1)
    wanted, said = _run(graph, fresh), _run(found.model, fresh)
    assert 0 < np.linalg.norm(wanted - said) < 0.1 * np.linalg.norm(wanted)
    arrays = {tensor.name: tensor for tensor in found.model.graph.initializer}
    kinds = {
        node.input[0]: (arrays[node.input[0]].data_type, arrays[node.input[1]].dims)
        for node in found.model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in arrays
    }
    weights = [(kind, list(dims)) for name, (kind, dims) in kinds.items() if "conv" in name and "weight" in name]
    # All but the three shortcuts, whose name is another; and the first, where sums of int8 overflow and it does better.
    assert len(weights) == 17 - found.chosen.float_ends
    assert all(kind == onnx.TensorProto.INT8 and len(dims) == 1 and dims[0] >= 64 for kind, dims in weights)
    levels = {arrays[node.input[2]].data_type for node in found.model.graph.node if node.op_type == "QuantizeLinear"}
    assert levels == {onnx.TensorProto.UINT8}
    assert len(found.model.SerializeToString()) < 0.3 * len(graph.SerializeToString())


def test_the_weights_in_the_graph_are_those_whose_sums_were_kept(graph: onnx.ModelProto, found: Quantized) -> None:
    before, after = (
        {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        for model in (graph, found.model)
    )
    weights = [node.input[1] for node in graph.graph.node if node.op_type in ("Conv", "Gemm")]
    rounded = [name for name in weights if f"{name}_quantized" in after]
    assert len(rounded) >= len(weights) - 2 > 10
    for name in rounded:
        integers, step = quantise(before[name], scale="mse", sums="kernel+channel", fills=True)
        assert np.array_equal(after[f"{name}_quantized"], integers), name
        lives = before[name].reshape(len(step), -1).any(axis=1)  # zeros are zeros at any scale
        np.testing.assert_allclose(after[f"{name}_scale"][lives], step[lives], rtol=1e-6)


def test_of_several_labels_each_is_compared_at_its_threshold(graph: onnx.ModelProto) -> None:
    from eyebright.exporting.answers import divergence, read_answers
    from eyebright.exporting.quantize import _run

    images = pictures(0, 6)
    logits = _run(graph, images)
    # Each threshold lies between images, so that all classes are said of some and not of others.
    thresholds = tuple((1 / (1 + np.exp(-np.median(logits, axis=0)))).tolist())
    found = quantize(graph, images, thresholds=thresholds, progress=SilentProgress())
    said = _run(found.model, images)
    assert found.chosen.divergence == pytest.approx(divergence(logits, said, several_labels=True), rel=1e-6)
    assert found.chosen.divergence != pytest.approx(divergence(logits, said), rel=0.01)
    wanted = read_answers(logits, thresholds)
    assert wanted.any(axis=0).all()
    assert not wanted.all(axis=0).any()
    assert found.chosen.agreement == (wanted == read_answers(said, thresholds)).all(axis=1).mean()


def test_the_same_images_give_the_same_graph(graph: onnx.ModelProto, found: Quantized) -> None:
    again = quantize(graph, pictures(0), progress=SilentProgress())
    assert again.model.SerializeToString() == found.model.SerializeToString()


def test_without_images_there_is_no_int8(graph: onnx.ModelProto) -> None:
    with pytest.raises(DataError, match="validation images"):
        quantize(graph, pictures(0, 0), progress=SilentProgress())


def test_a_stop_is_heard_while_calibrating(graph: onnx.ModelProto) -> None:
    class Stopping(SilentProgress):
        stop_requested = True

    with pytest.raises(KeyboardInterrupt):
        quantize(graph, pictures(0, 2), progress=Stopping())


@pytest.mark.parametrize("choose", CHOICES)
def test_a_range_lies_within_what_was_seen_and_has_a_level_for_zero(choose: Chooser) -> None:
    chance = np.random.default_rng(0)
    for low, high in ((0.0, 4.0), (-3.0, 1.0), (-5.0, 0.0), (0.0, 0.0)):
        counts = chance.integers(0, 100, 2048)
        first, last = choose(low, high, counts)
        assert low - 1e-9 <= first <= 0 <= last <= high + 1e-9
        assert choose(low, high, np.zeros(2048, dtype=np.int64)) is not None


@pytest.mark.parametrize("choose", CHOICES)
def test_a_far_outlier_is_cut_off_and_an_even_spread_is_kept(choose: Chooser) -> None:
    spread = np.full(2048, 50)
    assert choose(0.0, 1.0, spread)[1] > 0.95
    values = np.abs(np.random.default_rng(0).normal(size=200_000))
    counts = np.histogram(np.append(values, 100.0), bins=2048, range=(0, 100))[0]
    counts[:-1] *= 50
    assert choose(0.0, 100.0, counts)[1] < 30


@pytest.mark.parametrize("width", [7, 14, 28, 56, 112, 224, 77, 1001, 17017, 1])
def test_every_column_of_a_feature_map_is_sampled_alike(width: int) -> None:
    rows = -(-40_000 // width) * 19
    columns = np.broadcast_to(np.arange(width, dtype=np.float32), (1, 1, rows, width))
    counts = np.bincount(thin_out(columns).astype(np.int64), minlength=width)
    assert counts.min() > 0
    assert counts.max() - counts.min() <= 1
    assert counts.sum() < columns.size / 6


def test_few_values_are_all_taken() -> None:
    values = np.arange(2 * 7 * 7, dtype=np.float32).reshape(1, 2, 7, 7)
    assert thin_out(values).tolist() == values.reshape(-1).tolist()


def test_no_more_threads_are_taken_than_are_wanted(graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    from eyebright.exporting.quantize import _open

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert _open(graph).get_session_options().intra_op_num_threads == 1

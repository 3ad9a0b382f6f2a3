from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from eyebright.bundle.manifest import WEIGHTS, Manifest
from eyebright.errors import BundleError
from eyebright.inference.onnx_engine import OnnxEngine
from eyebright.inference.torch_engine import TorchEngine
from eyebright.preprocess import Preprocessing


def test_it_answers_as_torch_does_for_any_number_of_images(
    tiny_model: torch.nn.Module, tiny_graph: bytes, tiny_manifest: Manifest
) -> None:
    engine, exact = OnnxEngine(tiny_graph, tiny_manifest), TorchEngine(tiny_model, tiny_manifest.preprocessing)
    for count in (1, 5):
        squares = np.random.default_rng(count).integers(0, 256, (count, 20, 20, 3), dtype=np.uint8)
        pixels = np.moveaxis(tiny_manifest.preprocessing.crop(squares), 3, 1)  # neither contiguous nor whole
        logits, embedding = engine.run_and_embed(pixels)
        wanted, embedded = exact.run_and_embed(pixels)
        np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(embedding, embedded, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(engine.run(pixels), logits)


def test_what_is_damaged_or_no_graph_is_refused_by_name(tiny_graph: bytes, tiny_manifest: Manifest) -> None:
    for broken in (tiny_graph[: len(tiny_graph) // 2], b"", b"not a graph", tiny_graph[::-1]):
        with pytest.raises(BundleError, match=r"bundle/x\.onnx is not a graph|bundle/x\.onnx can't be run"):
            OnnxEngine(broken, tiny_manifest, shown="bundle/x.onnx")


def test_a_foreign_graph_is_refused(tiny_manifest: Manifest) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    graph = helper.make_graph([node], "foreign", [shape[0]], [shape[1]])
    foreign = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(foreign)
    with pytest.raises(BundleError, match="not a graph that Eyebright exported"):
        OnnxEngine(foreign.SerializeToString(), tiny_manifest, shown="x.onnx")


def test_a_graph_of_other_weights_classes_or_size_is_refused(tiny_graph: bytes, tiny_manifest: Manifest) -> None:
    with pytest.raises(BundleError, match="other weights"):
        OnnxEngine(tiny_graph, replace(tiny_manifest, files={WEIGHTS: "0" * 64}), shown="x.onnx")
    for changed in (
        replace(tiny_manifest, class_names=("a", "b")),
        replace(tiny_manifest, preprocessing=Preprocessing(image_size=17, resize=20)),
    ):
        with pytest.raises(BundleError, match="not a graph that Eyebright exported from this classifier"):
            OnnxEngine(tiny_graph, changed, shown="x.onnx")

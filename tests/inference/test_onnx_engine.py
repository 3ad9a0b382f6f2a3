from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from eyebright.bundle.manifest import WEIGHTS, Architecture, Manifest
from eyebright.errors import BundleError
from eyebright.exporting.onnx_graph import build_onnx
from eyebright.inference.onnx_engine import OnnxEngine
from eyebright.inference.torch_engine import TorchEngine
from eyebright.models.catalog import build_model
from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing

PREPROCESSING = Preprocessing(image_size=16, resize=20)
MANIFEST = Manifest(
    architecture=Architecture(model="cnn", num_classes=3, in_channels=3, width="small"),
    class_names=("a", "b", "c"),
    preprocessing=PREPROCESSING,
    provenance={},
    files={WEIGHTS: "f" * 64},
)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("cnn", num_classes=3, width="small")
        assert isinstance(model, Network)
        torch.nn.init.normal_(model.head.weight)
    return model


@pytest.fixture(scope="module")
def content(model: torch.nn.Module) -> bytes:
    made: bytes = build_onnx(model, PREPROCESSING, "abc", weights_sha256="f" * 64).SerializeToString()
    return made


def test_it_answers_as_torch_does_for_any_number_of_images(model: torch.nn.Module, content: bytes) -> None:
    engine, exact = OnnxEngine(content, MANIFEST), TorchEngine(model, PREPROCESSING)
    for count in (1, 5):
        squares = np.random.default_rng(count).integers(0, 256, (count, 20, 20, 3), dtype=np.uint8)
        pixels = np.moveaxis(PREPROCESSING.crop(squares), 3, 1)  # neither contiguous nor whole
        logits, embedding = engine.run_and_embed(pixels)
        wanted, embedded = exact.run_and_embed(pixels)
        np.testing.assert_allclose(logits, wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(embedding, embedded, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(engine.run(pixels), logits)


def test_what_is_damaged_or_no_graph_is_refused_by_name(content: bytes) -> None:
    for broken in (content[: len(content) // 2], b"", b"not a graph", content[::-1]):
        with pytest.raises(BundleError, match=r"bundle/x\.onnx is not a graph|bundle/x\.onnx can't be run"):
            OnnxEngine(broken, MANIFEST, shown="bundle/x.onnx")


def test_a_foreign_graph_is_refused() -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy"]
    graph = helper.make_graph([node], "foreign", [shape[0]], [shape[1]])
    foreign = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(foreign)
    with pytest.raises(BundleError, match="not a graph that Eyebright exported"):
        OnnxEngine(foreign.SerializeToString(), MANIFEST, shown="x.onnx")


def test_a_graph_of_other_weights_classes_or_size_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="other weights"):
        OnnxEngine(content, replace(MANIFEST, files={WEIGHTS: "0" * 64}), shown="x.onnx")
    for changed in (
        replace(MANIFEST, class_names=("a", "b")),
        replace(MANIFEST, preprocessing=Preprocessing(image_size=17, resize=20)),
    ):
        with pytest.raises(BundleError, match="not a graph that Eyebright exported from this classifier"):
            OnnxEngine(content, changed, shown="x.onnx")

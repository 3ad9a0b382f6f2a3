"""A tiny network, the file it is exported to, and the manifest of the bundle that both would be in."""

from __future__ import annotations

import pytest
import torch

from eyebright.bundle.manifest import WEIGHTS, Architecture, Manifest
from eyebright.exporting.onnx_graph import build_onnx
from eyebright.models.catalog import build_model
from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing


@pytest.fixture(scope="session")
def tiny_manifest() -> Manifest:
    return Manifest(
        architecture=Architecture(model="cnn", num_classes=3, in_channels=3, width="small"),
        class_names=("a", "b", "c"),
        preprocessing=Preprocessing(image_size=16, resize=20),
        provenance={},
        files={WEIGHTS: "f" * 64},
    )


@pytest.fixture(scope="session")
def tiny_model() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("cnn", num_classes=3, width="small")
        assert isinstance(model, Network)
        torch.nn.init.normal_(model.head.weight)
    return model


@pytest.fixture(scope="session")
def tiny_graph(tiny_model: torch.nn.Module, tiny_manifest: Manifest) -> bytes:
    """The content of the ONNX file."""
    graph = build_onnx(
        tiny_model, tiny_manifest.preprocessing, tiny_manifest.class_names, weights_sha256=tiny_manifest.files[WEIGHTS]
    )
    made: bytes = graph.SerializeToString()
    return made

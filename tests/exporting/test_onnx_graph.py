from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from eyebright.errors import ModelError
from eyebright.exporting.onnx_graph import build_onnx
from eyebright.models.catalog import build_model
from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing

CLASSES = ("ä", 'b"', "c")


def network(name: str, **options: Any) -> nn.Module:
    """Of random weights, BatchNorm's statistics and the head among them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(name, num_classes=len(CLASSES), **options)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.uniform_(module.running_mean, -1, 1)
                nn.init.uniform_(module.running_var, 0.5, 2)
        assert isinstance(model, Network)
        nn.init.normal_(model.head.weight, std=0.1)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "options", "side", "channels"),
    [
        ("cnn", {"width": "small"}, 16, 3),
        ("cnn", {"width": "small", "in_channels": 1}, 37, 1),
        ("vgg11", {"head": "pooled", "embed_stages": 2}, 33, 3),
        ("vgg11_bn", {"head": "pooled"}, 48, 3),
        pytest.param("vgg11", {"head": "classic"}, 47, 3, marks=pytest.mark.slow),  # half a gigabyte
        ("resnet18", {}, 47, 3),
        ("resnet50", {"stride_in": "1x1", "embed_stages": 2}, 32, 3),
    ],
)
def test_a_graph_computes_what_the_network_computes(
    name: str, options: dict[str, Any], side: int, channels: int
) -> None:
    model = network(name, **options)
    mean, std = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if channels == 3 else ((0.3,), (0.2,))
    preprocessing = Preprocessing(image_size=side, resize=side + 2, mean=mean, std=std)
    graph = build_onnx(model, preprocessing, CLASSES, weights_sha256="0" * 64)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for count in (1, 3):
        pixels = np.random.default_rng(count).integers(0, 256, (count, side, side, channels), dtype=np.uint8)
        given = {"images": np.ascontiguousarray(np.moveaxis(pixels, 3, 1))}
        logits, embedding = session.run(["logits", "embedding"], given)
        seen = torch.from_numpy(preprocessing.normalise(pixels))
        with torch.inference_mode():
            wanted: Tensor = model(seen)
            assert isinstance(model, Network)
            embedded = model.embed(seen)
        assert wanted.abs().max() > 0.01
        np.testing.assert_allclose(logits, wanted.numpy(), rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
        np.testing.assert_allclose(embedding, embedded.numpy(), rtol=1e-3, atol=1e-4 * float(embedded.abs().max()))


def test_a_classic_vgg_averages_over_areas_that_overlap() -> None:
    """47 pixels leave 2 x 2 positions, from which the classic head takes 7 x 7; 288 leave 9 x 9."""
    from eyebright.exporting.onnx_graph import _averages

    for size in (1, 2, 6, 9, 14):
        values = torch.rand(1, 1, size, 1)
        wanted = torch.nn.functional.adaptive_avg_pool2d(values, (7, 1))[0, 0].numpy()
        np.testing.assert_allclose(_averages(size, 7) @ values[0, 0].numpy(), wanted, rtol=1e-5)


def test_what_a_graph_holds_is_written_in_it() -> None:
    preprocessing = Preprocessing(image_size=16, resize=20, fit="squash")
    graph = build_onnx(network("cnn", width="small"), preprocessing, CLASSES, weights_sha256="1" * 64)
    metadata = {prop.key: prop.value for prop in graph.metadata_props}
    assert tuple(json.loads(metadata["class_names"])) == CLASSES
    assert Preprocessing.from_dict(json.loads(metadata["preprocessing"])) == preprocessing
    assert metadata["weights_sha256"] == "1" * 64
    assert "thresholds" not in metadata


def test_an_unknown_operation_is_refused_by_name() -> None:
    class Wavy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)

        def embed(self, x: Tensor) -> Tensor:
            return torch.sin(x).mean(dim=(2, 3))

    with pytest.raises(ModelError, match=r"aten\.sin\.default, which can't be written"):
        build_onnx(Wavy(), Preprocessing(image_size=8, resize=8), ("a", "b"), weights_sha256="")

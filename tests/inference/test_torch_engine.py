from __future__ import annotations

import numpy as np
import pytest
import torch

from eyebright.inference.torch_engine import TorchEngine
from eyebright.models.catalog import build_model
from eyebright.models.protocol import Network


@pytest.mark.parametrize("name", ["cnn", "resnet18", "vgg11_bn"])
def test_it_computes_what_the_network_computes(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(name, num_classes=3, head="pooled" if name.startswith("vgg") else None)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.running_mean, -1, 1)  # type: ignore[arg-type]
                torch.nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
                torch.nn.init.uniform_(module.weight, 0.5, 2)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    images = np.random.default_rng(0).normal(size=(4, 3, 33, 33)).astype(np.float32)
    found = TorchEngine(model).run(images)
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)
    assert found.dtype == np.float32
    logits, embeddings = TorchEngine(model).run_with_embeddings(images)
    assert np.array_equal(logits, found)
    assert isinstance(model, Network)
    with torch.inference_mode():
        seen = model.embed(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(embeddings, seen, rtol=1e-3, atol=1e-4)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())

from __future__ import annotations

import pytest
import torch
from torch import nn

from eyebright.models.catalog import build_model
from eyebright.models.layers import fold_batch_norm, lay_channels_last


@pytest.mark.parametrize("name", ["vgg11_bn", "resnet18", "resnet50"])
def test_folding_keeps_the_function_and_the_original(name: str) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(name, num_classes=3, head="pooled" if name.startswith("vgg") else None)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.running_mean, -1, 1)  # type: ignore[arg-type]
                nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
                nn.init.uniform_(module.weight, 0.5, 1)
                nn.init.uniform_(module.bias, -1, 1)
        images = torch.randn(2, 3, 40, 40)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    folded = fold_batch_norm(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert not folded.training
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    with torch.inference_mode():
        expected = model.eval()(images)
        found = folded(images)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_kernels_laid_channels_last_hold_the_same_numbers() -> None:
    model = build_model("cnn", num_classes=3, width="small")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert lay_channels_last(model) is model
    kernel = model.get_parameter("features.3.weight")
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    assert not kernel.is_contiguous()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())

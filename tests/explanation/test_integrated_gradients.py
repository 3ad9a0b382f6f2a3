from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from eyebright.explanation.integrated_gradients import integrated_gradients
from eyebright.models.catalog import build_model


def test_of_a_linear_network_it_is_weight_times_pixel(image: Tensor) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 144, 2)).requires_grad_(False)
    weights = model.get_parameter("1.weight")[1].reshape(3, 12, 12)
    assert torch.allclose(integrated_gradients(model, image, 1), (weights * image[0]).sum(dim=0), atol=1e-5)


def test_the_shares_add_up_to_the_difference_of_the_logits(image: Tensor) -> None:
    torch.manual_seed(0)
    model = build_model("cnn", num_classes=3).eval().requires_grad_(False)
    nn.init.normal_(model.get_parameter("fc.weight"))
    rise = model(image)[0] - model(torch.zeros_like(image))[0]
    for label, against in ((2, None), (0, 1)):
        expected = float(rise[label] - (0 if against is None else rise[against]))
        shares = integrated_gradients(model, image, label, against, steps=400)
        assert shares.shape == (12, 12)
        assert float(shares.sum()) == pytest.approx(expected, abs=0.01 * float(rise.abs().max()))

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from eyebright.explanation.grad_cam import differentiate, enlarge, grad_cam, grad_cam_plus_plus, hires_cam, layer_cam


def test_under_an_average_and_a_linear_head_grad_cam_is_cam(averaging: nn.Module, image: Tensor) -> None:
    """Zhou et al., 2016: the head's weights times the maps; Grad-CAM divides it by the number of positions."""
    activations, gradients = differentiate(averaging, image, "maps", 1)
    maps = averaging.get_submodule("maps")(image)[0]
    weights = averaging.get_parameter("head.weight")[1]
    assert torch.equal(activations, maps)
    assert torch.allclose(grad_cam(activations, gradients), torch.einsum("c,chw->hw", weights, maps) / 144)
    assert torch.allclose(hires_cam(activations, gradients), grad_cam(activations, gradients))


def test_a_contrast_is_the_difference_of_two_maps(averaging: nn.Module, image: Tensor) -> None:
    one, other, both = (grad_cam(*differentiate(averaging, image, "maps", *args)) for args in ((0,), (1,), (0, 1)))
    assert torch.allclose(both, one - other, atol=1e-7)
    assert float(both.min()) < 0 < float(both.max())


def test_grad_cam_plus_plus_and_layer_cam_by_hand() -> None:
    activations = torch.tensor([[[1.0, 2.0]], [[3.0, 0.0]]])
    gradients = torch.tensor([[[0.5, -1.0]], [[0.25, 0.0]]])
    # Channel 0: sum 3; 0.25 / (0.5 + 0.375) * 0.5 = 1/7. Channel 1: sum 3; 0.0625 / (0.125 + 0.046875) * 0.25 = 1/11.
    weights = [1 / 7, 1 / 11]
    expected = torch.tensor([[weights[0] * 1 + weights[1] * 3, weights[0] * 2]])
    assert torch.allclose(grad_cam_plus_plus(activations, gradients), expected)
    assert torch.allclose(layer_cam(activations, gradients), torch.tensor([[0.5 + 0.75, 0.0]]))
    assert torch.allclose(hires_cam(activations, gradients), torch.tensor([[0.5 + 0.75, -2.0]]))
    nothing = torch.zeros(2, 1, 2)
    assert torch.equal(grad_cam_plus_plus(activations, nothing), torch.zeros(1, 2))


def test_asking_leaves_the_network_as_it_was(averaging: nn.Module, image: Tensor) -> None:
    before = averaging(image)
    for layer in ("maps", "maps.0", "maps.1"):  # a ReLU that works in place follows maps.0
        differentiate(averaging, image, layer, 0)
    assert torch.equal(averaging(image), before)
    assert not any(module._forward_hooks for module in averaging.modules())


def test_enlarging_keeps_corners_apart_and_a_flat_map_flat() -> None:
    large = enlarge(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), 8)
    assert large.shape == (8, 8)
    assert np.allclose(large[:, :2], 0)
    assert np.allclose(large[:, -2:], 1)
    assert np.allclose(enlarge(torch.full((3, 3), 2.0), 7), 2)

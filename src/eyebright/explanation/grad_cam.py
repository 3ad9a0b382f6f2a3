"""Grad-CAM and two of its relatives: a layer's channels, weighted by what they do for a class.

Shapes: C channels of the layer, h x w its positions, S side that the network sees, K classes.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.explanation.layer import replaced_result


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Each channel weighted by its mean gradient: (C, h, w) twice -> (h, w), above and below zero.

    Source:
        Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", 2017,
        arXiv:1610.02391, eq. 1 and 2, without the final ReLU: what speaks against the class is kept, below zero.
    """
    return (gradients.mean(dim=(1, 2), keepdim=True) * activations).sum(dim=0)


def grad_cam_plus_plus(activations: Tensor, gradients: Tensor) -> Tensor:
    """Each channel weighted by its positive gradients, more evenly over several objects: (C, h, w) twice -> (h, w).

    Source:
        Chattopadhyay et al., "Grad-CAM++: Improved Visual Explanations for Deep Convolutional Networks", 2018,
        arXiv:1710.11063, eq. 10 and 19, where the class's score is the exponential of its logit.
    """
    squared = gradients.square()
    total = activations.sum(dim=(1, 2), keepdim=True)
    below = 2 * squared + total * squared * gradients
    shares = torch.where(below != 0, squared / torch.where(below != 0, below, 1), 0)
    weights = (shares * gradients.relu()).sum(dim=(1, 2), keepdim=True)
    return (weights * activations).sum(dim=0).relu()


def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Each position of each channel weighted by its own positive gradient, so that finer layers can be drawn, too.

    (C, h, w) twice -> (h, w).

    Source:
        Jiang et al., "LayerCAM: Exploring Hierarchical Class Activation Maps for Localization", 2021, IEEE
        Transactions on Image Processing 30.
    """
    return (gradients.relu() * activations).sum(dim=0).relu()


def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Each position of each channel weighted by its own gradient, above and below zero: (C, h, w) twice -> (h, w).

    Under a head that averages positions it is Grad-CAM.

    Source:
        Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural
        networks", 2020, arXiv:2011.08891.
    """
    return (gradients * activations).sum(dim=0)


WAYS = {"grad-cam": grad_cam, "grad-cam++": grad_cam_plus_plus, "layer-cam": layer_cam}


def differentiate(
    model: nn.Module, image: Tensor, layer: str, label: int, against: int | None = None
) -> tuple[Tensor, Tensor]:
    """A layer's answer to an image, and the gradient of a class's logit with respect to it.

    Args:
        model: in evaluation mode.
        image: (1, C, S, S), normalised.
        layer: a name of `list_map_layers`.
        label: a class's index in [0, K).
        against: another class, whose logit is taken off.

    Returns:
        Activations and gradients, (C, h, w) each.
    """
    with torch.enable_grad(), replaced_result(model, layer) as kept:
        logits = model(image)[0]
        score = logits[label] if against is None else logits[label] - logits[against]
        (gradients,) = torch.autograd.grad(score, kept[0])
    return kept[0][0].detach(), gradients[0]


def enlarge(values: Tensor, side: int) -> NDArray[np.float32]:
    """(h, w) -> (S, S), bilinear."""
    large = F.interpolate(values[None, None].float(), size=(side, side), mode="bilinear", align_corners=False)
    return large[0, 0].numpy()

"""Integrated gradients: how much each pixel adds to a class's logit on the way from a plain grey image to this one.

Shapes: N images, C channels, S side that the network sees, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STEPS = 32
BATCH = 8


def integrated_gradients(
    model: nn.Module, image: Tensor, label: int, against: int | None = None, *, steps: int = STEPS
) -> Tensor:
    """Each pixel's share of the logit's difference between an image and the mean colour.

    The shares add up to that difference, but for the error of a sum of `steps` terms in place of an integral.

    Args:
        model: in evaluation mode.
        image: (1, C, S, S), normalised; zeros are the mean colour.
        label: a class's index in [0, K).
        against: another class, whose logit is taken off.
        steps: how many images on the way are looked at, each in the middle of its part of the way.

    Returns:
        (S, S), the channels added up; above and below zero.

    Source:
        Sundararajan et al., "Axiomatic Attribution for Deep Networks", 2017, arXiv:1703.01365, eq. 1 and 3.
    """
    total = torch.zeros_like(image)
    shares = (torch.arange(steps) + 0.5) / steps
    for part in torch.split(shares, BATCH):
        on_the_way = (part[:, None, None, None] * image).requires_grad_()
        with torch.enable_grad():
            logits = model(on_the_way)
            scores = logits[:, label] if against is None else logits[:, label] - logits[:, against]
            (gradients,) = torch.autograd.grad(scores.sum(), on_the_way)
        total += gradients.sum(dim=0, keepdim=True)
    return (image * total / steps).sum(dim=1)[0]

"""What can be done to the layers of any network: fold BatchNorm away, lay kernels as a CPU reads them fastest."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Model = TypeVar("Model", bound=nn.Module)


def fold_batch_norm(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose BatchNorm layers are folded into the convolutions before them.

    The same function up to rounding, a quarter faster on a CPU. A BatchNorm is folded if its module is registered right
    after a convolution of as many channels, which is how every network here is written.
    """
    folded = copy.deepcopy(model).eval()
    for parent in list(folded.modules()):
        previous: tuple[str, nn.Module] | None = None
        for name, child in list(parent.named_children()):
            if (
                isinstance(child, nn.BatchNorm2d)
                and previous is not None
                and isinstance(previous[1], nn.Conv2d)
                and previous[1].out_channels == child.num_features
            ):
                setattr(parent, previous[0], fuse_conv_bn_eval(previous[1], child))
                setattr(parent, name, nn.Identity())
            previous = (name, child)
    return folded


def lay_channels_last(model: Model) -> Model:
    """The same network, its kernels (4-dimensional parameters) laid channels last in memory: the same numbers."""
    for parameter in model.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    return model

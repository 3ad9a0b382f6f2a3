"""The optimiser and the learning rate over time."""

from __future__ import annotations

import math

import torch
from torch import nn


def build_optimizer(model: nn.Module, *, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW; weights with one dimension (biases, BatchNorm) are not decayed.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017, arXiv:1711.05101.
    """
    decayed = [p for p in model.parameters() if p.requires_grad and p.dim() > 1]
    others = [p for p in model.parameters() if p.requires_grad and p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def learning_rate(step: int, total: int, *, highest: float, warmup: float) -> float:
    """The rate of one step: a straight rise over the first `warmup` of all steps, then half a cosine towards zero.

    No step has a rate of zero, not even a single one.

    Args:
        step: from 0 to total - 1.
        total: how many steps there are.
        highest: the rate at the end of the rise.
        warmup: a share in [0, 1).
    """
    rise = warmup * total
    if step + 1 <= rise:
        return highest * (step + 1) / rise
    done = max(step - rise, 0.0) / (total - rise)
    return highest * 0.5 * (1 + math.cos(math.pi * done))

"""The optimiser, the learning rate over time and over depth, and the running average of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import final

import torch
from torch import Tensor, nn

OPTIMISERS = ("adamw", "sgd")
MOMENTUM = 0.9


def build_optimizer(
    model: nn.Module, *, kind: str, lr: float, weight_decay: float, scales: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """AdamW, or SGD with Nesterov's momentum; weights with one dimension (biases, BatchNorm) are not decayed.

    Frozen parameters (`requires_grad` false) are left out. Each group has a `scale`, by which the loop multiplies the
    learning rate of the step.

    Args:
        model: whose parameters are trained.
        kind: one of `OPTIMISERS`.
        lr: the rate to begin with; the loop sets it anew at each step.
        weight_decay: of parameters with more than one dimension.
        scales: parameter name -> what its learning rate is multiplied by; 1 where it is not named.

    Sources: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2017, arXiv:1711.05101; Sutskever et al.,
    "On the importance of initialization and momentum in deep learning", 2013.
    """
    grouped: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            scale = 1.0 if scales is None else scales.get(name, 1.0)
            grouped.setdefault((scale, parameter.dim() > 1), []).append(parameter)
    groups = [
        {"params": parameters, "weight_decay": weight_decay if decayed else 0.0, "scale": scale}
        for (scale, decayed), parameters in grouped.items()
    ]
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=MOMENTUM, nesterov=True, fused=True)
    assert kind == "adamw"
    return torch.optim.AdamW(groups, lr=lr, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of a step's rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


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


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All that an optimiser remembers, by "number of the parameter.name"."""
    state = optimizer.state_dict()["state"]
    return {
        f"{number}.{name}": value
        for number, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give an optimiser back what `optimizer_tensors` told of one like it."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        parameter = parameters[int(number)]
        if tensor.shape == parameter.shape:  # laid out in memory as its parameter is, or steps would differ in speed
            tensor = torch.empty_like(parameter, dtype=tensor.dtype).detach().copy_(tensor)
        state.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


@final
class WeightAverage:
    """A running average of a model's weights, which is steadier than the weights of any one step.

    The average after step t is decay * average + (1 - decay) * weights, where decay rises from 0.1 to the one asked
    for, so that the first weights are soon forgotten. Whole numbers are copied.

    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; the exponential form is
    that of Tarvainen and Valpola, "Mean teachers are better role models", 2017, arXiv:1703.01780.

    Args:
        model: whose weights are averaged; the average begins with them.
        decay: in (0, 1): about 1 / (1 - decay) steps are averaged.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    def update(self, model: nn.Module, step: int) -> None:
        """Take in the model's weights after step number `step`, from 1."""
        decay = min(self.decay, step / (step + 9))
        now = model.state_dict()
        fractions = [name for name, tensor in now.items() if tensor.is_floating_point()]
        torch._foreach_lerp_([self.weights[name] for name in fractions], [now[name] for name in fractions], 1 - decay)
        if counters := [name for name, tensor in now.items() if not tensor.is_floating_point()]:
            torch._foreach_copy_([self.weights[name] for name in counters], [now[name] for name in counters])

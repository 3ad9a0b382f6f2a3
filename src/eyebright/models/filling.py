"""Tensors into a network, once all of them are there, none is foreign, shapes are equal and every number is finite.

And networks built to be filled, without the random numbers that others would only replace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from eyebright.errors import WeightsError, printable
from eyebright.models.protocol import Network

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@contextmanager
def unfilled() -> Iterator[None]:
    """Networks built in this block hold whatever was in memory: every tensor must be filled before it is used.

    Drawing the 25 million numbers of a ResNet-50 takes a fifth of a second.
    """
    with _Unfilled():
        yield


@contextmanager
def shapes_only() -> Iterator[None]:
    """Networks built in this block have shapes but no numbers: no memory, and no time for drawing random ones."""
    with torch.device("meta"), _Unfilled():
        yield


class _Unfilled(TorchFunctionMode):
    """Leaves out what fills a tensor with numbers; on the meta device, too, that takes its time: 1.5 s for a VGG-16."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in ("normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_", "fill_", "zero_"):
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def draw_head(head: nn.Linear) -> None:
    """Narrow normal weights from torch's random generator and no bias: all classes begin all but equally likely."""
    nn.init.normal_(head.weight, 0.0, 0.01)
    nn.init.zeros_(head.bias)


def fill(model: nn.Module, stored: Mapping[str, Tensor], *, keep_head: bool, names: tuple[str, str]) -> None:
    """Copy tensors into a network, the head's among them or not.

    Args:
        model: keeps the contract of `models/protocol.py`.
        stored: by torchvision's parameter names.
        keep_head: False draws the head's numbers instead.
        names: of the weights and of the network, for errors.

    Raises:
        WeightsError: absent, foreign, misshapen or not-finite tensors; the first three are named.
    """
    assert isinstance(model, Network)
    head = next(name for name, module in model.named_modules() if module is model.head)
    # A head that will not be used is left aside, unread; for a pooled VGG that is all of a classic one.
    left_out = () if keep_head else (f"{head}.",)
    expected = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(left_out)}
    tensors = {name: tensor for name, tensor in stored.items() if not name.startswith(left_out)}
    _adapt_stem(tensors, expected)
    # BatchNorm's counters are absent in old files, and nothing here needs them.
    counters = [name for name in expected if name.endswith("num_batches_tracked")]
    faults = [f"{name} is absent" for name in expected if name not in tensors and name not in counters]
    faults += [f"{printable(name[:80])} is foreign" for name in tensors if name not in expected]
    for name in [name for name in expected if name in tensors]:
        if tensors[name].shape != expected[name].shape:
            faults.append(f"{name} is {tuple(tensors[name].shape)} there and {tuple(expected[name].shape)} here")
    if not faults:  # only now are the shapes true, and the values safe to look at
        for name in [name for name in expected if name in tensors and name not in counters]:
            if tensors[name].dtype not in FLOATS:
                faults.append(f"{name} holds {tensors[name].dtype}, not floating point numbers")
            elif not _is_finite(tensors[name]):
                faults.append(f"{name} holds values that are no numbers (NaN or infinite)")
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(
            f"{names[0]} does not fit {names[1]}: {'; '.join(faults[:3])}{more}. "
            "Weights must be of the same network, with torchvision's parameter names"
        )
    model.load_state_dict(tensors, strict=False)
    if not keep_head:
        draw_head(model.head)


def _is_finite(tensor: Tensor) -> bool:
    """Whether every value is a number; by the extremes, which NaN takes over, in a tenth of `torch.isfinite`'s time."""
    return tensor.numel() == 0 or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())


def _adapt_stem(tensors: dict[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Another number of channels in the first convolution; an image of equal channels gives the same either way."""
    first = next(iter(expected))
    stored = tensors.get(first)
    wanted = expected[first].shape
    if stored is None or stored.dim() != 4 or stored.shape == wanted:
        return
    if stored.shape[0] != wanted[0] or stored.shape[2:] != wanted[2:]:
        return
    tensors[first] = stored.float().sum(dim=1, keepdim=True).expand(wanted) / wanted[1]

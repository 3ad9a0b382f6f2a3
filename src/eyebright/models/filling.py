"""Tensors into a network, once all of them are there, none is foreign, shapes are equal and every number is finite."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from eyebright.errors import WeightsError, printable
from eyebright.models.protocol import Network

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def fill(model: nn.Module, stored: Mapping[str, Tensor], *, keep_head: bool, names: tuple[str, str]) -> None:
    """Copy tensors into a network, the head's among them or not.

    Args:
        model: keeps the contract of `models/protocol.py`.
        stored: by torchvision's parameter names.
        keep_head: False leaves the head as it is.
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


def _is_finite(tensor: Tensor) -> bool:
    """Whether every value is a number; by the extremes, which NaN takes over, in a tenth of `torch.isfinite`'s time."""
    return tensor.numel() == 0 or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())


def _adapt_stem(tensors: dict[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Colour to grey or grey to colour in the first convolution, so that a grey image gives the same either way."""
    first = next(iter(expected))
    stored = tensors.get(first)
    wanted = expected[first].shape
    if stored is None or stored.dim() != 4 or stored.shape == wanted:
        return
    if stored.shape[0] != wanted[0] or stored.shape[2:] != wanted[2:]:
        return
    if (stored.shape[1], wanted[1]) == (3, 1):
        tensors[first] = stored.float().sum(dim=1, keepdim=True)
    elif (stored.shape[1], wanted[1]) == (1, 3):
        tensors[first] = stored.float().expand(-1, 3, -1, -1) / 3

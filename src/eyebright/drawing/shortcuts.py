"""The results of the commonest layers on torch's meta device, in closed form.

Torch computes them there in Python, for which it first imports its compiler: 1.5 s, as much as all of torch. Whatever
is not plain (a padding by name, shapes that do not fit) is left to torch, and so is every other function. The tests
hold these results to torch's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def result_on_meta(function: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Tensor, int] | None:
    """The result of a call, of the right shape and without numbers, and its multiply-adds; None: ask torch."""
    if not args or not isinstance(args[0], Tensor) or not args[0].is_meta or args[0].dim() < 2:
        return None
    if function == "relu" and not kwargs.get("inplace", args[1:]):
        return _empty(args[0], args[0].shape), 0
    if function == "batch_norm":
        of_channels = [given for given in (*args[1:], *kwargs.values()) if isinstance(given, Tensor)]
        fits = all(given.shape == args[0].shape[1:2] for given in of_channels)
        return (_empty(args[0], args[0].shape), 0) if fits else None
    if function in ("max_pool2d", "_max_pool2d"):
        return _max_pool(args, kwargs)
    if function == "adaptive_avg_pool2d" and len(args) == 2 and type(args[1]) is int and not kwargs:
        return (_empty(args[0], (*args[0].shape[:-2], args[1], args[1])), 0) if args[0].dim() == 4 else None
    if function == "mean" and args[0].dim() == 4 and len(args) == 1 and kwargs == {"dim": (2, 3)}:
        return _empty(args[0], args[0].shape[:2]), 0
    if kwargs or len(args) < 2 or not isinstance(args[1], Tensor) or not args[1].is_meta:
        return None
    given, weight = args[0], args[1]
    if function in ("add", "__add__") and len(args) == 2 and given.shape == weight.shape:
        return _empty(given, given.shape), 0
    if function == "linear" and weight.dim() == 2 and given.shape[-1:] == weight.shape[1:]:
        result = _empty(given, (*given.shape[:-1], weight.shape[0]))
        return result, result.numel() * weight.shape[1]
    if function == "conv2d" and len(args) == 7 and given.dim() == weight.dim() == 4:
        stride, padding, dilation, groups = args[3:]
        plain = all(isinstance(pair, tuple) and len(pair) == 2 for pair in (stride, padding, dilation))
        if not plain or given.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
            return None
        sides = [
            (given.shape[2 + axis] + 2 * padding[axis] - dilation[axis] * (weight.shape[2 + axis] - 1) - 1)
            // stride[axis]
            + 1
            for axis in range(2)
        ]
        if min(sides) < 1:
            return None
        result = _empty(given, (given.shape[0], weight.shape[0], *sides))
        return result, result.numel() * weight[0].numel()
    return None


def _max_pool(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Tensor, int] | None:
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
    asked: dict[str, Any] = dict(zip(names, args, strict=False)) | dict(kwargs)
    given = asked["input"]
    kernel: Any = asked.get("kernel_size")
    padding: Any = asked.get("padding", 0)
    dilation: Any = asked.get("dilation", 1)
    stride: Any = asked.get("stride") or kernel
    plain = all(type(number) is int and number > 0 for number in (kernel, stride, dilation)) and type(padding) is int
    if not plain or given.dim() != 4 or asked.get("return_indices") or not 0 <= padding <= kernel // 2:
        return None
    sides = []
    for side in given.shape[2:]:
        room = side + 2 * padding - dilation * (kernel - 1) - 1
        steps = -(-room // stride) if asked.get("ceil_mode") else room // stride
        # With ceil_mode a last window may hang over the edge, but must not begin beyond it.
        sides.append(steps + 1 - (steps * stride >= side + padding))
    return None if min(sides) < 1 else (_empty(given, (*given.shape[:2], *sides)), 0)


def _empty(given: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(tuple(shape), dtype=given.dtype, device="meta")

"""What torch's functions are to a reader: their kinds, and the windows that they slide over a map. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eyebright.drawing.graph import Kind

_FUNCTIONS: dict[Kind, tuple[str, ...]] = {
    "convolution": ("conv1d", "conv2d", "conv3d"),
    "transposed convolution": ("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"),
    "fully connected": ("linear",),
    "matrix product": (
        "matmul", "mm", "bmm", "addmm", "einsum", "scaled_dot_product_attention", "multi_head_attention_forward",
    ),
    "activation": (
        "relu", "relu6", "leaky_relu", "prelu", "rrelu", "elu", "selu", "celu", "gelu", "silu", "mish", "sigmoid",
        "logsigmoid", "tanh", "hardtanh", "hardswish", "hardsigmoid", "softplus", "softsign", "glu", "threshold",
        "clamp",
    ),
    "max pooling": ("adaptive_max_pool1d", "adaptive_max_pool2d", "adaptive_max_pool3d", "amax"),
    "average pooling": (
        "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d",
        "lp_pool2d",
    ),
    "normalisation": (
        "batch_norm", "layer_norm", "group_norm", "instance_norm", "local_response_norm", "rms_norm", "normalize",
    ),
    "dropout": ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"),
    "concatenation": ("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack"),
    "flatten": ("flatten",),
    "reshape": (
        "view", "reshape", "permute", "transpose", "contiguous", "squeeze", "unsqueeze", "getitem", "chunk", "split",
        "unbind", "expand", "repeat", "moveaxis", "movedim", "swapaxes", "narrow", "select", "clone", "to", "type",
        "float", "half", "detach", "roll", "flip", "unflatten", "t", "pixel_shuffle", "pixel_unshuffle",
    ),
    "padding": ("pad",),
    "upsampling": ("interpolate", "upsample", "upsample_nearest", "upsample_bilinear"),
    "softmax": ("softmax", "log_softmax"),
}  # fmt: skip
_KINDS = {function: kind for kind, functions in _FUNCTIONS.items() for function in functions}
_SUMS = ("add", "iadd", "radd", "sum", "sub", "isub", "rsub", "mul", "imul", "rmul", "div", "truediv", "pow", "neg")


def _plain(function: str) -> str:
    """ "relu_" -> "relu", "__iadd__" -> "iadd", "_max_pool2d" -> "max_pool2d"."""
    return function.strip("_")


def kind_of(
    function: str, args: Sequence[Any], kwargs: Mapping[str, Any], *, num_tensors: int, shape: tuple[int, ...]
) -> Kind:
    """What a call of a torch function is.

    Args:
        function: its name, such as "conv2d" or "__add__".
        args: as it was called, a tensor first.
        kwargs: the same by name.
        num_tensors: how many results of earlier operations it takes.
        shape: of its result, with the batch.
    """
    name = _plain(function)
    if name in ("add", "iadd", "radd") and num_tensors > 1:
        return "addition"
    if name == "mean":  # over positions it is a pooling; over anything else arithmetic
        source = getattr(args[0] if args else kwargs.get("input"), "shape", ())
        return "average pooling" if len(source) == 4 and shape[:2] == tuple(source[:2]) else "arithmetic"
    if name in ("view", "reshape") and len(shape) == 2:
        return "flatten"
    if name.startswith("max_pool"):
        return "max pooling"
    return _KINDS.get(name, "arithmetic" if name in _SUMS else "other")


def window_of(
    function: str, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
    """The kernel, stride, dilation and groups of a convolution or pooling; empty and 1 for anything else."""
    name = _plain(function)
    axes = int(name[-2]) if name[-1:] == "d" and name[-2:-1].isdigit() else 0
    if not axes:
        return (), (), (), 1
    if name.startswith("conv"):
        last = (
            ("padding", "output_padding", "groups", "dilation")
            if "transpose" in name
            else ("padding", "dilation", "groups")
        )
        given = _named(("input", "weight", "bias", "stride", *last), args, kwargs)
        kernel = tuple(int(side) for side in given["weight"].shape[2:])
        stride, dilation = _spread(given.get("stride", 1), axes), _spread(given.get("dilation", 1), axes)
        return kernel, stride, dilation, int(given.get("groups", 1))
    if name.startswith(("max_pool", "avg_pool", "lp_pool")):
        names = ("input", *(("norm_type",) if name.startswith("lp") else ()), "kernel_size", "stride", "padding")
        given = _named((*names, "dilation"), args, kwargs) if name.startswith("max") else _named(names, args, kwargs)
        kernel = _spread(given["kernel_size"], axes)
        asked = given.get("stride")  # none, or an empty list from inside torch: as large as the kernel
        return (
            kernel,
            kernel if asked is None or asked == [] else _spread(asked, axes),
            _spread(given.get("dilation", 1), axes),
            1,
        )
    if name.startswith("adaptive"):
        given = _named(("input", "output_size"), args, kwargs)
        before = [int(side) for side in given["input"].shape[-axes:]]
        wanted = _spread(given["output_size"], axes, before)
        stride = tuple(max(1, old // new) for old, new in zip(before, wanted, strict=True))
        return tuple(-(-old // new) for old, new in zip(before, wanted, strict=True)), stride, (1,) * axes, 1
    return (), (), (), 1


def _named(names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return dict(zip(names, args, strict=False)) | dict(kwargs)


def _spread(value: Any, axes: int, missing: Sequence[int] = ()) -> tuple[int, ...]:
    """One number for each axis; None in `value` stands for the one in `missing`."""
    sides = list(value) if isinstance(value, list | tuple) else [value] * axes
    if len(sides) == 1:
        sides *= axes
    return tuple(int(missing[axis] if side is None else side) for axis, side in enumerate(sides))

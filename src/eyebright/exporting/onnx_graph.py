"""A network as an ONNX graph: traced by `torch.export`, each operation written down as ONNX knows it.

Pixels go in, so that nobody who runs the file can normalise them wrongly; logits and the embedding come out. BatchNorm
is folded into the convolutions. Class names and preprocessing stand in the file's metadata.

Every network here is made of a dozen operations, so writing them is a page, and needs neither a second tracer nor its
dependencies. An operation that is not among them is refused by name.
Shapes: N images, C channels, H x W pixels, S side that the network sees, D embedding width, K classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from eyebright.errors import ModelError
from eyebright.inference.onnx_engine import EMBEDDING, INPUT, LOGITS
from eyebright.models.layers import fold_batch_norm
from eyebright.preprocess import Preprocessing

OPSET = 17  # 2022: every runtime of today reads it
IR_VERSION = 8


def build_onnx(
    model: nn.Module,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    *,
    weights_sha256: str,
    thresholds: Sequence[float] | None = None,
) -> onnx.ModelProto:
    """The graph: `images`, uint8 (N, C, S, S) of any N, to `logits` (N, K) and `embedding` (N, D), float32.

    Args:
        model: a network of the catalogue; it is not changed.
        preprocessing: its mean and std go into the graph, the rest of it into the metadata.
        class_names: K names, for the metadata.
        weights_sha256: of the weights' file, for the metadata.
        thresholds: K, for the metadata, where an image may have several classes: it has those whose logit's sigmoid
            reaches the threshold. None where it has exactly one.

    Raises:
        ModelError: the network has an operation that is not known here.
    """
    side, channels = preprocessing.image_size, preprocessing.channels
    folded = _WithEmbedding(fold_batch_norm(model)).eval()
    example = torch.zeros(2, channels, side, side)
    batch = torch.export.Dim("N", min=1, max=1 << 16)
    program = torch.export.export(folded, (example,), dynamic_shapes=({0: batch},), strict=False)
    writer = _Writer(program)
    scale, shift = preprocessing.scale_and_shift
    pixels = writer.add("Cast", [INPUT], to=TensorProto.FLOAT)
    scaled = writer.add("Mul", [pixels, writer.constant("scale", scale.reshape(1, channels, 1, 1))])
    normalised = writer.add("Add", [scaled, writer.constant("shift", shift.reshape(1, channels, 1, 1))])
    logits, embedding = writer.write(normalised)
    writer.add("Identity", [logits], output=LOGITS)
    writer.add("Identity", [embedding], output=EMBEDDING)
    head = folded.network.head
    graph = helper.make_graph(
        writer.nodes,
        "eyebright",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["N", channels, side, side])],
        [
            helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", head.out_features]),
            helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["N", head.in_features]),
        ],
        writer.initializers,
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="eyebright"
    )
    helper.set_model_props(
        made,
        {
            "class_names": json.dumps(list(class_names)),
            "preprocessing": json.dumps(preprocessing.to_dict()),
            "weights_sha256": weights_sha256,
            **({} if thresholds is None else {"thresholds": json.dumps(list(thresholds))}),
        },
    )
    onnx.checker.check_model(made, full_check=True)
    return made


class _WithEmbedding(nn.Module):
    """(N, C, H, W) -> logits (N, K) and embedding (N, D)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.network.embed(x)
        return self.network.head(embedding), embedding


@final
class _Writer:
    """Writes a traced program's operations as ONNX nodes, one after the other."""

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        self._program = program
        self._names: dict[str, str] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []

    def add(self, kind: str, inputs: Sequence[str], *, output: str | None = None, **attributes: Any) -> str:
        """One node of one output; its output's name."""
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"n_{output}", **attributes))
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """An array that belongs to the graph; its name."""
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def write(self, images: str) -> list[str]:
        """All operations, from the name of the normalised images to the names of what comes out."""
        signature = self._program.graph_signature
        tensors = {**self._program.state_dict, **self._program.constants}
        targets = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        for node in self._program.graph.nodes:
            if node.op == "placeholder":
                if node.name in targets:
                    name = targets[node.name].removeprefix("network.")
                    self._names[node.name] = self.constant(name, tensors[targets[node.name]].detach().numpy())
                else:
                    self._names[node.name] = images
            elif node.op == "call_function":
                if node.target not in _OPERATIONS:
                    raise ModelError(f"the network computes {node.target}, which can't be written as ONNX here yet")
                if node.users:
                    self._names[node.name] = _OPERATIONS[node.target](self, node, *node.args, **node.kwargs)
            elif node.op == "output":
                return [self._names[value.name] for value in node.args[0]]
        raise AssertionError("a traced program ends with its output")

    def name(self, node: Any) -> str:
        """What a traced value is called in the graph."""
        return self._names[node.name]


def _pair(value: Any) -> list[int]:
    """`3`, `[3]` or `[3, 3]` -> [3, 3]."""
    values = [value] if isinstance(value, int) else list(value)
    return [int(v) for v in (values * 2 if len(values) == 1 else values)]


def _conv2d(
    writer: _Writer,
    node: Any,
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> str:
    inputs = [writer.name(value) for value in (x, weight, bias) if value is not None]
    return writer.add(
        "Conv",
        inputs,
        kernel_shape=list(weight.meta["val"].shape[2:]),
        strides=_pair(stride),
        pads=_pair(padding) * 2,
        dilations=_pair(dilation),
        group=groups,
    )


def _max_pool2d(
    writer: _Writer,
    node: Any,
    x: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> str:
    return writer.add(
        "MaxPool",
        [writer.name(x)],
        kernel_shape=_pair(kernel),
        strides=_pair(stride or kernel),
        pads=_pair(padding) * 2,
        dilations=_pair(dilation),
        ceil_mode=int(ceil_mode),
    )


def _linear(writer: _Writer, node: Any, x: Any, weight: Any, bias: Any = None) -> str:
    inputs = [writer.name(value) for value in (x, weight, bias) if value is not None]
    return writer.add("Gemm", inputs, transB=1)


def _mean(writer: _Writer, node: Any, x: Any, dim: Any, keepdim: bool = False) -> str:
    rank = x.meta["val"].dim()
    if rank == 4 and sorted(axis % rank for axis in dim) == [2, 3]:
        # The pool rather than the general mean: this is what runtimes are quickest at and know in int8.
        pooled = writer.add("GlobalAveragePool", [writer.name(x)])
        return pooled if keepdim else writer.add("Flatten", [pooled], axis=1)
    return writer.add("ReduceMean", [writer.name(x)], axes=[int(axis) for axis in dim], keepdims=int(keepdim))


def _adaptive_avg_pool2d(writer: _Writer, node: Any, x: Any, size: Any) -> str:
    """Averages over areas that may overlap or repeat; a matrix product on either side says it for every size."""
    height, width = (int(side) for side in x.meta["val"].shape[2:])
    wanted_height, wanted_width = _pair(size)
    name = writer.name(x)
    if (height, width) == (wanted_height, wanted_width):
        return name
    number = len(writer.nodes)
    rows = writer.constant(f"rows_{number}", _averages(height, wanted_height))
    columns = writer.constant(f"columns_{number}", _averages(width, wanted_width).T)
    return writer.add("MatMul", [writer.add("MatMul", [rows, name]), columns])


def _averages(size: int, wanted: int) -> NDArray[np.float32]:
    """(wanted, size): each row averages the positions that torch's adaptive pooling averages for it."""
    matrix = np.zeros((wanted, size), dtype=np.float32)
    for row in range(wanted):
        start, end = row * size // wanted, math.ceil((row + 1) * size / wanted)
        matrix[row, start:end] = 1 / (end - start)
    return matrix


def _flatten(writer: _Writer, node: Any, x: Any, start: int = 0, end: int = -1) -> str:
    if start != 1 or end not in (-1, x.meta["val"].dim() - 1):
        raise ModelError("the network flattens other than image by image, which can't be written as ONNX here yet")
    return writer.add("Flatten", [writer.name(x)], axis=1)


def _binary(kind: str) -> Callable[..., str]:
    def write(writer: _Writer, node: Any, x: Any, y: Any) -> str:
        return writer.add(kind, [writer.name(x), writer.name(y)])

    return write


def _unary(kind: str) -> Callable[..., str]:
    def write(writer: _Writer, node: Any, x: Any) -> str:
        return writer.add(kind, [writer.name(x)])

    return write


def _concatenate(writer: _Writer, node: Any, values: Any, dim: int = 0) -> str:
    return writer.add("Concat", [writer.name(value) for value in values], axis=int(dim))


def _same(writer: _Writer, node: Any, x: Any, *ignored: Any) -> str:
    """Dropout when nothing is learned."""
    return writer.name(x)


_aten = torch.ops.aten
_OPERATIONS: dict[Any, Callable[..., str]] = {
    _aten.conv2d.default: _conv2d,
    _aten.max_pool2d.default: _max_pool2d,
    _aten.linear.default: _linear,
    _aten.mean.dim: _mean,
    _aten.adaptive_avg_pool2d.default: _adaptive_avg_pool2d,
    _aten.flatten.using_ints: _flatten,
    _aten.relu.default: _unary("Relu"),
    _aten.relu_.default: _unary("Relu"),
    _aten.add.Tensor: _binary("Add"),
    _aten.cat.default: _concatenate,
    _aten.dropout.default: _same,
}

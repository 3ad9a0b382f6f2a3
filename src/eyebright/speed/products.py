"""The most that this machine can be expected to do: large matrix products, in each type of number. No torch here.

A product of two matrices of `SIDE` rows and columns does 2 x SIDE^3 operations and needs little memory for them; a
network of convolutions can't do better. No library is the fastest everywhere, so of each type all that are there take
part, and the fastest counts: one alone was 30 % slower than a whole network of another (docs/log.md).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from eyebright.bundle.engines import ONNX_INT8, OPENVINO, OPENVINO_INT8, TORCH_BF16, TORCH_CUDA
from eyebright.inference.onnx_engine import threads_wanted
from eyebright.processor import has_bfloat16
from eyebright.speed.rounds import Way

FLOAT32, BFLOAT16, INT8 = "float32", "bfloat16", "int8"
ELSEWHERE = "float32 on a GPU"  # of which no product is measured here
SIDE = 1536


def find_type(engine: str) -> str:
    """The type of number that an engine computes in on this machine."""
    if engine in (ONNX_INT8, OPENVINO_INT8):
        return INT8
    if engine == TORCH_CUDA:
        return ELSEWHERE
    # OpenVINO takes bfloat16 by itself where the processor has it.
    return BFLOAT16 if engine == TORCH_BF16 or (engine == OPENVINO and has_bfloat16()) else FLOAT32


def build_products(side: int = SIDE) -> dict[str, tuple[str, Way]]:
    """Name -> type of number and product, each by every library here that computes it.

    float32 with NumPy, ONNX Runtime and torch; bfloat16 with torch; int8 with ONNX Runtime. Those of ONNX Runtime need
    `onnx` to write their graphs.
    """
    a, b = np.random.default_rng(0).standard_normal((2, side, side), dtype=np.float32)
    products: dict[str, tuple[str, Way]] = {"float32 by NumPy": (FLOAT32, partial(np.matmul, a, b))}
    try:
        from eyebright.speed.torch_products import build_torch_products

        products |= build_torch_products(side)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
    try:
        products["float32 by ONNX Runtime"] = (FLOAT32, _build_onnx_product("MatMul", a, b))
        products["int8 by ONNX Runtime"] = (INT8, _build_int8_product(side))
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
    return products


def _build_int8_product(side: int) -> Way:
    """uint8 times int8 into int32, as in a quantised layer."""
    chance = np.random.default_rng(0)
    weights: NDArray[np.int8] = chance.integers(-127, 128, (side, side), dtype=np.int8)
    return _build_onnx_product("MatMulInteger", chance.integers(0, 256, (side, side), dtype=np.uint8), weights)


def _build_onnx_product(operation: str, a: NDArray[np.generic], b: NDArray[np.generic]) -> Way:
    """The second matrix is known beforehand, as weights are."""
    from onnx import TensorProto, helper, numpy_helper

    side = len(a)
    out = TensorProto.INT32 if operation == "MatMulInteger" else TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(operation, ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", helper.np_dtype_to_tensor_dtype(a.dtype), [side, side])],
        [helper.make_tensor_value_info("c", out, [side, side])],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads_wanted()
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return partial(session.run, ["c"], {"a": a})

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eyebright.processor import has_exact_int8
from eyebright.speed import products
from eyebright.speed.products import BFLOAT16, FLOAT32, INT8, build_products, find_type


def result(way: Callable[[], object]) -> Any:
    value = way()
    return value[0] if isinstance(value, list) else value


def test_the_products_are_of_the_type_and_size_that_they_are_called_by() -> None:
    found = build_products(64)
    for name, (kind, way) in found.items():
        value = result(way)
        assert name.startswith(f"{kind} by ")
        assert str(value.dtype).removeprefix("torch.") == {INT8: "int32"}.get(kind, kind)  # int8 adds up in int32
        assert np.prod(value.shape) == 64 * 64, "64 products for each, or a peak is not one"
    assert "float32 by NumPy" in found


def test_the_int8_product_is_one() -> None:
    pytest.importorskip("onnx", reason="needs onnx: pip install 'eyebright[export]'")
    value = result(build_products(32)["int8 by ONNX Runtime"][1])
    chance = np.random.default_rng(0)
    weights = chance.integers(-127, 128, (32, 32), dtype=np.int8).astype(np.int64)
    pixels = chance.integers(0, 256, (32, 32), dtype=np.uint8).astype(np.int64)
    # Where the processor adds pairs in 16 bits, sums may be cut: what is timed is the same.
    assert value.shape == (32, 32)
    if has_exact_int8():
        assert np.array_equal(value, pixels @ weights)


def test_products_in_float32_are_the_same_by_two_libraries() -> None:
    pytest.importorskip("onnx", reason="needs onnx: pip install 'eyebright[export]'")
    found = build_products(32)
    np.testing.assert_allclose(
        result(found["float32 by ONNX Runtime"][1]), result(found["float32 by NumPy"][1]), rtol=1e-4, atol=1e-4
    )


def test_a_convolution_of_1_x_1_is_the_product() -> None:
    torch = pytest.importorskip("torch")
    found = build_products(32)
    chance = torch.Generator().manual_seed(0)
    a, b = (torch.randn(32, 32, generator=chance) for _ in range(2))
    value = result(found["float32 by torch's convolution"][1])
    torch.testing.assert_close(value.permute(0, 2, 3, 1).reshape(32, 32), a @ b.T)


def test_without_torch_and_onnx_numpy_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "eyebright.speed.torch_products", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert list(build_products(16)) == ["float32 by NumPy"]


def test_engines_compute_in_their_own_types(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [find_type(name) for name in ("torch", "onnx", "onnx-int8", "openvino-int8", "torch-bf16")] == [
        FLOAT32,
        FLOAT32,
        INT8,
        INT8,
        BFLOAT16,
    ]
    for able, kind in ((True, BFLOAT16), (False, FLOAT32)):
        monkeypatch.setattr(products, "has_bfloat16", lambda able=able: able)
        assert find_type("openvino") == kind

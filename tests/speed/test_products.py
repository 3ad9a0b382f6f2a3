from __future__ import annotations

import sys

import numpy as np
import pytest

from eyebright.processor import has_exact_int8
from eyebright.speed import products
from eyebright.speed.products import BFLOAT16, FLOAT32, INT8, build_products, find_type


def test_the_products_are_computed_in_the_type_that_they_are_called_by() -> None:
    found = build_products(64)
    for name, way in found.items():
        value = way()
        kind = str(value[0].dtype if isinstance(value, list) else getattr(value, "dtype", ""))
        assert kind.removeprefix("torch.") == {INT8: "int32"}.get(name, name)  # int8 adds up in int32
    assert FLOAT32 in found


def test_the_int8_product_is_one() -> None:
    pytest.importorskip("onnx", reason="needs onnx: pip install 'eyebright[export]'")
    way = build_products(32)[INT8]
    value = way()
    assert isinstance(value, list)
    chance = np.random.default_rng(0)
    weights = chance.integers(-127, 128, (32, 32), dtype=np.int8).astype(np.int64)
    pixels = chance.integers(0, 256, (32, 32), dtype=np.uint8).astype(np.int64)
    # Where the processor adds pairs in 16 bits, sums may be cut: what is timed is the same.
    assert value[0].shape == (32, 32)
    if has_exact_int8():
        assert np.array_equal(value[0], pixels @ weights)


def test_without_torch_and_onnx_numpy_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "eyebright.speed.torch_products", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    found = build_products(16)
    assert list(found) == [FLOAT32]
    assert isinstance(found[FLOAT32](), np.ndarray)


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

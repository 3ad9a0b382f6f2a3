from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eyebright.bundle.manifest import WEIGHTS, Manifest
from eyebright.errors import BundleError

pytest.importorskip("openvino", reason="needs openvino: pip install 'eyebright[openvino]'")

from eyebright.inference.openvino_engine import OpenvinoEngine
from eyebright.inference.torch_engine import TorchEngine


def test_it_answers_nearly_as_torch_does_and_keeps_what_it_said(
    tiny_model: torch.nn.Module, tiny_graph: bytes, tiny_manifest: Manifest
) -> None:
    engine, exact = OpenvinoEngine(tiny_graph, tiny_manifest), TorchEngine(tiny_model, tiny_manifest.preprocessing)
    kept = []
    for count in (1, 5):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
        logits, embedding = engine.run_and_embed(pixels)
        wanted, embedded = exact.run_and_embed(pixels)
        kept.append((logits, logits.copy()))
        # Where the processor has bfloat16, three digits are right.
        np.testing.assert_allclose(logits, wanted, atol=0.03 * np.abs(wanted).max())
        np.testing.assert_allclose(embedding, embedded, atol=0.03 * np.abs(embedded).max())
    for logits, copied in kept:
        np.testing.assert_array_equal(logits, copied)


def test_what_is_damaged_or_of_another_network_is_refused(tiny_graph: bytes, tiny_manifest: Manifest) -> None:
    for broken in (tiny_graph[: len(tiny_graph) // 2], b"not a graph"):
        with pytest.raises(BundleError, match=r"x\.onnx (can't be run by OpenVINO|is not a graph)"):
            OpenvinoEngine(broken, tiny_manifest, shown="x.onnx")
    with pytest.raises(BundleError, match="other weights"):
        OpenvinoEngine(tiny_graph, replace(tiny_manifest, files={WEIGHTS: "0" * 64}), shown="x.onnx")
    with pytest.raises(BundleError, match="not a graph that Eyebright exported from this classifier"):
        OpenvinoEngine(tiny_graph, replace(tiny_manifest, class_names=("a", "b")), shown="x.onnx")


def test_it_opens_no_connection_although_its_converter_brings_telemetry(tiny_graph: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(tiny_graph)
    code = (
        "import sys\n"
        "seen = []\n"
        "sys.addaudithook(lambda name, _: seen.append(name) if name.startswith(('socket.', 'subprocess.')) else None)\n"
        "import numpy, openvino\n"
        "core = openvino.Core()\n"
        "core.compile_model(core.read_model(sys.argv[1]), 'CPU').create_infer_request().infer(\n"
        "    {'images': numpy.zeros((1, 3, 16, 16), numpy.uint8)})\n"
        "print(sorted(set(seen)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "x.onnx"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr

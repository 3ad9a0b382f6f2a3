"""A saved network as an engine: traced, written, and quantised if asked.

Shapes: N images, C channels, S side that the network sees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyebright.bundle.engines import BFLOAT16, ONNX, ONNX_INT8, OPENVINO, OPENVINO_INT8, TORCH
from eyebright.bundle.manifest import WEIGHTS
from eyebright.bundle.store import LoadedBundle
from eyebright.embedding.embed import computes_bfloat16
from eyebright.errors import ExportError, MissingExtraError
from eyebright.inference.engine import Engine
from eyebright.inference.onnx_engine import OnnxEngine
from eyebright.inference.torch_engine import TorchEngine
from eyebright.progress import Progress

FORMATS = (ONNX, OPENVINO, TORCH)


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedNetwork:
    """A network as an engine that has not been verified yet."""

    engine: Engine
    content: bytes | None
    """Of the file; None if it runs the bundle's weights."""
    how: str
    """What it is computed in, and what was chosen for int8, in words."""


def export(
    loaded: LoadedBundle, *, to: str, calibration: NDArray[np.uint8] | None, progress: Progress
) -> ExportedNetwork:
    """The network of a bundle, in another form.

    Args:
        loaded: the bundle.
        to: "onnx"; "openvino", which reads ONNX too; or "torch", which is bfloat16 where this machine computes it.
        calibration: (N, C, S, S) pixels of validation images, for int8; None for float.
        progress: told how far it is.

    Raises:
        ExportError: the machine has no bfloat16, or int8 is asked of torch.
        MissingExtraError: onnx, or openvino, is not installed.
        ModelError: the network can't be written as ONNX.
    """
    manifest = loaded.manifest
    if to == TORCH:
        if calibration is not None:
            raise ExportError("int8 is there for onnx and openvino; give --to onnx --int8, or leave --int8 out")
        if not computes_bfloat16("cpu"):
            raise ExportError("this machine does not compute in bfloat16: torch stays as it is, in float32")
        engine = TorchEngine(loaded.model, manifest.preprocessing, bfloat16=True)
        return ExportedNetwork(engine=engine, content=None, how=f"{BFLOAT16}, channels last")
    try:
        from eyebright.exporting.onnx_graph import build_onnx
        from eyebright.exporting.quantize import describe, quantize
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise MissingExtraError("exporting to ONNX", "export") from error
    if to == OPENVINO:
        try:
            from eyebright.inference.openvino_engine import OpenvinoEngine
        except ModuleNotFoundError as error:
            if error.name != "openvino":
                raise
            raise MissingExtraError("exporting to OpenVINO", "openvino") from error
    progress.say("writing the network as ONNX")
    graph = build_onnx(
        loaded.model, manifest.preprocessing, manifest.class_names, weights_sha256=manifest.files[WEIGHTS]
    )
    how = "float32"
    if calibration is not None:
        quantized = quantize(graph, calibration, progress=progress)
        graph, how = quantized.model, describe(quantized)
        for attempt in quantized.attempts:
            progress.say(str(attempt))
    content = graph.SerializeToString()
    if to == OPENVINO:
        name = OPENVINO if calibration is None else OPENVINO_INT8
        opened = OpenvinoEngine(content, manifest, name=name, shown=name)
        # OpenVINO decides by the processor, and `load` must not run in bfloat16 what was compared in float32.
        floats = {"f32": "float32", "bf16": BFLOAT16}.get(opened.precision, opened.precision)
        how = floats if calibration is None else f"{how}, the rest in {floats}"
        return ExportedNetwork(engine=opened, content=content, how=how)
    name = ONNX if calibration is None else ONNX_INT8
    return ExportedNetwork(engine=OnnxEngine(content, manifest, name=name, shown=name), content=content, how=how)

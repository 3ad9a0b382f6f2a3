"""A saved network as an engine: traced, written, and quantised if asked.

Shapes: N images, C channels, S side that the network sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

from eyebright.bundle.engines import BFLOAT16, EXECUTORCH, ONNX, ONNX_INT8, OPENVINO, OPENVINO_INT8, TORCH
from eyebright.bundle.manifest import WEIGHTS
from eyebright.bundle.store import LoadedBundle
from eyebright.embedding.embed import computes_bfloat16
from eyebright.errors import ExportError, MissingExtraError, SettingsError, nearest
from eyebright.inference.engine import Engine
from eyebright.inference.onnx_engine import OnnxEngine
from eyebright.inference.torch_engine import TorchEngine
from eyebright.progress import Progress

FORMATS = (ONNX, OPENVINO, EXECUTORCH, TORCH)


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedNetwork:
    """A network as an engine that has not been verified yet."""

    engine: Engine
    content: bytes | None
    """Of the file; None if it runs the bundle's weights."""
    how: str
    """What it is computed in, and what was chosen for int8, in words."""


def require_export(to: str, *, int8: bool) -> None:
    """Refuse what can't be exported here before anything is read or computed.

    Raises:
        SettingsError: there is no such format.
        ExportError: the machine has no bfloat16, or int8 is asked of torch or ExecuTorch.
        MissingExtraError: onnx, openvino or executorch is not installed.
    """
    if to not in FORMATS:
        raise SettingsError(f'there is no export to "{to}"; {nearest(to, FORMATS)}')
    if int8 and to in (TORCH, EXECUTORCH):
        raise ExportError("int8 is there for onnx and openvino; give --to onnx --int8, or leave --int8 out")
    if to == TORCH:
        if not computes_bfloat16("cpu"):
            raise ExportError("this machine does not compute in bfloat16: torch stays as it is, in float32")
        return
    if to == EXECUTORCH:
        from eyebright.inference.executorch_engine import import_runtime

        import_runtime()
        return
    needed = [("onnx", "exporting to ONNX", "export")]
    if to == OPENVINO:
        needed.append(("openvino", "exporting to OpenVINO", "openvino"))
    for library, what, extra in needed:
        try:
            import_module(library)
        except ModuleNotFoundError as error:
            if error.name != library:
                raise
            raise MissingExtraError(what, extra) from error


def export(
    loaded: LoadedBundle, *, to: str, calibration: NDArray[np.uint8] | None, progress: Progress
) -> ExportedNetwork:
    """The network of a bundle, in another form.

    Args:
        loaded: the bundle.
        to: "onnx"; "openvino", which reads ONNX too; "executorch", for phones; or "torch", which is bfloat16 where this
            machine computes it.
        calibration: (N, C, S, S) pixels of validation images, for int8; None for float.
        progress: told how far it is.

    Raises:
        EyebrightError: see `require_export`.
        ModelError: the network can't be written in that form.
    """
    manifest = loaded.manifest
    require_export(to, int8=calibration is not None)
    if to == TORCH:
        engine = TorchEngine(loaded.model, manifest.preprocessing, bfloat16=True)
        return ExportedNetwork(engine=engine, content=None, how=f"{BFLOAT16}, channels last")
    if to == EXECUTORCH:
        return _export_program(loaded, progress)
    from eyebright.exporting.onnx_graph import build_onnx
    from eyebright.exporting.quantize import describe, quantize

    progress.say("writing the network as ONNX")
    graph = build_onnx(
        loaded.model,
        manifest.preprocessing,
        manifest.class_names,
        weights_sha256=manifest.files[WEIGHTS],
        thresholds=manifest.thresholds,
    )
    how = "float32"
    if calibration is not None:
        quantized = quantize(graph, calibration, thresholds=manifest.thresholds, progress=progress)
        graph, how = quantized.model, describe(quantized)
        for attempt in quantized.attempts:
            progress.say(str(attempt))
    content = graph.SerializeToString()
    if to == OPENVINO:
        from eyebright.inference.openvino_engine import OpenvinoEngine

        name = OPENVINO if calibration is None else OPENVINO_INT8
        opened = OpenvinoEngine(content, manifest, name=name, shown=name)
        # OpenVINO decides by the processor, and `load` must not run in bfloat16 what was compared in float32.
        floats = {"f32": "float32", "bf16": BFLOAT16}.get(opened.precision, opened.precision)
        how = floats if calibration is None else f"{how}, floats in {floats}"
        return ExportedNetwork(engine=opened, content=content, how=how)
    name = ONNX if calibration is None else ONNX_INT8
    return ExportedNetwork(engine=OnnxEngine(content, manifest, name=name, shown=name), content=content, how=how)


def _export_program(loaded: LoadedBundle, progress: Progress) -> ExportedNetwork:
    from eyebright.exporting.executorch_program import build_program
    from eyebright.inference.executorch_engine import ExecutorchEngine

    manifest = loaded.manifest
    progress.say("writing the network as an ExecuTorch program")
    content = build_program(
        loaded.model,
        manifest.preprocessing,
        manifest.class_names,
        weights_sha256=manifest.files[WEIGHTS],
        thresholds=manifest.thresholds,
    )
    engine = ExecutorchEngine(content, manifest, shown=EXECUTORCH)
    return ExportedNetwork(engine=engine, content=content, how="float32, by XNNPACK")

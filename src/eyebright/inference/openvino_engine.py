"""Running an exported network with OpenVINO, which reads the same ONNX file. No torch here.

On processors that compute in bfloat16 it does so by itself: its answers are then not those of float32 to the last
digit, so it is an engine of its own, verified on its own.
Shapes: N images, C channels, S side that the network sees, D embedding width, K classes.
"""

from __future__ import annotations

import io
from typing import final

import numpy as np
import openvino
from numpy.typing import NDArray

from eyebright.bundle.engines import OPENVINO
from eyebright.bundle.manifest import WEIGHTS, Manifest
from eyebright.errors import BundleError
from eyebright.inference.onnx_engine import EMBEDDING, INPUT, LOGITS, threads_wanted


@final
class OpenvinoEngine:
    """A graph that `eyebright export` wrote, on the processor.

    Args:
        content: of the ONNX file.
        manifest: of the bundle that it belongs to.
        name: what `--engine` calls it.
        shown: the file, for messages.
        precision: what float layers are computed in, "f32" or "bf16"; None leaves it to OpenVINO and the processor.

    Raises:
        BundleError: the file is no such graph, or was exported from another network.
    """

    def __init__(
        self, content: bytes, manifest: Manifest, *, name: str = OPENVINO, shown: str = "", precision: str | None = None
    ) -> None:
        self.name = name
        core = openvino.Core()
        options: dict[str, str | int] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads_wanted()}
        if precision is not None:
            options["INFERENCE_PRECISION_HINT"] = precision
        try:
            graph = core.read_model(io.BytesIO(content))
            _check(graph, manifest, shown)
            compiled = core.compile_model(graph, "CPU", options)
            self.precision = str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
            """What float layers are computed in, as OpenVINO says: "f32" or "bf16"."""
            self._request = compiled.create_infer_request()
        except RuntimeError as error:
            raise BundleError(f"{shown} can't be run by OpenVINO ({_short(error)}); export again") from None

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels (N, C, S, S) -> logits (N, K)."""
        return self.run_and_embed(images)[0]

    def run_and_embed(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels (N, C, S, S) -> logits (N, K) and embeddings (N, D)."""
        found = self._request.infer({INPUT: np.ascontiguousarray(images)}, share_inputs=True)
        return np.array(found[LOGITS], dtype=np.float32), np.array(found[EMBEDDING], dtype=np.float32)


def _check(graph: openvino.Model, manifest: Manifest, shown: str) -> None:
    """That the graph is of this network: what goes in and comes out, and the weights it was exported from."""
    side, channels = manifest.preprocessing.image_size, manifest.preprocessing.channels
    inputs = [(value.any_name, str(value.partial_shape)) for value in graph.inputs]
    outputs = {value.any_name: value.partial_shape for value in graph.outputs}
    fits = (
        inputs == [(INPUT, f"[?,{channels},{side},{side}]")]
        and {LOGITS, EMBEDDING} <= set(outputs)
        and str(outputs[LOGITS][1]) == str(len(manifest.class_names))
    )
    if not fits:
        raise BundleError(f"{shown} is not a graph that Eyebright exported from this classifier; export again")
    if graph.has_rt_info(["framework", "weights_sha256"]):
        found = str(graph.get_rt_info(["framework", "weights_sha256"]).astype(str))
        if found != manifest.files.get(WEIGHTS):
            raise BundleError(f"{shown} was exported from other weights than the bundle's; export again")


def _short(error: Exception) -> str:
    """The last line of what OpenVINO says, which is the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:120].rstrip(".") if lines else type(error).__name__

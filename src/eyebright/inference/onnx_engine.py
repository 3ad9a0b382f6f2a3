"""Running an exported network with ONNX Runtime. No torch here.

Shapes: N images, C channels, S side that the network sees, D embedding width, K classes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from eyebright.bundle.engines import ONNX
from eyebright.bundle.manifest import WEIGHTS, Manifest
from eyebright.errors import BundleError

INPUT, LOGITS, EMBEDDING = "images", "logits", "embedding"


@final
class OnnxEngine:
    """A graph that `eyebright export` wrote: normalisation is inside it.

    An image's logits may differ by rounding with the number of images that run beside it.

    Args:
        source: the file, or its content. A file is read by ONNX Runtime itself, which spares a copy of it; the caller
            verifies it.
        manifest: of the bundle that it belongs to.
        name: what `--engine` calls it.
        shown: the file, for messages.

    Raises:
        BundleError: the file is no such graph, or was exported from another network.
    """

    def __init__(self, source: bytes | Path, manifest: Manifest, *, name: str = ONNX, shown: str = "") -> None:
        self.name = name
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads_wanted()
        # A thread that waits in a loop for the others holds up those that decode the next images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(_readable(source), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own errors share no class but this one
            raise BundleError(f"{shown} can't be run by ONNX Runtime ({_short(error)}); export again") from None
        _check(self._session, manifest, shown)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels (N, C, S, S) -> logits (N, K)."""
        logits: NDArray[np.float32] = self._session.run([LOGITS], {INPUT: np.ascontiguousarray(images)})[0]
        return logits

    def run_and_embed(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels (N, C, S, S) -> logits (N, K) and embeddings (N, D)."""
        logits, embedding = self._session.run([LOGITS, EMBEDDING], {INPUT: np.ascontiguousarray(images)})
        return logits, embedding


def _readable(source: bytes | Path) -> bytes | str:
    """What ONNX Runtime takes: a name only if it is Unicode, which a file's name on Linux need not be."""
    if isinstance(source, bytes):
        return source
    try:
        str(source).encode()
    except UnicodeEncodeError:
        return source.read_bytes()
    return str(source)


def threads_wanted() -> int:
    """As torch is told; 0 lets a library take one for each core."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return int(wanted) if wanted.isdecimal() else 0


def _check(session: onnxruntime.InferenceSession, manifest: Manifest, shown: str) -> None:
    """That the graph is of this network: what goes in and comes out, and the weights it was exported from."""
    inputs, outputs = session.get_inputs(), {value.name: value for value in session.get_outputs()}
    side, channels = manifest.preprocessing.image_size, manifest.preprocessing.channels
    fits = (
        [(value.name, value.type, value.shape[1:]) for value in inputs]
        == [(INPUT, "tensor(uint8)", [channels, side, side])]
        and {LOGITS, EMBEDDING} <= set(outputs)
        and outputs[LOGITS].shape[1:] == [len(manifest.class_names)]
    )
    if not fits:
        raise BundleError(f"{shown} is not a graph that Eyebright exported from this classifier; export again")
    metadata: dict[str, Any] = session.get_modelmeta().custom_metadata_map
    if metadata.get("weights_sha256") != manifest.files.get(WEIGHTS):
        raise BundleError(f"{shown} was exported from other weights than the bundle's; export again")


def _short(error: Exception) -> str:
    """What ONNX Runtime says, without its own numbers before it."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0].rpartition(" : ")[2][:120].rstrip(".")

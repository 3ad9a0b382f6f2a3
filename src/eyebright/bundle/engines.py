"""Which engines a bundle has been exported for, and how each compared with the network itself.

An engine is only listed once its answers on the test images were compared with those of torch in float32. The list
stands in the manifest's provenance, so that it changes together with the files that the manifest guards, or not at all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from eyebright.bundle.manifest import WEIGHTS, Manifest, read_manifest, write_manifest
from eyebright.bundle.sealed import show
from eyebright.errors import BundleError, ExportError, OutputError
from eyebright.locking import locked
from eyebright.writing import whole

ENGINES = "engines"
TORCH, TORCH_BF16, TORCH_CUDA = "torch", "torch-bf16", "torch-cuda"
ONNX, ONNX_INT8 = "onnx", "onnx-int8"
OPENVINO, OPENVINO_INT8 = "openvino", "openvino-int8"
EXECUTORCH = "executorch"
LIBRARIES = {
    TORCH: "torch",
    TORCH_BF16: "torch",
    TORCH_CUDA: "torch",
    ONNX: "onnxruntime",
    ONNX_INT8: "onnxruntime",
    OPENVINO: "openvino",
    OPENVINO_INT8: "openvino",
    EXECUTORCH: "executorch",
}
"""Every engine, and what must be installed to run it."""
UNEXPORTED = (TORCH, TORCH_CUDA)
"""The network itself in float32, on the CPU and on a GPU: nothing has to be exported or compared for them."""
BFLOAT16 = "bfloat16"
_LOCK = ".exporting"
_EXPORTED = re.compile(r"network-[0-9a-f]{12}\.(onnx|pte)")


@dataclass(frozen=True, kw_only=True)
class VerifiedEngine:
    """One engine's answers on the test images beside those of torch in float32, measured in turns in one run."""

    engine: str
    """A key of `LIBRARIES`."""
    file: str | None
    """The exported file in the bundle's folder, which engines may share; None if it runs the bundle's weights."""
    weights_sha256: str
    """Of the weights that it was exported from."""
    num_images: int
    """How many test images could be read."""
    num_agree: int
    """How many of them got the same class as by torch; all of the same classes, where an image may have several."""
    num_correct: int
    """How many of them got their label; exactly their labels, where an image may have several."""
    torch_correct: int
    """How many of them got their label by torch."""
    largest_difference: float
    """Of any logit from torch's."""
    largest_logit: float
    """Of torch's, by magnitude, to compare the difference with."""
    lowest_cosine: float | None = None
    """Between any image's embedding and torch's, 1 if they point the same way; None in records from before it was."""
    size_bytes: int
    """Of the exported file, or of the weights."""
    latency_seconds: float
    """For one image, decoded and cropped; the median."""
    images_per_second: float
    """In batches, decoded and cropped; by the median."""
    torch_latency_seconds: float
    """The same for torch in float32."""
    torch_images_per_second: float
    """The same for torch in float32."""
    how: str
    """What it was computed in, and what was chosen for int8: method and layers."""
    machine: str
    created: str
    several_labels: bool = False
    """Whether an image may have several."""

    @property
    def agreement(self) -> float:
        """The share of test images with the same answer as by torch, a fraction in [0, 1]."""
        return self.num_agree / self.num_images

    @property
    def in_bfloat16(self) -> bool:
        """Whether it was computed in bfloat16, so that a machine without would answer otherwise, or slowly."""
        return BFLOAT16 in self.how

    @property
    def speedup(self) -> float:
        """How many times as many images a second as torch in float32."""
        return self.images_per_second / self.torch_images_per_second

    @property
    def drop(self) -> float:
        """How many points of accuracy it loses against torch; below zero if it gains."""
        return 100 * (self.torch_correct - self.num_correct) / self.num_images


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_size(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e300  # NaN is not


def _is_rate(value: object) -> bool:
    return _is_size(value) and value != 0


_FITS: dict[str, Callable[[object], bool]] = {
    "engine": _is_text,
    "file": lambda value: value is None or isinstance(value, str),
    "weights_sha256": _is_text,
    "num_images": lambda value: _is_count(value) and value != 0,
    "num_agree": _is_count,
    "num_correct": _is_count,
    "torch_correct": _is_count,
    "largest_difference": _is_size,
    "largest_logit": _is_size,
    "lowest_cosine": lambda value: value is None or _is_size(value),
    "size_bytes": _is_count,
    "latency_seconds": _is_rate,
    "images_per_second": _is_rate,
    "torch_latency_seconds": _is_rate,
    "torch_images_per_second": _is_rate,
    "how": _is_text,
    "machine": _is_text,
    "created": _is_text,
    "several_labels": lambda value: isinstance(value, bool),
}
"""What each field of a record must be: a manifest may have been written by anyone."""


def read_engines(folder: Path, manifest: Manifest) -> tuple[VerifiedEngine, ...]:
    """The engines that a bundle has been verified with; none before the first export.

    Raises:
        BundleError: what is listed does not belong to this bundle.
    """
    known = {field.name for field in fields(VerifiedEngine)}
    try:
        found = tuple(
            VerifiedEngine(**{key: value for key, value in values.items() if key in known})
            for values in manifest.provenance.get(ENGINES, ())
        )
    except (TypeError, AttributeError) as error:
        raise BundleError(f"{show(folder)} lists engines that can't be read ({error}); export again") from error
    for engine in found:
        wrong = next((name for name, value in asdict(engine).items() if not _FITS[name](value)), None)
        if wrong is not None:
            raise BundleError(f"{show(folder)} lists an engine whose {wrong} is no sound value; export again")
        if engine.weights_sha256 != manifest.files[WEIGHTS]:
            raise BundleError(f"the engine {engine.engine} of {show(folder)} is of other weights; export again")
        if engine.file is not None and engine.file not in manifest.files:
            raise BundleError(f"{show(folder)} does not guard {engine.file}, which it lists; export again")
    return found


def add_engine(folder: Path, verified: VerifiedEngine, content: bytes | None) -> VerifiedEngine:
    """Put an exported file and its record into a bundle; one of the same engine, or a list that is broken, is replaced.

    A crash at any point leaves the bundle as it was or as it is to be: a new file has a name of its own until the
    manifest, replaced in one step, lists it. Exports that end at the same time wait for each other, and both are kept.

    Args:
        folder: the bundle.
        verified: its `file` and `size_bytes` are filled in here.
        content: of the exported file; None for an engine that runs the bundle's weights.

    Returns:
        The record as it was written.

    Raises:
        ExportError: the bundle holds other weights by now than those that were exported.
        BundleError: there is no bundle any more, or it is damaged.
        OutputError: it can't be written.
    """
    try:
        with locked(folder / _LOCK, wait=True):
            return _add(folder, verified, content)
    except OSError as error:
        raise OutputError(
            f"the exported engine can't be written to {show(folder)}: {error.strerror or error}; free some room"
        ) from error


def _add(folder: Path, verified: VerifiedEngine, content: bytes | None) -> VerifiedEngine:
    # Read here and not before: an export takes minutes, in which another may have been added.
    manifest = read_manifest(folder, files=False)
    if manifest.files[WEIGHTS] != verified.weights_sha256:
        raise ExportError(f"{show(folder)} was replaced by another network while it was exported; export again")
    try:
        listed = read_engines(folder, manifest)
    except BundleError:  # "export again" is what that says: this export is the first of a new list
        listed = ()
    kept = [engine for engine in listed if engine.engine != verified.engine]
    old = {name for name in manifest.files if _EXPORTED.fullmatch(name)} - {engine.file for engine in kept}
    files = {name: digest for name, digest in manifest.files.items() if name not in old}
    file = None
    try:
        if content is not None:
            digest = hashlib.sha256(content).hexdigest()
            file = f"network-{digest[:12]}.{'pte' if verified.engine == EXECUTORCH else 'onnx'}"
            files[file] = digest
            with whole(folder / file) as target:  # on the disk before the manifest names it
                target.write(content)
        verified = replace(verified, file=file, size_bytes=(folder / (file or WEIGHTS)).stat().st_size)
        engines = [asdict(engine) for engine in (*kept, verified)]
        write_manifest(folder, replace(manifest, files=files, provenance={**manifest.provenance, ENGINES: engines}))
    except BaseException:
        if file is not None and file not in read_manifest(folder, files=False).files:
            with suppress(OSError):
                (folder / file).unlink(missing_ok=True)
        raise
    for name in old - {file}:
        (folder / name).unlink(missing_ok=True)
    return verified

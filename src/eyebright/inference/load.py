"""Opening a saved classifier with the fastest engine that was verified for it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from eyebright.bundle.calibrated import read_calibration
from eyebright.bundle.engines import (
    EXECUTORCH,
    LIBRARIES,
    ONNX,
    ONNX_INT8,
    OPENVINO,
    OPENVINO_INT8,
    TORCH,
    TORCH_BF16,
    TORCH_CUDA,
    UNEXPORTED,
    VerifiedEngine,
    read_engines,
)
from eyebright.bundle.manifest import WEIGHTS, Manifest, find_bundle, read_manifest
from eyebright.bundle.sealed import hash_file, show, verify_files
from eyebright.calibration.calibration import Promises
from eyebright.errors import BundleError, MissingExtraError, SettingsError, nearest
from eyebright.inference.engine import Engine
from eyebright.inference.predictor import Predictor
from eyebright.processor import has_bfloat16, has_exact_int8

_CUDA = re.compile(r"cuda(?::([0-9]{1,4}))?")


def load(
    path: str | Path,
    *,
    engine: str | None = None,
    device: str | None = None,
    error_rate: float = Promises.error_rate,
    coverage: float = Promises.coverage,
    sets: str = Promises.sets,
) -> Predictor:
    """A predictor from a run's folder or a bundle.

    Without an `engine`, the fastest of those that `eyebright export` has verified for this bundle and that are
    installed here is taken; an exported one, which needs no torch, before torch; without any, torch in float32, on a
    GPU where there is one. int8 is taken only where the processor computes it exactly, and what was verified in
    bfloat16 only where it has that. A program for phones ("executorch") runs only where it is asked for.

    Args:
        path: the folder that training wrote, or the bundle inside it.
        engine: "torch", "torch-bf16", "torch-cuda", "onnx", "onnx-int8", "openvino", "openvino-int8" or "executorch".
        device: where torch in float32 computes, such as "cpu" or "cuda:1"; for a process that will fork, "cpu". With
            one, and without an `engine`, torch is taken.
        error_rate: answers are called unsure until no more than this share of the others is wrong.
        coverage: how often the set of a prediction is to hold the true class.
        sets: how sets are made, "lac" (smallest) or "raps" (larger for harder images).

    Raises:
        BundleError: there is none, it is damaged, altered or from a newer Eyebright, or the engine was not exported.
        MissingExtraError: the engine's library is not installed.
        SettingsError: there is no such engine or way to make sets, no GPU for it, or a share is not between 0 and 1.
    """
    promises = Promises(error_rate=error_rate, coverage=coverage, sets=sets)
    folder = find_bundle(Path(path))
    if engine is not None and engine not in LIBRARIES:
        raise SettingsError(f'there is no engine "{engine}"; {nearest(engine, LIBRARIES)}')
    manifest = read_manifest(folder, files=False)
    if manifest.several_labels and promises != Promises():
        raise SettingsError(
            "an error rate, a coverage and sets are asked of classifiers of one label an image; this one gives several"
        )
    verified = read_engines(folder, manifest)
    if device is not None:
        if engine is not None:
            raise SettingsError("give an engine or a device; a device is for torch in float32")
        chosen = TORCH_CUDA if device.startswith("cuda") else TORCH
    else:
        chosen = choose_engine(verified) if engine is None else engine
        if engine is None and chosen == TORCH and count_gpus():
            chosen = TORCH_CUDA
    record = next((found for found in verified if found.engine == chosen), None)
    if record is None and chosen not in UNEXPORTED:
        kind = f"--to {chosen.removesuffix('-bf16').replace('-int8', ' --int8')}"
        raise BundleError(f"{show(folder)} has no engine {chosen} yet; make it with: eyebright export RUN {kind}")
    calibration = read_calibration(folder, manifest)
    if calibration is not None:
        calibration = calibration.promising(promises)
    if chosen in UNEXPORTED:
        usual = "cuda" if chosen == TORCH_CUDA else "cpu"
        return Predictor(_open_torch(folder, manifest, None, device=device or usual), manifest, calibration)
    return Predictor(_OPENERS[chosen](folder, manifest, record), manifest, calibration)


def choose_engine(verified: tuple[VerifiedEngine, ...]) -> str:
    """The name of the engine that `load` takes where none is asked for."""
    installed = [found for found in verified if found.engine in LIBRARIES and find_spec(LIBRARIES[found.engine])]
    able = [found for found in installed if has_exact_int8() or found.engine not in (ONNX_INT8, OPENVINO_INT8)]
    able = [found for found in able if has_bfloat16() or not (found.in_bfloat16 or found.engine == TORCH_BF16)]
    able = [found for found in able if found.engine != EXECUTORCH]
    exported = [found for found in able if found.file is not None]
    here = exported or [found for found in able if found.speedup > 1]
    # Each against torch in the same minute: what was measured on another day, under another load, is no comparison.
    return max(here, key=lambda found: found.speedup).engine if here else TORCH


def count_gpus() -> int:
    """How many GPUs torch can use here; 0 where it is not installed."""
    try:
        from eyebright.inference import torch_engine
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        return 0
    return torch_engine.count_gpus()


def _open_torch(folder: Path, manifest: Manifest, record: VerifiedEngine | None, *, device: str = "cpu") -> Engine:
    try:
        from eyebright.bundle.store import load_bundle
        from eyebright.inference.torch_engine import TorchEngine
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        # Damaged weights are named as such even where torch is missing.
        verify_files(folder, {WEIGHTS: manifest.files[WEIGHTS]})
        raise MissingExtraError(
            "prediction from a bundle of torch weights (export it where torch is, to do without)", "train"
        ) from error
    number = _CUDA.fullmatch(device)
    if number is None and device != "cpu":
        raise SettingsError(f'a device is "cpu", "cuda", or "cuda:" and a number, not {device!r}')
    if number is not None and int(number[1] or 0) >= count_gpus():
        raise SettingsError(f"there is no {device} here, which {TORCH_CUDA} needs: torch finds {count_gpus()} GPUs")
    bfloat16 = record is not None
    return TorchEngine(load_bundle(folder).model, manifest.preprocessing, device=device, bfloat16=bfloat16)


def _open_onnx(folder: Path, manifest: Manifest, record: VerifiedEngine | None) -> Engine:
    from eyebright.inference.onnx_engine import OnnxEngine

    assert record is not None
    name = record.engine
    return _open_while_hashing(
        folder, manifest, record, lambda path: OnnxEngine(path, manifest, name=name, shown=show(path))
    )


def _open_openvino(folder: Path, manifest: Manifest, record: VerifiedEngine | None) -> Engine:
    try:
        from eyebright.inference.openvino_engine import OpenvinoEngine
    except ModuleNotFoundError as error:
        if error.name != "openvino":
            raise
        raise MissingExtraError("the engine openvino", "openvino") from error
    assert record is not None
    # Never in bfloat16 what was verified in float32, whatever the processor would rather do.
    precision = "bf16" if record.in_bfloat16 and has_bfloat16() else "f32"
    content, shown = _read(folder, manifest, record), show(folder / str(record.file))
    return OpenvinoEngine(*content, name=record.engine, shown=shown, precision=precision)


def _open_executorch(folder: Path, manifest: Manifest, record: VerifiedEngine | None) -> Engine:
    try:
        from eyebright.inference.executorch_engine import ExecutorchEngine
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("the engine executorch", "executorch") from error
    assert record is not None
    return ExecutorchEngine(*_read(folder, manifest, record), name=record.engine, shown=show(folder / str(record.file)))


def _read(folder: Path, manifest: Manifest, record: VerifiedEngine) -> tuple[bytes, Manifest]:
    """The exported file, once it is the one that was verified; and the manifest, beside which it is opened."""
    assert record.file is not None
    path = folder / record.file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    # Hashed as it was read, once: what runs is what was verified.
    if hashlib.sha256(content).hexdigest() != manifest.files[record.file]:
        raise _altered(path)
    return content, manifest


def _open_while_hashing(
    folder: Path, manifest: Manifest, record: VerifiedEngine, opener: Callable[[Path], Engine]
) -> Engine:
    """What the opener makes of the exported file, once a second thread found it to be the one that was verified.

    A damaged file is called damaged, whatever the opener says of it.
    """
    assert record.file is not None
    path = folder / record.file
    opened: Engine | BundleError
    with ThreadPoolExecutor(1, "hash") as beside:
        try:
            before = _stamp(path)
            found = beside.submit(hash_file, path)
            try:
                opened = opener(path)
            except BundleError as error:
                opened = error
            unaltered = found.result() == manifest.files[record.file] and _stamp(path) == before
        except OSError as error:
            raise _unreadable(path, error) from error
    if not unaltered:
        raise _altered(path)
    if isinstance(opened, BundleError):
        raise opened
    return opened


def _stamp(path: Path) -> tuple[int, int, int]:
    """What another file, or another content, would not have by chance."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _unreadable(path: Path, error: OSError) -> BundleError:
    return BundleError(f"{show(path)} can't be read: {error.strerror or error}; export again")


def _altered(path: Path) -> BundleError:
    return BundleError(f"{show(path)} was altered or cut short since it was exported; export again")


_OPENERS: dict[str, Callable[[Path, Manifest, VerifiedEngine | None], Engine]] = {
    TORCH_BF16: _open_torch,
    ONNX: _open_onnx,
    ONNX_INT8: _open_onnx,
    OPENVINO: _open_openvino,
    OPENVINO_INT8: _open_openvino,
    EXECUTORCH: _open_executorch,
}

"""Tensors from a file that may be anything: named float tensors out, or an error that names the file.

`.safetensors` and torch's `.pth` (also `.pt`, `.ckpt`) are read. A `.pth` is a pickle: torch reads it with
`weights_only=True`, which knows tensors and plain containers and refuses to call anything else, so that reading
never runs a file's code.

Starter files hold a weight as int8 beside `NAME.scale`, one float per output channel: value = int8 * scale.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from torch import Tensor

from eyebright.errors import WeightsError, printable

TORCH_SUFFIXES = (".pth", ".pt", ".ckpt")
SUFFIXES = (".safetensors", *TORCH_SUFFIXES)
STARTER_FORMAT = "eyebright-starter"
STARTER_VERSION = "1"
SCALE = ".scale"
# Wrappers put these before every name: DataParallel, and the usual attribute names of Lightning modules.
PREFIXES = ("module.", "model.", "network.", "net.", "backbone.")


@dataclass(frozen=True, kw_only=True)
class StoredTensors:
    """What a weights file holds."""

    tensors: dict[str, Tensor]
    """By name. From a `.pth`, shapes may be a lie until they were compared: look at nothing but `.shape` before."""
    metadata: dict[str, str]
    """What a safetensors file says about itself; empty for a `.pth`."""


def read_tensors(path: Path) -> StoredTensors:
    """All tensors of a weights file, on the CPU; int8 ones of a starter file as float32.

    Raises:
        WeightsError: no such file, not a weights file, damaged, cut short, or unsafe to read.
    """
    if path.suffix not in SUFFIXES:
        raise WeightsError(
            f"{_show(path)} is no weights file by its name: it should end in {', '.join(SUFFIXES[:-1])} "
            f"or {SUFFIXES[-1]}"
        )
    if not path.is_file():
        raise WeightsError(f"there is no weights file {_show(path)}; look at the spelling of its path")
    if path.stat().st_size == 0:
        raise WeightsError(f"{_show(path)} is empty; fetch or copy it again")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return StoredTensors(tensors=_without_wrapping(path, _read_pickle(path)), metadata={})


def _show(path: Path) -> str:
    return printable(str(path))


def _read_safetensors(path: Path) -> StoredTensors:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict: it can't be iterated)
    except (safetensors.SafetensorError, OSError, ValueError, MemoryError) as error:
        raise WeightsError(
            f"{_show(path)} is no whole safetensors file ({error}); it may have been cut short: fetch or copy it again"
        ) from error
    if metadata.get("format") == STARTER_FORMAT:
        if metadata.get("version") != STARTER_VERSION:
            raise WeightsError(
                f"{_show(path)} holds starter weights of version {printable(str(metadata.get('version')))}, and this "
                f"Eyebright reads version {STARTER_VERSION}; install versions of both that fit together"
            )
        tensors = _dequantise(path, tensors)
    return StoredTensors(tensors=_without_wrapping(path, tensors), metadata=metadata)


def _dequantise(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """int8 (K, ...) times its scale (K,) along the first dimension; all other tensors as float32."""
    floats = {}
    for name, tensor in tensors.items():
        if name.endswith(SCALE) and name.removesuffix(SCALE) in tensors:
            continue
        if tensor.dtype == torch.int8:
            scale = tensors.get(name + SCALE)
            if scale is None or tensor.dim() == 0 or scale.shape != tensor.shape[:1]:
                raise WeightsError(
                    f"{_show(path)} is damaged: {printable(name)} has no scale per output channel; install it again"
                )
            floats[name] = tensor * scale.float().reshape(-1, *[1] * (tensor.dim() - 1))
        else:
            floats[name] = tensor.float() if tensor.is_floating_point() else tensor
    return floats


def _read_pickle(path: Path) -> Any:
    """What a `.pth` holds; torch refuses everything but tensors and plain containers."""
    _refuse_compressed(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a hostile or broken pickle may raise anything at all
        reason = str(error).strip().split("\n", 1)[0][:200]
        raise WeightsError(
            f"{_show(path)} can't be read as weights ({printable(reason) or type(error).__name__}). Either it is "
            "damaged or cut short, or it holds more than tensors, which is refused since it could run code; save the "
            "plain state dict, best as .safetensors"
        ) from error


def _refuse_compressed(path: Path) -> None:
    """torch stores tensors as they are; a compressed archive is not torch's and may unpack to anything."""
    try:
        if not zipfile.is_zipfile(path):  # raises for some damaged archives
            return
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise WeightsError(f"{_show(path)} is damaged or cut short ({error}); fetch or copy it again") from error
    if unpacked > path.stat().st_size:
        raise WeightsError(f"{_show(path)} would unpack to {unpacked:,} bytes, which no weights file of torch's does")


def _without_wrapping(path: Path, found: Any) -> dict[str, Tensor]:
    """The state dict itself: out of a training checkpoint, and without a prefix that all its names share."""
    for key in ("state_dict", "model_state_dict"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found:
        raise WeightsError(f"{_show(path)} holds no named tensors but a {type(found).__name__}; save a state dict")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f"{_show(path)} holds something that is no tensor under the name {printable(str(name)[:80])!r}: "
                f"a {type(value).__name__}; save a plain state dict"
            )
        if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
            raise WeightsError(
                f"{_show(path)} holds {printable(name[:80])} in a form that is not plain numbers; "
                "save a plain state dict"
            )
    tensors: dict[str, Tensor] = dict(found)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors

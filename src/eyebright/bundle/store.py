"""Saving a network as a bundle, and building it again from one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from eyebright.bundle.calibrated import CALIBRATION, write_calibration
from eyebright.bundle.manifest import (
    WEIGHTS,
    Architecture,
    Manifest,
    find_bundle,
    read_manifest,
    write_manifest,
)
from eyebright.bundle.sealed import hash_file, new_folder, verify_files
from eyebright.calibration.calibration import Calibration
from eyebright.errors import BundleError, ModelError, OutputError, printable
from eyebright.memory import is_out_of_memory
from eyebright.models.catalog import build_model
from eyebright.models.filling import unfilled
from eyebright.preprocess import Preprocessing


@dataclass(frozen=True, kw_only=True)
class LoadedBundle:
    """A network from a bundle, with what belongs to it."""

    model: nn.Module
    """In evaluation mode, on the CPU."""
    manifest: Manifest


def describe_architecture(model: nn.Module, name: str) -> Architecture:
    """What a bundle must record of a network that `build_model(name, ...)` made."""
    return Architecture(
        model=name,
        num_classes=_attribute(model, "num_classes", int),
        in_channels=_attribute(model, "in_channels", int),
        stride_in=_attribute(model, "stride_in", str),
        head=_attribute(model, "head_kind", str),
        width=_attribute(model, "width", str),
        embed_stages=_attribute(model, "embed_stages", int),
    )


def _attribute(model: nn.Module, name: str, kind: type) -> Any:
    value = getattr(model, name, None)
    assert value is None or isinstance(value, kind)
    return value


def remove_half_saved(folder: Path) -> None:
    """Remove what processes that were killed while they saved have left beside a bundle. No other may be saving it."""
    for rest in folder.parent.glob(f"{_prefix(folder)}*"):
        shutil.rmtree(rest, ignore_errors=True)


def _prefix(folder: Path) -> str:
    return f".{folder.name}-"


def save_bundle(
    folder: Path,
    model: nn.Module,
    architecture: Architecture,
    *,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    provenance: Mapping[str, Any],
    thresholds: tuple[float, ...] | None = None,
    calibration: Calibration | None = None,
) -> None:
    """Write a network and its manifest into `folder`: complete, or not at all.

    It is written beside its place and moved there in one step; a bundle that stood there before is replaced only then.

    Args:
        folder, model, architecture: what goes where.
        class_names, preprocessing, provenance, thresholds: see `Manifest`.

    Raises:
        OutputError: the disk is full or the folder can't be written; what was there before stays.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"the network's {name} holds values that are no numbers; it is not saved")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder, prefix=_prefix(folder)) as scratch:
            safetensors.torch.save_file(tensors, scratch / WEIGHTS, metadata={"format": "pt"})
            names = [WEIGHTS]
            if calibration is not None:
                write_calibration(scratch, calibration)
                names.append(CALIBRATION)
            write_manifest(
                scratch,
                Manifest(
                    architecture=architecture,
                    class_names=tuple(class_names),
                    preprocessing=preprocessing,
                    provenance=provenance,
                    files={name: hash_file(scratch / name) for name in names},
                    thresholds=thresholds,
                    calibration=None if calibration is None else calibration.describe(),
                ),
            )
    except (OSError, safetensors.SafetensorError) as error:
        raise OutputError(_cannot_write(folder, error)) from error


def _cannot_write(folder: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"the classifier can't be written to {printable(str(folder))}: {reason}; free some room or change --out"


def load_bundle(path: Path) -> LoadedBundle:
    """The network of a bundle, or of the one inside a run's folder; its weights are verified first.

    Other files are for whoever reads them: a broken export must not take the network down, nor keep itself from being
    made again.

    Raises:
        BundleError: absent, damaged, altered, cut short, or written by a newer Eyebright.
    """
    folder = find_bundle(path)
    manifest = read_manifest(folder, files=False)
    verify_files(folder, {WEIGHTS: manifest.files[WEIGHTS]})
    architecture = manifest.architecture
    shown = printable(str(folder))
    try:
        with unfilled():
            model = build_model(
                architecture.model,
                num_classes=architecture.num_classes,
                in_channels=architecture.in_channels,
                **architecture.options(),
            )
    except (ModelError, TypeError) as error:
        raise BundleError(f"{shown} holds a network that this Eyebright can't build: {error}") from error
    try:
        tensors = safetensors.torch.load_file(folder / WEIGHTS)
        model.load_state_dict(tensors)
    except (safetensors.SafetensorError, RuntimeError, OSError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise BundleError(f"{shown}/{WEIGHTS} does not fit its manifest: {error}") from error
    return LoadedBundle(model=model.eval(), manifest=manifest)

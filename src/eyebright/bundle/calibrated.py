"""The calibration of a bundle: one file of numbers beside the weights. No torch here."""

from __future__ import annotations

from pathlib import Path

import safetensors
import safetensors.numpy

from eyebright.bundle.manifest import Manifest
from eyebright.bundle.sealed import show, verify_files
from eyebright.calibration.calibration import Calibration
from eyebright.errors import BundleError, DataError

CALIBRATION = "calibration.safetensors"


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Write the file into a folder that is being made; the manifest's `calibration` takes `Calibration.describe`.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    arrays = {name: array.copy(order="C") for name, array in calibration.to_arrays().items()}
    safetensors.numpy.save_file(arrays, folder / CALIBRATION)


def read_calibration(folder: Path, manifest: Manifest) -> Calibration | None:
    """The calibration of a bundle, once its file is verified; None where it has none, as older bundles.

    Raises:
        BundleError: it is absent, altered, or does not fit the manifest.
    """
    if manifest.calibration is None or CALIBRATION not in manifest.files:
        return None
    verify_files(folder, {CALIBRATION: manifest.files[CALIBRATION]})
    try:
        arrays = safetensors.numpy.load_file(folder / CALIBRATION)
        return Calibration.from_arrays(manifest.calibration["temperature"], arrays)
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError, DataError) as error:
        raise BundleError(f"{show(folder / CALIBRATION)} does not fit its manifest: {error}") from error

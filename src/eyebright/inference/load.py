"""Opening a saved classifier."""

from __future__ import annotations

from pathlib import Path

from eyebright.bundle.calibrated import read_calibration
from eyebright.bundle.manifest import find_bundle, read_manifest
from eyebright.calibration.calibration import Promises
from eyebright.errors import MissingExtraError
from eyebright.inference.predictor import Predictor


def load(
    path: str | Path,
    *,
    error_rate: float = Promises.error_rate,
    coverage: float = Promises.coverage,
    sets: str = Promises.sets,
) -> Predictor:
    """A predictor from a run's folder or a bundle.

    Args:
        path: the folder that training wrote, or the bundle inside it.
        error_rate: answers are called unsure until no more than this share of the others is wrong.
        coverage: how often the set of a prediction is to hold the true class.
        sets: how sets are made, "lac" (smallest) or "raps" (larger for harder images).

    Raises:
        SettingsError: a share is not between 0 and 1, or there is no such way to make sets.
        BundleError: there is none, or it is damaged, altered, or from a newer Eyebright.
        MissingExtraError: torch is not installed.
    """
    promises = Promises(error_rate=error_rate, coverage=coverage, sets=sets)
    folder = find_bundle(Path(path))
    read_manifest(folder)  # a damaged bundle is named as such even where torch is missing
    try:
        from eyebright.bundle.store import load_bundle
        from eyebright.inference.torch_engine import TorchEngine
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("prediction from a bundle of torch weights", "train") from error
    loaded = load_bundle(folder)
    calibration = read_calibration(folder, loaded.manifest)
    if calibration is not None:
        calibration = calibration.promising(promises)
    return Predictor(TorchEngine(loaded.model), loaded.manifest, calibration)

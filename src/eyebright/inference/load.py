"""Opening a saved classifier."""

from __future__ import annotations

from pathlib import Path

from eyebright.bundle.manifest import find_bundle, read_manifest
from eyebright.errors import MissingExtraError
from eyebright.inference.predictor import Predictor


def load(path: str | Path) -> Predictor:
    """A predictor from a run's folder or a bundle.

    Args:
        path: the folder that training wrote, or the bundle inside it.

    Raises:
        BundleError: there is none, or it is damaged, altered, or from a newer Eyebright.
        MissingExtraError: torch is not installed.
    """
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
    return Predictor(TorchEngine(loaded.model), loaded.manifest)

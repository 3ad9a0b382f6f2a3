"""The manifest of a bundle: what a saved classifier is, in one JSON file that a person can read.

A bundle is a folder: `manifest.json` and the files it lists with their sha256. Nothing in it is code and nothing in it
is a pickle. The manifest guards all other files; its own `manifest_sha256` guards the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from eyebright.bundle.sealed import MANIFEST, read_sealed, require_plain_names, show, verify_files, write_sealed
from eyebright.errors import BundleError, DataError, printable
from eyebright.preprocess import Preprocessing

FORMAT_VERSION = 2
"""2 is for networks of several labels an image, which an Eyebright that reads only 1 would take for one of one."""
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Enough to build the network again; options that a network does not have are None."""

    model: str
    num_classes: int
    in_channels: int
    stride_in: str | None = None
    head: str | None = None
    width: str | None = None
    embed_stages: int | None = None

    def options(self) -> dict[str, Any]:
        """Everything but the name and the sizes that every network has, without what is None."""
        sizes = ("model", "num_classes", "in_channels")
        return {key: value for key, value in asdict(self).items() if key not in sizes and value is not None}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What `manifest.json` holds."""

    architecture: Architecture
    class_names: tuple[str, ...]
    """K names, in the order of the network's outputs."""
    preprocessing: Preprocessing
    provenance: Mapping[str, Any]
    """Plain JSON: where the data came from (fingerprint), settings, versions, measured results."""
    files: Mapping[str, str]
    """File name -> sha256, 64 hexadecimal digits, of every other file in the folder."""
    thresholds: tuple[float, ...] | None = None
    """(K,) from which probability on an image is said to have each class; None where it has exactly one."""
    calibration: Mapping[str, Any] | None = None
    """Plain JSON: the temperature and what follows from it, see `Calibration.describe`; None: not measured."""

    @property
    def several_labels(self) -> bool:
        """Whether an image may have several classes."""
        return self.thresholds is not None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into a folder, whole or not at all."""
    values: dict[str, Any] = {
        "format": "eyebright-bundle",
        "format_version": 2 if manifest.several_labels else 1,
        "architecture": asdict(manifest.architecture),
        "class_names": list(manifest.class_names),
        **({} if manifest.thresholds is None else {"thresholds": list(manifest.thresholds)}),
        "preprocessing": manifest.preprocessing.to_dict(),
        "provenance": dict(manifest.provenance),
        "files": dict(manifest.files),
    }
    if manifest.calibration is not None:
        values["calibration"] = dict(manifest.calibration)
    write_sealed(folder, values)


def read_manifest(folder: Path, *, files: bool = True) -> Manifest:
    """Read and check `manifest.json`, and that every file it lists is there and unaltered.

    Args:
        folder: a bundle.
        files: False leaves the other files to whoever reads them.

    Raises:
        BundleError: no bundle, a newer format version, or a file that is absent, cut short, altered or no plain file
            name, by name.
    """
    path = folder / MANIFEST
    values, unaltered = read_sealed(folder)
    version = values.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(f"{show(path)} names no format version; it is not the manifest of a bundle")
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{show(folder)} was written by a newer Eyebright (bundle format {version}; this one reads up to "
            f"{FORMAT_VERSION}); update with: pip install --upgrade eyebright"
        )
    if not unaltered:
        raise BundleError(f"{show(path)} was altered or damaged since it was written; copy the whole folder again")
    try:
        architecture = values["architecture"]
        known = {field.name for field in fields(Architecture)}
        manifest = Manifest(
            architecture=Architecture(**{key: value for key, value in architecture.items() if key in known}),
            class_names=tuple(str(name) for name in values["class_names"]),
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
            provenance=dict(values["provenance"]),
            files={str(name): str(digest) for name, digest in values["files"].items()},
            thresholds=tuple(map(float, values["thresholds"])) if "thresholds" in values else None,
            calibration=None if values.get("calibration") is None else dict(values["calibration"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError, DataError) as error:
        raise BundleError(f"{show(path)} lacks what it needs ({error}); copy the whole folder again") from error
    if len(manifest.class_names) != manifest.architecture.num_classes:
        raise BundleError(f"{show(path)} names {len(manifest.class_names)} classes for a network of another number")
    if manifest.thresholds is not None and len(manifest.thresholds) != len(manifest.class_names):
        raise BundleError(f"{show(path)} has {len(manifest.thresholds)} thresholds for a network of another number")
    if WEIGHTS not in manifest.files:
        raise BundleError(f"{show(path)} lists no {WEIGHTS}; copy the whole folder again")
    require_plain_names(folder, manifest.files)
    if files:
        verify_files(folder, manifest.files)
    return manifest


def find_bundle(path: Path) -> Path:
    """The bundle that a path means: itself, or the one inside a run's folder.

    Raises:
        BundleError: there is none.
    """
    for folder in (path, path / "bundle"):
        if (folder / MANIFEST).is_file():
            return folder
    if not path.exists():
        raise BundleError(f"there is no folder {show(path)}; give the folder of a run or of a bundle")
    children = sorted(path.iterdir()) if path.is_dir() else []
    runs = [child.name for child in children if (child / "bundle" / MANIFEST).is_file()]
    if runs:
        raise BundleError(f"{show(path)} holds several runs ({', '.join(map(printable, runs))}); give one of them")
    raise BundleError(f"{show(path)} holds no saved classifier: there is no {MANIFEST} in it")

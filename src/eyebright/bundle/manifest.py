"""The manifest of a bundle: what a saved classifier is, in one JSON file that a person can read.

A bundle is a folder: `manifest.json` and the files it lists with their sha256. Nothing in it is code and nothing in it
is a pickle. The manifest guards all other files; its own `manifest_sha256` guards the manifest.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from eyebright.errors import BundleError, DataError, printable
from eyebright.preprocess import Preprocessing

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
_MAX_MANIFEST_BYTES = 64 * 2**20


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
    format_version: int = FORMAT_VERSION


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into a folder, whole or not at all."""
    values: dict[str, Any] = {
        "format": "eyebright-bundle",
        "format_version": manifest.format_version,
        "architecture": asdict(manifest.architecture),
        "class_names": list(manifest.class_names),
        "preprocessing": manifest.preprocessing.to_dict(),
        "provenance": dict(manifest.provenance),
        "files": dict(manifest.files),
    }
    values["manifest_sha256"] = _digest(values)
    scratch = folder / f".{MANIFEST}.new"
    scratch.write_text(_spell(values), encoding="utf-8")
    os.replace(scratch, folder / MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json`, and that every file it lists is there and unaltered.

    Args:
        folder: a bundle.

    Raises:
        BundleError: no bundle, a newer format version, or a file that is absent, cut short or altered, by name.
    """
    path = folder / MANIFEST
    values, text = _read_json(path)
    version = values.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise BundleError(f"{_show(path)} names no format version; it is not the manifest of a bundle")
    if version > FORMAT_VERSION:
        raise BundleError(
            f"{_show(folder)} was written by a newer Eyebright (bundle format {version}; this one reads up to "
            f"{FORMAT_VERSION}); update with: pip install --upgrade eyebright"
        )
    # Compared letter by letter too: 1e-05 and 1E-05 are one value, and a last line break is easily lost.
    unaltered = text == _spell(values)
    recorded = values.pop("manifest_sha256", None)
    if not unaltered or recorded != _digest(values):
        raise BundleError(f"{_show(path)} was altered or damaged since it was written; copy the whole folder again")
    try:
        architecture = values["architecture"]
        known = {field.name for field in fields(Architecture)}
        manifest = Manifest(
            architecture=Architecture(**{key: value for key, value in architecture.items() if key in known}),
            class_names=tuple(str(name) for name in values["class_names"]),
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
            provenance=dict(values["provenance"]),
            files={str(name): str(digest) for name, digest in values["files"].items()},
            format_version=version,
        )
    except (KeyError, TypeError, AttributeError, ValueError, DataError) as error:
        raise BundleError(f"{_show(path)} lacks what it needs ({error}); copy the whole folder again") from error
    if len(manifest.class_names) != manifest.architecture.num_classes:
        raise BundleError(f"{_show(path)} names {len(manifest.class_names)} classes for a network of another number")
    if WEIGHTS not in manifest.files:
        raise BundleError(f"{_show(path)} lists no {WEIGHTS}; copy the whole folder again")
    for name, digest in manifest.files.items():
        if name != Path(name).name or "\\" in name:
            raise BundleError(f"{_show(path)} lists {printable(name)}, which is no plain file name; don't trust it")
        _verify(folder / name, digest)
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
        raise BundleError(f"there is no folder {_show(path)}; give the folder of a run or of a bundle")
    children = sorted(path.iterdir()) if path.is_dir() else []
    runs = [child.name for child in children if (child / "bundle" / MANIFEST).is_file()]
    if runs:
        raise BundleError(f"{_show(path)} holds several runs ({', '.join(map(printable, runs))}); give one of them")
    raise BundleError(f"{_show(path)} holds no saved classifier: there is no {MANIFEST} in it")


def hash_file(path: Path) -> str:
    """The sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _verify(path: Path, digest: str) -> None:
    try:
        if not path.is_file():
            raise BundleError(f"{_show(path)} is missing; copy the whole folder again")
        found = hash_file(path)
    except OSError as error:
        raise BundleError(f"{_show(path)} can't be read: {error.strerror or error}") from error
    if found != digest:
        raise BundleError(
            f"{_show(path)} was altered or cut short: its sha256 is not the one in {MANIFEST}; "
            "copy the whole folder again"
        )


def _read_json(path: Path) -> tuple[dict[str, Any], str]:
    """A file's values, and its text."""
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{_show(path)} is too large to be a manifest")
        text = path.read_text(encoding="utf-8")
        values = json.loads(text)
    except FileNotFoundError as error:
        raise BundleError(f"{_show(path.parent)} holds no saved classifier: there is no {MANIFEST} in it") from error
    except OSError as error:
        raise BundleError(f"{_show(path)} can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{_show(path)} is damaged or cut short ({error}); copy the whole folder again") from error
    if not isinstance(values, dict):
        raise BundleError(f"{_show(path)} is not the manifest of a bundle")
    return values, text


def _spell(values: Mapping[str, Any]) -> str:
    """The text of a manifest, for people to read."""
    return json.dumps(values, indent=2, ensure_ascii=True) + "\n"


def _digest(values: Mapping[str, Any]) -> str:
    """The sha256 of the values in one canonical spelling."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _show(path: Path) -> str:
    return printable(str(path))

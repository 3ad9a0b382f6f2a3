"""Folders that are written whole or not at all, with a JSON file in each that guards the others and itself.

A sealed folder is a bundle or a checkpoint: `manifest.json` lists every other file with its sha256, and its own
`manifest_sha256` guards the manifest. Nothing here knows what the files hold, and nothing needs torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eyebright.errors import BundleError, printable
from eyebright.writing import sync_folder, whole

MANIFEST = "manifest.json"
_MAX_MANIFEST_BYTES = 64 * 2**20


@contextmanager
def new_folder(folder: Path, *, prefix: str) -> Iterator[Path]:
    """A scratch folder beside `folder`, which takes its place in one step when the block ends well.

    By then every file is on the disk, and afterwards the new name is too. A folder that stood there before is replaced
    only then. If the block fails there is nothing but what was there before.

    Args:
        folder: where the files are to be; its parent must exist.
        prefix: begins the scratch folder's name, so that one left by a killed process can be told.

    Raises:
        OSError: the disk is full or the folder can't be written.
    """
    scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        yield scratch
        for path in scratch.iterdir():
            path.chmod(0o644)
            with path.open("rb") as file:
                os.fsync(file.fileno())
        scratch.chmod(0o755)
        sync_folder(scratch)
        if folder.exists():
            _replace(folder, scratch, prefix)
        else:
            os.replace(scratch, folder)
        sync_folder(folder.parent)  # or a power cut could take the new name back
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _replace(folder: Path, scratch: Path, prefix: str) -> None:
    old = Path(tempfile.mkdtemp(prefix=f"{prefix}old-", dir=folder.parent))
    try:
        os.replace(folder, old / folder.name)
        os.replace(scratch, folder)
    except OSError:
        if not folder.exists():
            os.replace(old / folder.name, folder)
        raise
    finally:
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)


def write_sealed(folder: Path, values: Mapping[str, Any]) -> None:
    """Write plain values as the folder's `manifest.json`, with their own sha256 among them, whole or not at all."""
    sealed = {**values, "manifest_sha256": _digest(values)}
    with whole(folder / MANIFEST) as file:
        file.write(_spell(sealed).encode())


def read_sealed(folder: Path) -> tuple[dict[str, Any], bool]:
    """The values of the folder's `manifest.json`, and whether they are as they were written.

    The second is for the caller to act on once it knows that the format is not a newer one.

    Raises:
        BundleError: there is none, or it is no JSON.
    """
    values, text = _read_json(folder / MANIFEST)
    # Compared letter by letter too: 1e-05 and 1E-05 are one value, and a last line break is easily lost.
    unaltered = text == _spell(values)
    recorded = values.pop("manifest_sha256", None)
    return values, unaltered and recorded == _digest(values)


def hash_file(path: Path) -> str:
    """The sha256 of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_files(folder: Path, files: Mapping[str, str]) -> None:
    """Check that every file is there and has its sha256.

    Raises:
        BundleError: one that is absent, cut short, altered or no plain file name, by name.
    """
    require_plain_names(folder, files)
    for name, digest in files.items():
        _verify(folder / name, digest)


def require_plain_names(folder: Path, names: Iterable[str]) -> None:
    """Check that nothing that a manifest lists lies outside its folder.

    Raises:
        BundleError: one that is no plain file name.
    """
    for name in names:
        if name in ("", "..") or name != Path(name).name or "\\" in name:
            raise BundleError(
                f"{show(folder / MANIFEST)} lists {printable(name)}, which is no plain file name; don't trust it"
            )


def _verify(path: Path, digest: str) -> None:
    try:
        if not path.is_file():
            raise BundleError(f"{show(path)} is missing; copy the whole folder again")
        found = hash_file(path)
    except OSError as error:
        raise BundleError(f"{show(path)} can't be read: {error.strerror or error}") from error
    if found != digest:
        raise BundleError(
            f"{show(path)} was altered or cut short: its sha256 is not the one in {MANIFEST}; "
            "copy the whole folder again"
        )


def _read_json(path: Path) -> tuple[dict[str, Any], str]:
    """A file's values, and its text."""
    try:
        if path.stat().st_size > _MAX_MANIFEST_BYTES:
            raise BundleError(f"{show(path)} is too large to be a manifest")
        text = path.read_text(encoding="utf-8")
        values = json.loads(text)
    except FileNotFoundError as error:
        raise BundleError(f"{show(path.parent)} holds no saved classifier: there is no {MANIFEST} in it") from error
    except OSError as error:
        raise BundleError(f"{show(path)} can't be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{show(path)} is damaged or cut short ({error}); copy the whole folder again") from error
    if not isinstance(values, dict):
        raise BundleError(f"{show(path)} is not the manifest of a bundle")
    return values, text


def _spell(values: Mapping[str, Any]) -> str:
    """The text of a manifest, for people to read."""
    return json.dumps(values, indent=2, ensure_ascii=True) + "\n"


def _digest(values: Mapping[str, Any]) -> str:
    """The sha256 of the values in one canonical spelling."""
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def show(path: Path) -> str:
    """A path for a message."""
    return printable(str(path))

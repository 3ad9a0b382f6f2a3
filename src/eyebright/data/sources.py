"""Every kind of source -> one table of samples; and images without labels, for prediction."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from eyebright.data.archives import ZipStore, read_zip
from eyebright.data.arrays import read_arrays, read_npz
from eyebright.data.decode import read_file
from eyebright.data.folders import is_image_name, read_folder, walk
from eyebright.data.manifests import read_manifest
from eyebright.data.samples import ImageStore, SampleTable
from eyebright.errors import DataError, printable

_READERS = {".zip": read_zip, ".csv": read_manifest, ".tsv": read_manifest, ".npz": read_npz}


def read_samples(
    source: str | os.PathLike[str] | SampleTable | tuple[Any, ...], *, min_classes: int = 2
) -> SampleTable:
    """A table of labelled samples from any kind of source.

    Args:
        source: a folder of class folders, with or without split folders; a .zip of one; a .csv file with the columns
            path, label and if wanted split and group; an .npz file; (images, labels) or (images, labels, class names)
            as arrays; or a table, which is returned as it is. See `folders`, `manifests` and `arrays` for the rules.
        min_classes: fewer classes are an error; 1 to evaluate on images of a single class.

    Returns:
        The table: classes sorted, `splits` as the source gives them or UNASSIGNED, `notes` on what was left out.
        No image is opened.

    Raises:
        DataError: there is nothing to learn from; what was found and what to do.
    """
    if isinstance(source, SampleTable):
        return source
    if isinstance(source, tuple):
        if len(source) not in (2, 3):
            raise DataError(f"a tuple of {len(source)} is no data; give (images, labels) or (images, labels, classes)")
        return read_arrays(*source, min_classes=min_classes)
    path = os.fsdecode(source)
    if os.path.isdir(path):
        return read_folder(path, min_classes=min_classes)
    if not os.path.exists(path):
        raise DataError(f"{printable(path)}: does not exist")
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise DataError(f"{printable(path)}: is no data; give a folder of class folders, or a .zip, .csv or .npz file")
    return reader(path, min_classes=min_classes)


@final
@dataclass(frozen=True, eq=False)
class PathStore:
    """Files by their paths as the user gave them, and the contents of zips."""

    entries: Mapping[str, tuple[ZipStore, str]]
    """Names that stand in an archive -> the archive and the name in it."""

    def read(self, name: str) -> bytes:
        if name in self.entries:
            archive, inner = self.entries[name]
            return archive.read(inner)
        return read_file(name, name)

    def locate(self, name: str) -> str:
        return name


def read_unlabelled(paths: Sequence[str | os.PathLike[str]]) -> tuple[ImageStore, tuple[str, ...]]:
    """Images without labels, in the order given: files, folders, zips, and patterns such as "photos/*.jpg".

    A file that is named is kept whatever its suffix, and even if it is not there: reading it says so. Of a folder
    or zip, the visible files with an image's suffix are taken, sorted. What is named twice is kept once.

    Returns:
        A store, and the N names that it reads.

    Raises:
        DataError: nothing was given, no images are in what was given, or a zip can't be opened.
    """
    if not paths:
        raise DataError("no images were given; name files, folders or zips")
    names: dict[str, str] = {}  # by absolute path, so that ./a.png and a.png are one
    entries: dict[str, tuple[ZipStore, str]] = {}
    for given in paths:
        literal = os.fsdecode(given)
        found = [literal]
        if not os.path.lexists(literal) and glob.has_magic(literal):
            found = sorted(glob.glob(literal, recursive=True)) or found
        for path in found:
            if os.path.isdir(path):
                for inner in walk(path):
                    if is_image_name(inner):
                        name = os.path.join(path, inner)
                        names.setdefault(os.path.abspath(name), name)
            elif Path(path).suffix.lower() == ".zip" and os.path.isfile(path):
                archive = ZipStore(path)
                for inner in archive.names:
                    if is_image_name(inner):
                        name = archive.locate(inner)
                        entries[name] = (archive, inner)
                        names.setdefault(os.path.abspath(name), name)
            else:
                names.setdefault(os.path.abspath(path) if "\0" not in path else path, path)
    if not names:
        raise DataError(f"no images in {', '.join(printable(os.fsdecode(path)) for path in paths[:5])}")
    return PathStore(entries), tuple(names.values())

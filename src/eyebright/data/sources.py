"""Every kind of source -> one table of samples; and images without labels, for prediction."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, final

from numpy.typing import NDArray

from eyebright.data.archives import ZipStore, read_zip
from eyebright.data.arrays import read_arrays, read_npz
from eyebright.data.decode import read_file
from eyebright.data.folders import is_image_name, read_folder, walk
from eyebright.data.manifests import read_manifest
from eyebright.data.parquet import (
    is_arrow_name,
    is_parquet_name,
    is_saved_dataset,
    read_parquet,
    read_parquet_files,
    read_saved_dataset,
)
from eyebright.data.samples import SampleTable
from eyebright.data.shards import has_pattern, list_shards, read_tars
from eyebright.data.tars import TarStore, is_tar_name
from eyebright.errors import DataError, printable

_READERS = {
    ".zip": read_zip,
    ".csv": read_manifest,
    ".tsv": read_manifest,
    ".npz": read_npz,
    ".parquet": read_parquet,
    ".pq": read_parquet,
}
_LISTS = frozenset(_READERS) - {".zip"}
_KINDS = "a folder of class folders, or a .zip, .tar, .csv, .tsv, .parquet or .npz file"


def read_samples(
    source: str | os.PathLike[str] | SampleTable | tuple[Any, ...], *, min_classes: int = 2, keep_absent: bool = False
) -> SampleTable:
    """A table of labelled samples from any kind of source.

    Args:
        source: a folder of class folders, with or without split folders; a .zip or .tar (also .tar.gz, .tar.bz2,
            .tar.xz) of one; a .csv, .tsv or .parquet file with the columns path, label (or labels, where a sample has
            several) and if wanted split and group; WebDataset shards: a folder of .tar files, or a pattern such as
            "shards/train-{000..009}.tar"; a Hugging Face dataset: a folder that `save_to_disk` wrote, or .parquet
            files with images in them, or a folder of those; an .npz file; (images, labels) or (images, labels, class
            names) as arrays; or a table, which is returned as it is. The rules stand in `folders`, `manifests`,
            `shards`, `parquet` and `arrays`.
        min_classes: fewer classes are an error; 1 to evaluate on images of a single class.
        keep_absent: whether a file that a list names and that is missing is a sample that can't be read, for who looks
            for such; else it is an error.

    Returns:
        The table: classes sorted, `splits` as the source gives them or UNASSIGNED, `notes` on what was left out.
        No image is opened.

    Raises:
        DataError: there is nothing to learn from; what was found and what to do.
        MissingExtraError: Parquet or Arrow files, and pyarrow is not installed.
    """
    if isinstance(source, SampleTable):
        return source
    if isinstance(source, tuple):
        if len(source) not in (2, 3):
            raise DataError(f"a tuple of {len(source)} is no data; give (images, labels) or (images, labels, classes)")
        return read_arrays(*source, min_classes=min_classes)
    path = os.fsdecode(source)
    if os.path.isdir(path):
        return _read_any_folder(path, min_classes)
    if not os.path.exists(path):
        if has_pattern(path):
            return _read_pattern(path, min_classes)
        raise DataError(f"{printable(path)}: does not exist")
    if is_tar_name(path):
        return read_tars([path], where=path, folder=os.path.dirname(path), min_classes=min_classes)
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise DataError(f"{printable(path)}: is no data; give {_KINDS}")
    if reader is read_manifest or reader is read_parquet:
        return reader(path, min_classes=min_classes, keep_absent=keep_absent)
    return reader(path, min_classes=min_classes)


def _read_any_folder(path: str, min_classes: int) -> SampleTable:
    """A folder of class folders; or of tars, Parquet or Arrow files, where it holds these and no images."""
    if is_saved_dataset(path):
        return read_saved_dataset(path, min_classes=min_classes)
    if not _may_hold_containers(path):
        return read_folder(path, min_classes=min_classes)
    names = list(walk(path))
    tars = [os.path.join(path, name) for name in names if is_tar_name(name)]
    tables = [os.path.join(path, name) for name in names if is_parquet_name(name)]
    if any(is_image_name(name) for name in names) or not (tars or tables):
        if not any(is_image_name(name) for name in names) and any(is_arrow_name(name) for name in names):
            raise DataError(
                f"{printable(path)}: holds Arrow files without the state.json that save_to_disk writes; "
                "load the data with Hugging Face datasets and call save_to_disk"
            )
        return read_folder(path, min_classes=min_classes)
    if tars and tables:
        raise DataError(f"{printable(path)}: holds tar and Parquet files; give one kind, by a folder or a pattern")
    if tars:
        return read_tars(tars, where=path, folder=path, min_classes=min_classes)
    return read_parquet_files(tables, where=path, folder=path, min_classes=min_classes)


def _may_hold_containers(path: str) -> bool:
    """Whether a tar, Parquet or Arrow file lies in a folder or right below; a look, not a walk over a million files."""

    def listing(folder: str) -> list[str]:
        try:
            return os.listdir(folder)
        except OSError:
            return []

    names = listing(path)
    inner = (name for below in names if "." not in below for name in listing(os.path.join(path, below)))
    return any(is_tar_name(name) or is_parquet_name(name) or is_arrow_name(name) for name in chain(names, inner))


def _read_pattern(pattern: str, min_classes: int) -> SampleTable:
    """Tars or Parquet files that a pattern names."""
    paths = list_shards(pattern)
    folder = os.path.commonpath([os.path.dirname(path) for path in paths])
    if all(is_parquet_name(path) for path in paths):
        return read_parquet_files(paths, where=pattern, folder=folder, min_classes=min_classes)
    return read_tars(paths, where=pattern, folder=folder, min_classes=min_classes)


@final
@dataclass(frozen=True, eq=False)
class PathStore:
    """Files by their paths as the user gave them, and the contents of zips and tars."""

    entries: Mapping[str, tuple[ZipStore | TarStore, str]]
    """Names that stand in an archive -> the archive and the name in it."""

    def read(self, name: str) -> bytes | NDArray[Any]:
        if name in self.entries:
            archive, inner = self.entries[name]
            return archive.read(inner)
        return read_file(name, name)

    def locate(self, name: str) -> str:
        return name


def read_unlabelled(paths: Sequence[str | os.PathLike[str]]) -> tuple[PathStore, tuple[str, ...]]:
    """Images without labels, in the order given: files, folders, zips, tars, and patterns such as "photos/*.jpg".

    A file that is named is kept whatever its suffix, and even if it is not there: reading it says so. Of a folder
    or archive, the visible files with an image's suffix are taken, sorted. What is named twice is kept once.

    Returns:
        A store, and the N names that it reads.

    Raises:
        DataError: nothing was given, no images are in what was given, a list was given in the place of images, or an
            archive can't be opened.
    """
    if not paths:
        raise DataError("no images were given; name files, folders, zips or tars")
    names: dict[str, str] = {}  # by absolute path, so that ./a.png and a.png are one
    entries: dict[str, tuple[ZipStore | TarStore, str]] = {}
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
            elif (path.lower().endswith(".zip") or is_tar_name(path)) and os.path.isfile(path):
                archive = TarStore(path) if is_tar_name(path) else ZipStore(path)
                for inner in archive.names:
                    if is_image_name(inner):
                        name = archive.locate(inner)
                        entries[name] = (archive, inner)
                        names.setdefault(os.path.abspath(name), name)
            elif len(paths) == len(found) == 1 and Path(path).suffix.lower() in _LISTS and os.path.isfile(path):
                raise DataError(
                    f"{printable(path)}: is a list of images with labels, to train on or to evaluate with; here give "
                    "image files, folders, zips or tars, or pipe in paths, one a line"
                )
            else:
                names.setdefault(os.path.abspath(path) if "\0" not in path else path, path)
    if not names:
        raise DataError(f"no images in {', '.join(printable(os.fsdecode(path)) for path in paths[:5])}")
    return PathStore(entries), tuple(names.values())

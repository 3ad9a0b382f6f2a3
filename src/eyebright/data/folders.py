"""Class folders on disk, and the rules by which relative file names become classes and splits.

The rules are the same for a folder and for a zip of one:
- The class of an image is the folder that directly holds it, named by its path below the root ("cats", "a/new").
- Where every top-level folder with images is named like a split (train, val, test and the usual synonyms) and
  holds class folders, these are the splits and classes are named below them. Split-named folders that hold images
  directly are classes like any other ("train" beside "plane"). Both kinds at once is an error, never a guess.
- A single folder that wraps a whole archive, or that wraps split folders, is looked through.
- Images outside any class folder are left out with a note; hidden files and those of macOS and Windows, silently.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import final

import numpy as np

from eyebright.data.decode import read_file
from eyebright.data.samples import SPLITS, UNASSIGNED, ImageStore, SampleTable
from eyebright.errors import DataError, printable

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"}
)
SPLIT_SYNONYMS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
_SYSTEM_FILES = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


@final
@dataclass(frozen=True)
class FolderStore:
    """Image files below a folder; names are relative to it with forward slashes, or absolute."""

    root: str

    def read(self, name: str) -> bytes:
        return read_file(os.path.join(self.root, name), self.locate(name))

    def locate(self, name: str) -> str:
        return os.path.join(self.root, name)


def read_folder(root: str, *, min_classes: int) -> SampleTable:
    """The table of a folder of class folders; see the rules above.

    Raises:
        DataError: no images, no class folders, too few classes, or split folders mixed with others.
    """
    images: list[str] = []
    others: list[str] = []
    for name in walk(root):
        (images if is_image_name(name) else others).append(name)
    table = table_of_class_folders(
        FolderStore(root), images, others, where=root, min_classes=min_classes, is_archive=False
    )
    without = _folders_without_images(root, images)
    if without:
        words = counted(len(without), "folder holds no image and is no class", "folders hold no image and are no class")
        table = replace(table, notes=(*table.notes, f"{words}: {listed(without)}"))
    return table


def _folders_without_images(root: str, images: Iterable[str]) -> list[str]:
    """Visible folders at the top, or in a split's folder, without an image anywhere below: classes that were meant?"""
    parents = {"/".join(name.split("/")[:depth]) for name in images for depth in (1, 2) if name.count("/") >= depth}
    places = ["", *sorted(parent for parent in parents if parent.lower() in SPLIT_SYNONYMS)]
    found = []
    for place in places:
        with os.scandir(os.path.join(root, place)) as listing:
            names = sorted(entry.name for entry in listing if os.path.isdir(entry.path) and not is_hidden(entry.name))
        found += [name for name in (f"{place}/{name}" if place else name for name in names) if name not in parents]
    return found


def walk(root: str) -> Iterator[str]:
    """Every visible file below a folder, sorted, relative with forward slashes; links to folders are followed.

    Pipes and devices are passed over. A link back to a folder that is being walked is not entered.

    Raises:
        DataError: a folder can't be listed.
    """
    yield from _walk(root, "", frozenset())


def _walk(root: str, below: str, ancestors: frozenset[tuple[int, int]]) -> Iterator[str]:
    folder = os.path.join(root, below) if below else root
    try:
        found = os.stat(folder)
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{printable(folder)}: the folder can't be listed ({error.strerror})") from None
    here = (found.st_dev, found.st_ino)
    if here in ancestors:
        return
    for entry in entries:
        if is_hidden(entry.name):
            continue
        name = f"{below}{entry.name}"
        if os.path.isdir(entry.path):
            yield from _walk(root, f"{name}/", ancestors | {here})
        elif os.path.isfile(entry.path) or not os.path.exists(entry.path):
            yield name  # a link to nowhere too: a sample that can't be read


def is_hidden(part: str) -> bool:
    """Whether a file or folder is one that people do not see: dot files and what macOS and Windows leave behind."""
    return part.startswith(".") or part.lower() in _SYSTEM_FILES


def is_image_name(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def class_name(text: str) -> str:
    """A class's name in one spelling: composed Unicode (macOS stores é as two), bytes that are no UTF-8 as \\xe9."""
    legible = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", legible)


def listed(names: Sequence[str], *, limit: int = 5) -> str:
    """The first few names for a message: "a, b, c and 12 more"."""
    shown = ", ".join(printable(name) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"


def counted(count: int, one: str, many: str) -> str:
    """ "1 image" or "3 images"."""
    return f"{count:,} {one if count == 1 else many}"


def table_of_class_folders(
    store: ImageStore, images: Sequence[str], others: Sequence[str], *, where: str, min_classes: int, is_archive: bool
) -> SampleTable:
    """Relative names -> table.

    Args:
        store: reads the names.
        images: relative names with an image's suffix.
        others: relative names of the other visible files.
        where: what to call the whole in an error.
        min_classes: fewer than this is an error.
        is_archive: whether a single wrapping folder is looked through even above class folders.
    """
    shown = printable(where)
    if not images:
        if not others:
            raise DataError(f"{shown}: is empty; put one folder per class into it, each with that class's images")
        kinds = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in others)
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
        raise DataError(
            f"{shown}: holds {counted(len(others), 'file', 'files')} ({found}) but no images; "
            f"images end in {', '.join(sorted(IMAGE_SUFFIXES))}"
        )

    parts = {name: tuple(name.split("/")) for name in images}
    wrapped = _wrapping_depth(list(parts.values()), is_archive=is_archive)
    parts = {name: path[wrapped:] for name, path in parts.items()}
    split_level = _has_split_folders(list(parts.values()), shown)
    depth = 2 if split_level else 1  # how many folders at the least lead to an image with a class

    names = sorted(name for name, path in parts.items() if len(path) > depth)
    stray = sorted(name for name, path in parts.items() if len(path) <= depth)
    if not names:
        raise DataError(
            f"{shown}: holds {counted(len(stray), 'image', 'images')} but no class folders ({listed(stray, limit=3)}); "
            "put each class's images into a folder with the class's name, or list them in a CSV file with the columns "
            "path and label"
        )
    of_class = [class_name("/".join(parts[name][depth - 1 : -1])) for name in names]
    raw = {"/".join(parts[name][depth - 1 : -1]) for name in names}
    splits = [SPLITS.index(SPLIT_SYNONYMS[parts[name][0].lower()]) if split_level else UNASSIGNED for name in names]

    notes = merged_spellings(raw)
    if stray:
        notes.append(f"{counted(len(stray), 'image', 'images')} outside any class folder left out: {listed(stray)}")
    if others:
        notes.append(
            f"{counted(len(others), 'file that is no image', 'files that are no images')} left out: "
            f"{listed(sorted(others))}"
        )
    return table_of_labels(
        store, names, of_class, splits=splits, notes=notes, where=where, min_classes=min_classes, kind="folder"
    )


def table_of_labels(
    store: ImageStore,
    names: Sequence[str],
    of_class: Sequence[str],
    *,
    splits: Sequence[int],
    groups: tuple[str, ...] | None = None,
    label_sets: Sequence[Sequence[str]] | None = None,
    columns: Mapping[str, tuple[str, ...]] | None = None,
    notes: Sequence[str],
    where: str,
    min_classes: int,
    kind: str,
) -> SampleTable:
    """N names with the class name of each -> table, classes sorted; classes whose names are nearly one get a note.

    Args:
        label_sets: all class names of each sample, where there may be several.
        columns: what else is told of each sample, by column.
        kind: what makes a class here, for the message when there are too few: "folder", "label".
    """
    found = set(of_class) if label_sets is None else {name for names in label_sets for name in names}
    classes = tuple(sorted(found))
    if len(classes) < min_classes:
        only = f'only one class, "{printable(classes[0])}"' if classes else "no class"
        raise DataError(
            f"{printable(where)}: holds {only}; telling images apart takes at least {min_classes} classes, "
            f"one {kind} each"
        )
    index = {name: i for i, name in enumerate(classes)}
    matrix = None
    if label_sets is not None:
        matrix = np.zeros((len(label_sets), len(classes)), dtype=np.bool_)
        for row, of_sample in enumerate(label_sets):
            matrix[row, [index[name] for name in of_sample]] = True
    return SampleTable(
        store=store,
        names=tuple(names),
        labels=np.fromiter((index[name] for name in of_class), dtype=np.int64, count=len(of_class)),
        label_sets=matrix,
        classes=classes,
        splits=np.array(splits, dtype=np.int8),
        groups=groups,
        columns=columns or {},
        notes=(*notes, *_alike(classes)),
    )


def _alike(classes: Sequence[str]) -> list[str]:
    """A note on classes whose names differ only in what people overlook; they stay apart."""
    by_look: dict[str, list[str]] = {}
    for name in classes:
        by_look.setdefault(" ".join(unicodedata.normalize("NFKC", name).casefold().split()), []).append(name)
    return [
        f"these classes differ only in case, blanks or Unicode form and are kept apart: {_quoted(names)}; "
        "give them one name if they are one"
        for names in by_look.values()
        if len(names) > 1
    ]


def merged_spellings(raw_names: Iterable[str]) -> list[str]:
    """A note on every class that `class_name` and stripping make of several spellings."""
    by_class: dict[str, list[str]] = {}
    for raw in sorted(set(raw_names), key=lambda raw: (class_name(raw.strip()), raw)):
        by_class.setdefault(class_name(raw.strip()), []).append(raw)
    return [
        f"read as one class, {_quoted([name])}: {', '.join(ascii(raw) for raw in spellings)}"
        for name, spellings in by_class.items()
        if len(spellings) > 1
    ]


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{printable(name)}"' for name in names)


def split_named_in(name: str) -> int:
    """The split that a file's name or one of its folders' tells, "train-00000.tar": its index, or UNASSIGNED."""
    for part in reversed(name.lower().split("/")):
        told = {SPLIT_SYNONYMS[word] for word in re.split(r"[^a-z]+", part) if word in SPLIT_SYNONYMS}
        if len(told) == 1:
            return SPLITS.index(told.pop())
    return UNASSIGNED


def splits_named_in(names: Sequence[str]) -> list[int]:
    """The split of each file, if one of them is for training: a test file alone is no division."""
    told = [split_named_in(name) for name in names]
    return told if SPLITS.index("train") in told else [UNASSIGNED] * len(told)


def _wrapping_depth(paths: Sequence[tuple[str, ...]], *, is_archive: bool) -> int:
    """How many folders at the top wrap everything and name neither a class nor a split."""
    depth = 0
    while True:
        tops = {path[depth] for path in paths if len(path) > depth + 1}
        inside = [path[depth + 1] for path in paths if len(path) > depth + 2]
        wraps = len(set(inside)) > 1 or (len(inside) == len(paths))  # a cover picture beside the folders is no class
        if len(tops) != 1 or not wraps or tops.pop().lower() in SPLIT_SYNONYMS:
            break
        depth += 1
    if depth and not is_archive:
        below = {path[depth].lower() for path in paths if len(path) > depth + 1}
        return depth if below <= SPLIT_SYNONYMS.keys() else 0
    return depth


def _has_split_folders(paths: Sequence[tuple[str, ...]], shown: str) -> bool:
    """Whether the top level divides splits rather than classes."""
    tops = {path[0] for path in paths if len(path) > 1}
    with_class_folders = {path[0] for path in paths if len(path) > 2}
    named_like_splits = {top for top in tops if top.lower() in SPLIT_SYNONYMS}
    splits = sorted(named_like_splits & with_class_folders)
    if not splits:
        return False
    rest = sorted(tops - named_like_splits)
    if rest:
        raise DataError(
            f"{shown}: split folders ({listed(splits)}) stand beside other folders with images ({listed(rest)}); "
            "move the others away, or give the folder that holds only classes"
        )
    return True

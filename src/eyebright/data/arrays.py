"""Images held as NumPy arrays: an .npz file, or (images, labels) in Python.

N images, H x W pixels, C channels, K classes.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from eyebright.data.decode import ARRAY_CHANNELS, value_range
from eyebright.data.folders import SPLIT_SYNONYMS, class_name, counted, listed, table_of_labels
from eyebright.data.samples import SPLITS, UNASSIGNED, SampleTable
from eyebright.errors import DataError, ImageError, printable
from eyebright.preprocess import MOST_CHANNELS

_CLASS_KEYS = ("classes", "class_names")
_PLACE_KEYS = {"splits": ("splits", "split"), "groups": ("groups", "group")}
_LAYOUTS = (
    # One row per way people name their arrays: (images, labels, split).
    (("images", "labels", ""), ("x", "y", "")),
    (("train_images", "train_labels", "train"), ("x_train", "y_train", "train")),
    (("val_images", "val_labels", "val"), ("x_val", "y_val", "val"), ("x_valid", "y_valid", "val")),
    (("test_images", "test_labels", "test"), ("x_test", "y_test", "test")),
)


@final
@dataclass(frozen=True, eq=False)
class ArrayStore:
    """Rows of arrays; names are "row 17", or "train row 17" where there is one array for each split."""

    parts: Mapping[str, Sequence[NDArray[Any]] | NDArray[Any]]
    """Split name, or "" for all, -> images."""
    where: str

    def read(self, name: str) -> NDArray[Any]:
        part, _, row = name.rpartition("row ")
        try:
            return self.parts[part.strip()][int(row)]
        except (KeyError, IndexError, ValueError):
            raise ImageError(self.locate(name), "there is no such row") from None

    def locate(self, name: str) -> str:
        return f"{self.where}: {name}"


def find_channels(table: SampleTable) -> int:
    """How many channels the network for a table sees: 3, or those of its arrays if they are no pictures."""
    if isinstance(table.store, ArrayStore) and len(table):
        shape = table.store.read(table.names[0]).shape
        if len(shape) == 3 and shape[2] not in ARRAY_CHANNELS:
            return int(shape[2])
    return 3


def read_npz(path: str, *, min_classes: int) -> SampleTable:
    """The table of an .npz file.

    Keys: `images` and `labels` (or `x` and `y`); or for each split `train_images` and `train_labels`, or `x_train` and
    `y_train`, likewise val and test; and if wanted `classes`, the K names that whole-number labels stand for. Beside
    `images` there may be `splits` (N names: train, val, test or nothing) and `groups` (N names or numbers). Other
    arrays are not used, and a note says so.

    Raises:
        DataError: no .npz file, one with Python objects in it, other keys, or arrays that make no sense.
    """
    shown = printable(path)
    try:
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise DataError(f"{shown}: holds a single array; save images and labels with numpy.savez")
            arrays = {key: loaded[key] for key in loaded.files}
    except DataError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{shown}: holds Python objects, which are never loaded; save plain arrays") from None
        raise DataError(f"{shown}: is damaged or no .npz file ({printable(str(error))[:120]})") from None
    by_key = {key.lower(): value for key, value in arrays.items()}
    parts: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    for ways in _LAYOUTS:
        for images_key, labels_key, split in ways:
            if images_key in by_key and labels_key in by_key and split not in parts:
                parts[split] = by_key[images_key], by_key[labels_key]
    if not parts or ("" in parts and len(parts) > 1):
        raise DataError(
            f"{shown}: has the arrays {listed(list(arrays), limit=8)}; it needs images and labels, "
            "or x_train, y_train, x_test and y_test"
        )
    classes = next((by_key[key] for key in _CLASS_KEYS if key in by_key), None)
    places = {kind: next((by_key[key] for key in keys if key in by_key), None) for kind, keys in _PLACE_KEYS.items()}
    table = _table(parts, classes, where=path, min_classes=min_classes)
    if any(values is not None for values in places.values()):
        if "" not in parts:
            raise DataError(f"{shown}: has splits or groups for images that stand apart by split; leave them out")
        table = replace(
            table,
            splits=_read_splits(places["splits"], len(table), f"{shown}: the splits"),
            groups=_read_groups(places["groups"], len(table), f"{shown}: the groups"),
        )
    known = {key for ways in _LAYOUTS for pair in ways for key in pair[:2]}
    known |= {*_CLASS_KEYS, *(key for keys in _PLACE_KEYS.values() for key in keys)}
    unused = sorted(key for key in arrays if key.lower() not in known)
    if unused:
        note = f"{counted(len(unused), 'array', 'arrays')} of other names not used: {listed(unused)}"
        table = replace(table, notes=(*table.notes, note))
    return table


def read_arrays(
    images: NDArray[Any] | Sequence[NDArray[Any]],
    labels: NDArray[Any] | Sequence[Any],
    classes: NDArray[Any] | Sequence[str] | None = None,
    *,
    min_classes: int,
) -> SampleTable:
    """The table of arrays in memory.

    Args:
        images: (N, H, W), (N, H, W, 1), (N, H, W, 3) or (N, H, W, 4), or (N, H, W, C) for a network of C channels; or
            N arrays of different sizes.
        labels: (N,) names, or whole numbers that index `classes`, or stand for themselves without it.
        classes: K names.

    Raises:
        DataError: shapes or counts disagree, values are no pixels, or a label is out of range.
    """
    try:
        plain_labels = np.asarray(labels)
        plain_classes = None if classes is None else np.asarray(classes)
    except ValueError:  # rows of different lengths
        raise DataError("arrays: the labels and classes must be plain lists: one name or whole number each") from None
    return _table({"": (images, plain_labels)}, plain_classes, where="arrays", min_classes=min_classes)


def _table(
    parts: Mapping[str, tuple[NDArray[Any] | Sequence[NDArray[Any]], NDArray[Any]]],
    classes: NDArray[Any] | Sequence[str] | None,
    *,
    where: str,
    min_classes: int,
) -> SampleTable:
    shown = printable(where)
    known = None if classes is None else _class_names(classes, shown)
    names: list[str] = []
    of_class: list[str] = []
    splits: list[int] = []
    for split, (images, labels) in parts.items():
        part = f"{split} " if split else ""
        _check_images(images, f"{shown}: the {part}images")
        found = _label_names(labels, known, f"{shown}: the {part}labels")
        if len(found) != len(images):
            raise DataError(f"{shown}: there are {len(images)} {part}images and {len(found)} {part}labels")
        names += [f"{part}row {i}" for i in range(len(images))]
        of_class += found
        splits += [SPLITS.index(split) if split else UNASSIGNED] * len(images)
    if not names:
        raise DataError(f"{shown}: holds no images")
    notes = []
    unused = sorted(set(known or ()) - set(of_class))
    if unused:
        notes.append(f"{counted(len(unused), 'class has', 'classes have')} no image and is not used: {listed(unused)}")
    store = ArrayStore({split: images for split, (images, _) in parts.items()}, where)
    return table_of_labels(
        store, names, of_class, splits=splits, notes=notes, where=where, min_classes=min_classes, kind="label"
    )


def _read_splits(values: NDArray[Any] | None, count: int, shown: str) -> NDArray[np.int8]:
    """N names -> indices into `SPLITS`."""
    if values is None:
        return np.full(count, UNASSIGNED, dtype=np.int8)
    names = [name.lower() for name in _texts(values, count, shown)]
    unknown = sorted({name for name in names if name and name not in SPLIT_SYNONYMS})
    if unknown:
        raise DataError(f"{shown} have {listed(unknown)}; use train, val, test, or leave it empty")
    return np.array([SPLITS.index(SPLIT_SYNONYMS[name]) if name else UNASSIGNED for name in names], dtype=np.int8)


def _read_groups(values: NDArray[Any] | None, count: int, shown: str) -> tuple[str, ...] | None:
    """N names or numbers; a sample without one is a group of its own."""
    if values is None:
        return None
    return tuple(name or f"\0{row}" for row, name in enumerate(_texts(values, count, shown)))


def _texts(values: NDArray[Any], count: int, shown: str) -> list[str]:
    if values.shape != (count,) or values.dtype.kind not in "USiu":
        raise DataError(f"{shown} are {values.dtype} of shape {values.shape}; give {count:,} names, one for each image")
    return [_text(value).strip() for value in values.tolist()]


def _class_names(classes: NDArray[Any] | Sequence[str], shown: str) -> list[str]:
    found = np.asarray(classes)
    if found.ndim != 1 or found.dtype.kind not in "US":
        raise DataError(f"{shown}: classes must be a list of names, not {found.dtype} of shape {found.shape}")
    names = [class_name(_text(value)) for value in found.tolist()]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise DataError(f"{shown}: classes names {listed(repeated)} twice")
    return names


def _label_names(labels: NDArray[Any], known: Sequence[str] | None, shown: str) -> list[str]:
    """(N,) or (N, 1) labels -> N class names."""
    if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras's CIFAR-10 has them
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = "; turn one-hot rows into numbers with labels.argmax(1)" if labels.ndim == 2 else ""
        raise DataError(f"{shown} have shape {labels.shape}; give one label for each image{hint}")
    if labels.dtype.kind in "US":
        names = [class_name(_text(value).strip()) for value in labels.tolist()]
        if "" in names:
            raise DataError(f"{shown} have no name in row {names.index('')}")
        if known is not None:
            unknown = sorted(set(names) - set(known))
            if unknown:
                raise DataError(f"{shown} name classes that are not listed: {listed(unknown)}")
        return names
    if labels.dtype.kind == "f" and len(labels) and np.isfinite(labels).all() and (labels == np.floor(labels)).all():
        labels = labels.astype(np.int64)
    if labels.dtype.kind not in "iub" and len(labels):
        raise DataError(f"{shown} are {labels.dtype}; give whole numbers or names")
    numbers = [int(value) for value in labels.tolist()]
    if known is None:
        return [str(number) for number in numbers]
    for row, number in enumerate(numbers):
        if not 0 <= number < len(known):
            raise DataError(f"{shown} have {number} in row {row}, but there are {len(known)} classes, counted from 0")
    return [known[number] for number in numbers]


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def _check_images(images: NDArray[Any] | Sequence[NDArray[Any]], shown: str) -> None:
    """Refuse what no row could be decoded from, once and before the work; rows of a list are checked on decoding."""
    if not isinstance(images, np.ndarray):
        if not isinstance(images, Sequence) or isinstance(images, str | bytes):
            raise DataError(f"{shown} are a {type(images).__name__}; give one NumPy array, or a list of them")
        for row, image in enumerate(images):
            if not isinstance(image, np.ndarray):
                raise DataError(f"{shown} hold a {type(image).__name__} in row {row}; give NumPy arrays")
        return
    if not len(images):
        return
    unusual = images.ndim == 4 and images.shape[3] not in ARRAY_CHANNELS
    first = unusual and images.shape[1] < images.shape[3] and images.shape[1] != images.shape[2]
    if images.ndim not in (3, 4) or first or (unusual and not 1 <= images.shape[3] <= MOST_CHANNELS):
        hint = "; move the channels last: images.transpose(0, 2, 3, 1)" if first else ""
        raise DataError(
            f"{shown} have shape {images.shape}; it must be (N, height, width) or (N, height, width, channels){hint}"
        )
    if images.dtype in (np.uint8, np.uint16, np.bool_) or images.size == 0:
        return
    # Checked over all rows: one dark image of a 0..255 float array would by itself pass for a 0..1 image.
    try:
        low, high = value_range(images, shown)
    except ImageError as error:
        raise DataError(f"{shown}: {error.reason}") from None
    top = 1 if images.dtype.kind == "f" else 255
    if not (low >= 0 and high <= top):
        raise DataError(
            f"{shown} are {images.dtype} from {low:g} to {high:g}; convert them to uint8 (0..255), "
            "or scale floats to 0..1"
        )

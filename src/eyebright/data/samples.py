"""The table of samples: every image's name, label, split and group, and the store its bytes come from.

N samples, K classes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from eyebright.errors import DataError, printable

SPLITS = ("train", "val", "test")
UNASSIGNED = -1


class ImageStore(Protocol):
    """Where the images are: a folder, an archive, an array. Reading is safe from several threads."""

    def read(self, name: str) -> bytes | NDArray[Any]:
        """The bytes of an image file, or a decoded array (H, W), (H, W, 1) or (H, W, 3).

        Raises:
            ImageError: it is not there or can't be read.
        """
        ...

    def locate(self, name: str) -> str:
        """The name as a user would look for it: a full path, "archive.zip/cats/1.png", "row 17"."""
        ...


@dataclass(frozen=True, kw_only=True)
class SampleTable:
    """N labelled images. Immutable: methods return new tables."""

    store: ImageStore
    names: tuple[str, ...]
    """N names, unique, that the store can read; for folders the path below the root, with forward slashes."""
    labels: NDArray[np.int64]
    """(N,) indices into `classes`; where a sample may have several, the first of them."""
    classes: tuple[str, ...]
    """K class names, sorted; every one has at least one sample somewhere in the table it was read into."""
    splits: NDArray[np.int8]
    """(N,) indices into `SPLITS`, or UNASSIGNED."""
    label_sets: NDArray[np.bool_] | None = None
    """(N, K) which classes each sample has, at least one; None where every sample has exactly its label."""
    groups: tuple[str, ...] | None = None
    """N group names: samples of one group (one patient, one burst) stay in one split."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What a list of images tells beside these, by column: N texts each, empty where it tells nothing of a sample."""
    notes: tuple[str, ...] = ()
    """What was noticed on reading and the user should know, one sentence each."""

    def __post_init__(self) -> None:
        count = len(self.names)
        assert self.labels.shape == (count,)
        assert self.splits.shape == (count,)
        assert self.label_sets is None or self.label_sets.shape == (count, len(self.classes))
        assert self.groups is None or len(self.groups) == count
        assert all(len(values) == count for values in self.columns.values())

    def __len__(self) -> int:
        return len(self.names)

    def take(self, indices: NDArray[np.integer[Any]] | Sequence[int]) -> SampleTable:
        """The samples at these rows, in this order; classes and store stay."""
        rows = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            names=tuple(self.names[i] for i in rows),
            labels=self.labels[rows],
            label_sets=None if self.label_sets is None else self.label_sets[rows],
            splits=self.splits[rows],
            groups=None if self.groups is None else tuple(self.groups[i] for i in rows),
            columns={name: tuple(values[i] for i in rows) for name, values in self.columns.items()},
        )

    def rows(self, split: str) -> NDArray[np.int64]:
        """The row numbers of one split ("train", "val" or "test")."""
        return np.flatnonzero(self.splits == SPLITS.index(split))

    def split(self, split: str) -> SampleTable:
        """The samples of one split."""
        return self.take(self.rows(split))

    def counts(self) -> dict[str, int]:
        """How many samples each class has, by name; a sample of several classes counts for each."""
        if self.label_sets is None:
            found = np.bincount(self.labels, minlength=len(self.classes))
        else:
            found = self.label_sets.sum(axis=0)
        return {name: int(n) for name, n in zip(self.classes, found, strict=True)}

    def having(self, label: int) -> NDArray[np.bool_]:
        """(N,) which samples have a class, among others or as their only one."""
        found: NDArray[np.bool_] = self.labels == label if self.label_sets is None else self.label_sets[:, label]
        return found

    def labels_of(self, row: int) -> tuple[str, ...]:
        """The names of a sample's classes."""
        if self.label_sets is None:
            return (self.classes[self.labels[row]],)
        return tuple(self.classes[label] for label in np.flatnonzero(self.label_sets[row]).tolist())

    def with_classes(self, classes: Sequence[str]) -> SampleTable:
        """The same samples with labels renumbered to another list of classes, matched by name.

        Raises:
            DataError: a sample's class is not in the list.
        """
        index = {name: i for i, name in enumerate(classes)}
        used = sorted(name for name, count in self.counts().items() if count)
        unknown = [name for name in used if name not in index]
        if unknown:
            raise DataError(
                f"these classes are not among the ones the model knows: {', '.join(unknown)}; "
                f"it knows {', '.join(classes)}"
            )
        lookup = np.array([index.get(name, -1) for name in self.classes], dtype=np.int64)
        label_sets = None
        if self.label_sets is not None:
            label_sets = np.zeros((len(self), len(classes)), dtype=np.bool_)
            label_sets[:, [index[name] for name in used]] = self.label_sets[:, [self.classes.index(c) for c in used]]
        return replace(self, labels=lookup[self.labels], label_sets=label_sets, classes=tuple(classes))

    def require_single_labels(self) -> None:
        """Refuse a table whose samples may have several labels, before work that can use only one.

        Raises:
            DataError: it is one.
        """
        if self.label_sets is not None:
            several = int((self.label_sets.sum(axis=1) > 1).sum())
            raise DataError(
                f"the data give several labels to a sample ({several:,} of {len(self):,} have more than one), but the "
                "classifier knows one label for each; give one each, in a column named label"
            )

    def find_column(self, name: str) -> str:
        """A column's name as the list of images spells it; case and blanks around it do not matter.

        Raises:
            DataError: there is no such column; the nearest is named.
        """
        known = [*self.columns, *(["group"] if self.groups is not None else [])]
        wanted = name.strip().lower()
        found = next((column for column in known if column.lower() == wanted), None)
        if found is not None:
            return found
        missing = f'there is no column "{printable(name)[:60]}" to slice by'
        if not known:
            raise DataError(
                f"{missing}: the data have no columns of their own; give a .csv, .tsv or .parquet list that has it "
                "beside path and label"
            )
        # Compared in small letters, told as it is spelt.
        spelt = {column.lower(): printable(column)[:60] for column in known}
        close = difflib.get_close_matches(wanted, spelt, n=1, cutoff=0.5)
        told = f'did you mean "{spelt[close[0]]}"?' if close else "choose one of " + ", ".join(sorted(spelt.values()))
        raise DataError(f"{missing}; {told}")

    def targets(self) -> NDArray[np.float32]:
        """(N, K) 1 for the classes that a sample has, else 0."""
        if self.label_sets is not None:
            return self.label_sets.astype(np.float32)
        return np.eye(len(self.classes), dtype=np.float32)[self.labels]

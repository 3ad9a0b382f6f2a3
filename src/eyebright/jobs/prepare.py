"""Data as a network is trained and measured on them: read, as decided, and split; or as an earlier start found them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eyebright.checking.kept_looks import LookCache, look_and_group
from eyebright.data.cache import digest_table
from eyebright.data.folders import counted, listed
from eyebright.data.kept_files import FOLDER
from eyebright.data.manifests import BETWEEN_LABELS
from eyebright.data.samples import SPLITS, UNASSIGNED, SampleTable
from eyebright.data.sources import read_samples
from eyebright.data.splits import assign_splits
from eyebright.errors import DataError, printable
from eyebright.jobs.decisions import Decided, decide
from eyebright.jobs.given import Data
from eyebright.jobs.runs import SampleRecord
from eyebright.models.download import cache_folder
from eyebright.progress import Progress
from eyebright.training.recipes import choose_balance
from eyebright.training.settings import Settings

MOST_COMPARED = 1_000_000
"""Images among which near-duplicates are looked for before a split: what was measured, not more."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a network is trained and measured on."""

    table: SampleTable
    """With every sample in a split."""
    digests: tuple[str, ...]
    """(N,) the sha256 of each sample's content, empty where it can't be fetched."""
    decided: Decided | None
    """What a person decided about single samples, if they did; the table is already as decided."""


def prepare(
    data: Data, settings: Settings, progress: Progress, *, decisions: str | os.PathLike[str] | None = None
) -> Prepared:
    """The data as a table with splits, as decided; what was noticed is said."""
    read = read_decided(data, settings, progress, decisions=decisions)
    table = read.table
    table = assign_splits(
        table,
        seed=settings.seed,
        val_fraction=settings.data.val_fraction,
        test_fraction=settings.data.test_fraction,
        digests=read.digests,
        together=group_near_duplicates(table, read.digests, settings, progress),
    )
    table = replace(table, notes=(*table.notes, *note_balance(table, settings)))
    counts = ", ".join(f"{len(table.rows(split)):,} {split}" for split in SPLITS)
    progress.say(f"{len(table):,} images of {len(table.classes):,} classes: {counts}")
    for note in table.notes:
        progress.warn(note)
    if len(set(read.table.splits.tolist()) - {UNASSIGNED}) > 1:
        _warn_of_leaks(table, read.digests, progress)
    return replace(read, table=table)


def note_balance(table: SampleTable, settings: Settings) -> list[str]:
    """That rare classes will count more, if nobody has asked for that and it is so."""
    counts = {name: count for name, count in table.split("train").counts().items() if count}
    if settings.training.balance or choose_balance(list(counts.values())) == "none":
        return []
    fewest, most = min(counts, key=lambda name: counts[name]), max(counts, key=lambda name: counts[name])
    return [
        f"{printable(most)} has {counts[most]:,} training images and {printable(fewest)} only {counts[fewest]:,}, so "
        "images of rare classes count more while it learns (training.balance=none makes all count alike)"
    ]


def _warn_of_leaks(table: SampleTable, digests: Sequence[str], progress: Progress) -> None:
    """Say which equal files stand in two splits, as they only can where the data bring these."""
    first: dict[str, int] = {}
    pairs = zip(digests, table.splits.tolist(), strict=True)
    shared = {digest for digest, split in pairs if digest and first.setdefault(digest, split) != split}
    names = [name for name, digest in zip(table.names, digests, strict=True) if digest in shared]
    if names:
        progress.warn(
            f"{counted(len(shared), 'image stands', 'images stand')} in more than one of the data's splits, as equal "
            f"files: {listed(names)}; what is measured on them looks better than it is. eyebright check proposes which "
            "to leave out"
        )


def read_decided(
    data: Data, settings: Settings, progress: Progress, *, decisions: str | os.PathLike[str] | None = None
) -> Prepared:
    """The data as a table, as decided, with the splits that they bring."""
    table = read_samples(data)
    _require_plain_names(table)
    for column in settings.data.slices:
        table.find_column(column)
    if settings.data.slices and table.label_sets is not None:
        progress.warn("accuracy by columns is told only for images of one label each")
    decided = None if decisions is None else decide(table, decisions, progress)
    if decided is not None:
        table = decided.applied.table
    digests = digest_table(table, progress=progress) if decided is None else decided.digests
    return Prepared(table=table, digests=digests, decided=decided)


def _require_plain_names(table: SampleTable) -> None:
    """Refuse names that could not be told from one another in `samples.csv`."""
    odd = [name for name in table.classes if BETWEEN_LABELS in name]
    if table.label_sets is not None and odd:
        raise DataError(
            f'the class "{printable(odd[0])}" has a {BETWEEN_LABELS} in its name, which stands between the labels of a '
            "sample; give it another name"
        )


def group_near_duplicates(
    table: SampleTable, digests: Sequence[str], settings: Settings, progress: Progress
) -> list[list[int]]:
    """Rows that show the same image and must not be parted; none where the data bring all splits."""
    brought = {SPLITS[split] for split in set(table.splits.tolist()) if split >= 0}
    if not settings.data.keep_duplicates_together or {"val", "test"} <= brought:
        return []
    if len(table) > MOST_COMPARED:
        progress.warn(
            f"near-duplicates were not looked for among more than {MOST_COMPARED:,} images; equal files share a split"
        )
        return []
    cache = LookCache(cache_folder() / FOLDER) if settings.data.cache else None
    _, groups = look_and_group(table, digests=digests, cache=cache, progress=progress)
    if groups:
        some = counted(len(groups), "group", "groups")
        progress.say(f"{sum(map(len, groups)):,} images in {some} of near-duplicates: kept together")
    return groups


def prepare_again(data: Data, records: Sequence[SampleRecord], progress: Progress) -> Prepared:
    """The data as an earlier start, or another process, has split them; images that came since are not used.

    Args:
        data: where the same images are now.
        records: what was written of each sample.
        progress: told how far it is.

    Raises:
        DataError: an image is not there any more or holds something else, by name; nothing is trained on it then.
    """
    table = read_samples(data, min_classes=1)
    place = {name: row for row, name in enumerate(table.names)}
    if any(record.name not in place for record in records):
        # A list may have named by its full path what is now called by the path below the list's folder.
        place = {os.path.abspath(table.store.locate(name)): row for name, row in place.items()} | place
    gone = [record.name for record in records if record.name not in place]
    if gone:
        raise DataError(
            f"{printable(gone[0])} was there when training began and is gone ({len(gone):,} of {len(records):,} images "
            "are); bring the data back as they were, or start a new run"
        )
    classes = tuple(sorted({label for record in records for label in record.labels}))
    number = {name: label for label, name in enumerate(classes)}
    several = None
    if table.label_sets is not None or any(len(record.labels) > 1 for record in records):
        several = np.zeros((len(records), len(classes)), dtype=np.bool_)
        for row, record in enumerate(records):
            several[row, [number[label] for label in record.labels]] = True
    found = replace(
        table.take([place[record.name] for record in records]),
        labels=np.array([number[record.labels[0]] for record in records], dtype=np.int64),
        label_sets=several,
        classes=classes,
        splits=np.array([SPLITS.index(record.split) for record in records], dtype=np.int8),
        notes=(),
    )
    digests = digest_table(found, progress=progress)
    for record, digest in zip(records, digests, strict=True):
        if record.sha256 and record.sha256 != digest:
            raise DataError(
                f"{printable(found.store.locate(record.name))} has changed since training began; bring the data back "
                "as they were, or start a new run"
            )
    return Prepared(table=found, digests=digests, decided=None)

"""WebDataset shards: tar files in which the files of one sample share a path up to the first dot of the file's name.

"train-00000.tar" with 0001.jpg and 0001.cls, 0002.jpg and 0002.cls, ... The label of a sample stands in its .cls file
as a class's number or name, or in its .json file under "label", or in its .txt file as a name. What numbers mean stands
in `classes.txt`, one name a line from number 0 on, beside the shards or in one of them; without it they are the names.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from glob import glob, has_magic
from typing import final

from eyebright.data.archives import unsafe_note
from eyebright.data.folders import class_name, counted, is_image_name, listed, splits_named_in, table_of_labels
from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.data.tars import TarStore, read_tar
from eyebright.errors import DataError, ImageError, printable

_LABEL_KINDS = ("cls", "json", "txt")
_CLASSES = "classes.txt"
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MAX_SHARDS = 100_000


@final
@dataclass(frozen=True, eq=False)
class ShardStore:
    """Images in many tars; names are the tar's, then the path in it: "train-00000.tar/0001.jpg"."""

    shards: Mapping[str, TarStore]
    folder: str

    def read(self, name: str) -> bytes:
        place = name.find("/")
        while place >= 0:
            shard = self.shards.get(name[:place])
            if shard is not None:
                return shard.read(name[place + 1 :])
            place = name.find("/", place + 1)
        raise ImageError(self.locate(name), "is in none of the shards")

    def locate(self, name: str) -> str:
        return os.path.join(self.folder, name)


@dataclass(frozen=True, kw_only=True)
class _Sample:
    name: str
    """In the store."""
    shard: str
    label: str | int
    kind: str


def read_tars(paths: Sequence[str], *, where: str, folder: str, min_classes: int) -> SampleTable:
    """The table of one tar of class folders, or of WebDataset shards; a note says which.

    Args:
        paths: the tars, in order.
        where: what to call them all.
        folder: what names are relative to, and where `classes.txt` may lie.

    Raises:
        DataError: one is damaged, there are several that are no shards, or labels are absent or make no sense.
    """
    shards = {os.path.relpath(path, folder or ".").replace(os.sep, "/"): TarStore(path) for path in paths}
    members = {shard: store.names for shard, store in shards.items()}
    if any(_are_samples(names) for names in members.values()):
        return _read_shards(ShardStore(shards, folder), members, where=where, min_classes=min_classes)
    if len(shards) > 1:
        raise DataError(
            f"{printable(where)}: {len(shards):,} tar files, but their images have no labels beside them (0001.jpg "
            "with 0001.cls); give one tar of class folders, or shards in the WebDataset layout"
        )
    table = read_tar(next(iter(shards.values())), min_classes=min_classes)
    return replace(table, notes=("read as class folders: no labels stand beside the images", *table.notes))


def list_shards(pattern: str) -> list[str]:
    """The files that a pattern names: {00..12} and {train,val} are written out, * and ? are looked up.

    Raises:
        DataError: there are none, one of them is absent, or the pattern names too many.
    """
    found: list[str] = []
    for path in _expand(pattern, pattern):
        matches = sorted(glob(path, recursive=True)) if has_magic(path) and not os.path.exists(path) else [path]
        found += matches
    missing = [path for path in found if not os.path.isfile(path)]
    if missing:
        raise DataError(
            f"{printable(pattern)}: {counted(len(missing), 'file is', 'files are')} not there: {listed(missing)}"
        )
    if not found:
        raise DataError(f"{printable(pattern)}: no file is named so")
    return list(dict.fromkeys(found))


def has_pattern(text: str) -> bool:
    """Whether a path is a pattern of shards."""
    return has_magic(text) or _BRACES.search(text) is not None


def _expand(pattern: str, whole: str) -> list[str]:
    """A pattern with its braces written out."""
    done, waiting = [""], pattern
    while match := _BRACES.search(waiting):
        inner = match.group(1)
        numbers = _RANGE.fullmatch(inner)
        if numbers:
            first, last = numbers.groups()
            if int(last) - int(first) >= _MAX_SHARDS:
                raise DataError(f"{printable(whole)}: names more than {_MAX_SHARDS:,} shards")
            choices = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        else:
            choices = inner.split(",")
        if len(done) * len(choices) > _MAX_SHARDS:
            raise DataError(f"{printable(whole)}: names more than {_MAX_SHARDS:,} shards")
        done = [f"{start}{waiting[: match.start()]}{choice}" for start in done for choice in choices]
        waiting = waiting[match.end() :]
    return [f"{start}{waiting}" for start in done]


def _split_key(name: str) -> tuple[str, str]:
    """ "a/0001.seg.png" -> ("a/0001", "seg.png")."""
    folder, slash, file = name.rpartition("/")
    key, _, kind = file.partition(".")
    return f"{folder}{slash}{key}", kind.lower()


def _are_samples(names: Sequence[str]) -> bool:
    """Whether most images in a tar have a label beside them, so that it is a shard and no tar of class folders."""
    images: set[str] = set()
    folders: set[str] = set()
    labelled: dict[str, set[str]] = {kind: set() for kind in _LABEL_KINDS}
    for name in names:
        key, kind = _split_key(name)
        if kind in labelled:
            labelled[kind].add(key)
        elif is_image_name(name):
            images.add(key)
            folders.add(name.rpartition("/")[0])
    if 2 * len(images & labelled["cls"]) > len(images):
        return True
    # A .txt or .json beside an image may as well be its caption in a class folder.
    return len(folders) == 1 and 2 * len(images & (labelled["json"] | labelled["txt"])) > len(images)


def _read_shards(
    store: ShardStore, members: Mapping[str, Sequence[str]], *, where: str, min_classes: int
) -> SampleTable:
    shown = printable(where)
    samples: list[_Sample] = []
    unlabelled: list[str] = []
    for shard, names in members.items():
        _collect(store, shard, names, samples, unlabelled)
    if not samples:
        raise DataError(f"{shown}: no image has a label beside it (0001.jpg with 0001.cls)")
    of_class, notes = _class_names(samples, _listed_classes(store, members), shown)
    kinds = " and ".join(f".{kind}" for kind in _LABEL_KINDS if any(sample.kind == kind for sample in samples))
    notes.insert(0, f"read as WebDataset shards ({len(members):,}), with the labels in {kinds} files")
    if unlabelled:
        notes.append(f"{counted(len(unlabelled), 'image', 'images')} without a label left out: {listed(unlabelled)}")
    unsafe = [f"{shard}/{name}" for shard, tar in store.shards.items() for name in tar.unsafe]
    if unsafe:
        notes.append(f"left out: {unsafe_note(unsafe)}")
    split_of = dict(zip(members, splits_named_in(list(members)), strict=True))
    splits = [split_of[sample.shard] for sample in samples]
    if UNASSIGNED in splits and set(splits) != {UNASSIGNED}:
        notes.append("some shards do not name a split; their images are divided like those for training")
    return table_of_labels(
        store,
        [sample.name for sample in samples],
        of_class,
        splits=splits,
        notes=notes,
        where=where,
        min_classes=min_classes,
        kind="label",
    )


def _collect(
    store: ShardStore, shard: str, names: Sequence[str], samples: list[_Sample], unlabelled: list[str]
) -> None:
    """Add one shard's labelled images, one for each key."""
    images: dict[str, str] = {}  # key -> name
    labels: dict[str, dict[str, str]] = {}  # key -> kind -> name
    for name in names:
        key, kind = _split_key(name)
        if kind in _LABEL_KINDS:
            labels.setdefault(key, {})[kind] = name
        elif is_image_name(name) and (key not in images or kind.count(".") < _split_key(images[key])[1].count(".")):
            images[key] = name  # of 1.jpg and 1.mask.png it is the first
    for key, name in images.items():
        for kind in _LABEL_KINDS:
            if kind in labels.get(key, {}):
                label = _read_label(store, f"{shard}/{labels[key][kind]}", kind)
                if label is not None:
                    samples.append(_Sample(name=f"{shard}/{name}", shard=shard, label=label, kind=kind))
                    break
        else:
            unlabelled.append(f"{shard}/{name}")


def _read_label(store: ShardStore, name: str, kind: str) -> str | int | None:
    """What a sample's label file says; None for a .json without "label"."""
    place = printable(store.locate(name))
    text = store.read(name).decode("utf-8", "surrogateescape").strip().removeprefix("\ufeff")
    if kind == "json":
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place}: is no valid JSON ({printable(str(error))[:80]})") from None
        label = content.get("label") if isinstance(content, dict) else None
        if label is None:
            return None
        if isinstance(label, bool) or not isinstance(label, str | int):
            raise DataError(f'{place}: "label" must be a class\'s name or number, not {type(label).__name__}')
        text = label.strip() if isinstance(label, str) else ""
        if isinstance(label, int):
            return label
    if not text or "\n" in text or len(text) > 200:
        raise DataError(f"{place}: should hold the name or number of a class, on one line")
    return int(text) if kind == "cls" and re.fullmatch(r"-?[0-9]{1,18}", text) else text


def _listed_classes(store: ShardStore, members: Mapping[str, Sequence[str]]) -> list[str] | None:
    """The names in `classes.txt`, beside the shards or in one of them; None where there is none."""
    beside = os.path.join(store.folder, _CLASSES)
    content = None
    if os.path.isfile(beside):
        with open(beside, "rb") as file:
            content = file.read()
    else:
        for shard, names in members.items():
            if _CLASSES in names:
                content, beside = store.read(f"{shard}/{_CLASSES}"), f"{shard}/{_CLASSES}"
                break
    if content is None:
        return None
    lines = content.decode("utf-8-sig", "surrogateescape").strip().splitlines()
    classes = [class_name(line.strip()) for line in lines]
    if "" in classes or len(set(classes)) < len(classes):
        raise DataError(f"{printable(beside)}: must hold one name a line, each once and none empty")
    return classes


def _class_names(samples: Sequence[_Sample], known: Sequence[str] | None, shown: str) -> tuple[list[str], list[str]]:
    """The class name of each sample, and notes."""
    numbered = all(isinstance(sample.label, int) for sample in samples)
    of_class: list[str] = []
    once: dict[str, str] = {}
    for sample in samples:
        if numbered and known is not None:
            number = int(sample.label)
            if not 0 <= number < len(known):
                raise DataError(
                    f"{shown}: {printable(sample.name)} has the label {number}, but {_CLASSES} lists {len(known)} "
                    "classes, counted from 0"
                )
            name = known[number]
        else:
            name = class_name(str(sample.label))
            if known is not None and name not in known:
                raise DataError(
                    f'{shown}: {printable(sample.name)} has the label "{printable(name)}", '
                    f"which {_CLASSES} does not list"
                )
        of_class.append(once.setdefault(name, name))
    texts = sum(sample.kind == "txt" for sample in samples)
    if texts == len(samples) and len(once) > max(2, len(samples) // 2):
        raise DataError(
            f"{shown}: the .txt files hold {len(once):,} different texts for {len(samples):,} images; these look like "
            "captions, not classes; put each sample's class into a .cls file"
        )
    notes = []
    unused = [name for name in known or () if name not in once]
    if unused:
        notes.append(f"{counted(len(unused), 'class has', 'classes have')} no image and is not used: {listed(unused)}")
    return of_class, notes

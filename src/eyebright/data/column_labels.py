"""Which columns of a file hold images and labels, what the classes are called, and what each row tells.

As in a list of images (see `manifests`), the columns split and group say where a sample belongs, and whatever other
plain columns there are is kept, so that results can be told for each of their values.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eyebright.data.columns import ColumnStore
from eyebright.data.folders import SPLIT_SYNONYMS, class_name, counted, listed, table_of_labels
from eyebright.data.manifests import NEARLY
from eyebright.data.samples import SPLITS, SampleTable
from eyebright.errors import DataError, nearest, printable

_IMAGE_NAMES = ("image", "img", "images", "picture", "photo", "jpg", "png", "bytes")
_PLACES = ("split", "group")
_LABEL_NAMES = ("label", "labels", "class", "fine_label", "target", "cls")


@dataclass(frozen=True, kw_only=True)
class Columns:
    image: str
    label: str
    class_names: tuple[str, ...] | None
    more: tuple[str, ...]
    """Columns to read beside the label: split and group, if they are there, and those to slice by."""


class LabelReader:
    """Collects the labels of one file after the other."""

    def __init__(self, arrow: Any, shown: str) -> None:
        self.notes: list[str] = []
        self._arrow = arrow
        self._shown = shown
        self._names: list[str] = []
        self._labels: list[tuple[str, ...]] = []
        self._splits: list[int] = []
        self._without: list[str] = []
        self._once: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._several = False
        self._more: list[Mapping[str, str]] = []
        self._more_names: dict[str, None] = {}
        self._place_names: dict[str, tuple[str, ...] | None] = {}
        self._texts: dict[str, str] = {}  # a million rows share the few values of their columns

    def choose(self, schema: Any, shown: str, info: Mapping[str, Any]) -> Columns:
        """The columns of images and labels, and the names of the classes."""
        features = _features(schema) or info.get("features") or {}
        if not isinstance(features, dict):
            features = {}
        images = list_image_columns(self._arrow, schema)
        if not images:
            raise DataError(f"{shown}: has the columns {listed(schema.names, limit=8)}, but none of images")
        image = _preferred(images, _IMAGE_NAMES)
        told = [name for name in schema.names if _class_label(features.get(name)) is not None]
        told = [name for name in told if name.strip().lower() not in _PLACES]
        self._place_names = {name: _class_label(features.get(name)) for name in schema.names}
        label = _preferred(told, _LABEL_NAMES) if told else _preferred_or_none(schema.names, _LABEL_NAMES)
        if label is None:
            raise DataError(
                f"{shown}: has the columns {listed(schema.names, limit=8)}, but none of labels; name it label"
            )
        for kind, chosen, found in (("images", image, images), ("labels", label, told)):
            note = f"of the columns of {kind}, {printable(chosen)} is used: {listed(found)}"
            if len(found) > 1 and note not in self.notes:
                self.notes.append(note)
        names = _class_label(features.get(label))
        more = [
            field.name
            for field in schema
            if field.name not in (label, *images, *told)
            and schema.names.count(field.name) == 1
            and not self._arrow.types.is_nested(field.type)
            and not field.name.startswith("__index_level_")
        ]
        folded = [name.strip().lower() for name in more]
        absent = [name for name in _PLACES if name not in folded]
        for name in folded:
            # Taken for one to slice by, a misspelt "group" would let one patient's images be trained and tested on.
            if name not in _PLACES and difflib.get_close_matches(name, absent, n=1, cutoff=NEARLY):
                raise DataError(
                    f'{shown}: unknown column "{printable(name)[:60]}"; {nearest(name, absent)} If not, give it a name '
                    "less like that one"
                )
        return Columns(image=image, label=label, class_names=names or None, more=tuple(more))

    def add(
        self, part: str, labels: Sequence[Any], columns: Columns, split: int, more: Mapping[str, Sequence[Any]]
    ) -> None:
        """Add a file's labels; rows without one are left out.

        Args:
            part: the file.
            labels: one for each row, or a list of them.
            columns: what was chosen of it.
            split: where its name places its rows; a row that tells its own split goes there.
            more: what the other columns tell, row by row.
        """
        self._more_names |= dict.fromkeys(columns.more)
        for row, label in enumerate(labels):
            name = f"{part}: row {row}"
            several = isinstance(label, list)
            self._several |= several
            found = [self._name(value, columns, name) for value in (label if several else [label])]
            known = tuple(dict.fromkeys(value for value in found if value is not None))
            if not known:
                self._without.append(name)
                continue
            self._names.append(name)
            self._labels.append(self._once.setdefault(known, known))
            told = {column: self._text(column, values[row]) for column, values in more.items()}
            self._splits.append(self._split(told, name, split))
            self._more.append({column: self._texts.setdefault(text, text) for column, text in told.items()})

    def table(self, store: ColumnStore, where: str, min_classes: int) -> SampleTable:
        if not self._names:
            raise DataError(f"{self._shown}: no image has a label")
        notes = [*self.notes]
        if self._without:
            notes.append(
                f"{counted(len(self._without), 'image', 'images')} without a label left out: {listed(self._without)}"
            )
        return table_of_labels(
            store,
            self._names,
            [labels[0] for labels in self._labels],
            splits=self._splits,
            groups=self._groups(),
            label_sets=self._labels if self._several else None,
            columns={
                column: tuple(told.get(column, "") for told in self._more)
                for column in self._more_names
                if column.strip().lower() not in _PLACES
            },
            notes=notes,
            where=where,
            min_classes=min_classes,
            kind="label",
        )

    @contextmanager
    def needed_or_left_out(self, column: str) -> Iterator[None]:
        """What can't be read of a column is an error if it says where samples belong, and else left out with a note."""
        try:
            yield
        except DataError as error:
            if column.strip().lower() in _PLACES:
                raise
            self.notes.append(f"the column {printable(column)[:60]} is not used: {error}")

    def _text(self, column: str, value: Any) -> str:
        names = self._place_names.get(column)
        if names and isinstance(value, int) and 0 <= value < len(names):
            return names[value]
        return cell_text(value)

    def _split(self, told: Mapping[str, str], name: str, otherwise: int) -> int:
        text = _place(told, "split").lower()
        if text and text not in SPLIT_SYNONYMS:
            raise DataError(
                f'{self._shown}: {printable(name)} has the split "{printable(text)[:60]}"; use train, val, test, or '
                "leave it empty"
            )
        return SPLITS.index(SPLIT_SYNONYMS[text]) if text else otherwise

    def _groups(self) -> tuple[str, ...] | None:
        """Of each sample; one without is a group of its own. None where no column tells any."""
        if not any(column.strip().lower() == "group" for column in self._more_names):
            return None
        pairs = zip(self._more, self._names, strict=True)
        return tuple(_place(told, "group") or f"\0{name}" for told, name in pairs)

    def _name(self, value: Any, columns: Columns, place: str) -> str | None:
        if value is None or value == -1:  # Hugging Face marks test samples without a label so
            return None
        names = columns.class_names
        if isinstance(value, str):
            return class_name(value.strip()) or None
        if not isinstance(value, int):
            raise DataError(
                f"{self._shown}: {printable(place)} has the label {value!r:.40}; it must be a class's name or number"
            )
        if names is None:
            return str(int(value))
        if not 0 <= value < len(names):
            raise DataError(
                f"{self._shown}: {printable(place)} has the label {value}, but there are {len(names)} classes, "
                "counted from 0"
            )
        return names[value]


def cell_text(value: Any) -> str:
    """What a cell of a plain column says: numbers, truth values and dates as Python writes them, nothing as nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):  # what pandas writes for nothing
        return ""
    if isinstance(value, float) and value.is_integer():  # with a gap in it, a column of whole numbers has floats
        return str(int(value))
    return str(value).strip()


def _place(told: Mapping[str, str], wanted: str) -> str:
    return next((text for column, text in told.items() if column.strip().lower() == wanted), "")


def _features(schema: Any) -> dict[str, Any]:
    """What Hugging Face `datasets` notes about the columns; empty where it did not write the file."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _class_label(feature: Any) -> tuple[str, ...] | None:
    """The names of a ClassLabel, or of a list of them; None for another feature."""
    if isinstance(feature, list) and len(feature) == 1:
        return _class_label(feature[0])
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _class_label(feature.get("feature"))
    names = feature.get("names")
    if feature.get("_type") != "ClassLabel" or not isinstance(names, list):
        return None
    return tuple(class_name(str(name)) for name in names)


def list_image_columns(arrow: Any, schema: Any) -> list[str]:
    """Columns of {bytes, path}, or of plain bytes."""
    return [field.name for field in schema if _bytes_type(arrow, field.type) is not None]


def _bytes_type(arrow: Any, kind: Any) -> str | None:
    """ "struct" or "plain" for a column that holds files, None for another."""
    types = arrow.types
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "plain"
    if types.is_struct(kind):
        inner = [kind.field(i) for i in range(kind.num_fields)]
        if any(field.name == "bytes" and _bytes_type(arrow, field.type) == "plain" for field in inner):
            return "struct"
    return None


def _preferred(names: Sequence[str], known: Sequence[str]) -> str:
    return _preferred_or_none(names, known) or names[0]


def _preferred_or_none(names: Sequence[str], known: Sequence[str]) -> str | None:
    by_name = {name.lower(): name for name in names}
    return next((by_name[name] for name in known if name in by_name), None)

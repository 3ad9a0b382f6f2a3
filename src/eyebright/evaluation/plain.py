"""Frozen dataclasses to plain JSON values and back, checked against their annotations.

Reports are read back from disk, where anyone may have edited them: a wrong key or type is refused by name.
Understood are str, int, float, bool, `X | None`, Literal, `tuple[X, ...]`, `dict[str, X]` and dataclasses of these.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from eyebright.errors import DataError, nearest

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Dataclasses become dicts, tuples become lists; the rest stays."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, (tuple, list)):
        return [to_plain(part) for part in value]
    if isinstance(value, Mapping):
        return {key: to_plain(part) for key, part in value.items()}
    return value


def from_plain(kind: type[T], values: object, where: str) -> T:
    """The dataclass that `to_plain` turned into these values; an entry with a default may be absent, as in older files.

    Args:
        kind: the dataclass.
        values: what `json.load` returned.
        where: what is read, for the message, such as "report".

    Raises:
        DataError: a key is unknown or absent, a value has the wrong type, or a number is not finite.
    """
    if not isinstance(values, Mapping):
        raise DataError(f"{where} should be a table of settings, not {_named(values)}")
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    for key in values:
        if key not in hints:
            raise DataError(f"{where} has no entry {key!r}; {nearest(str(key), hints)}")
    for field in fields(kind):
        key = field.name
        if key not in values and field.default is MISSING and field.default_factory is MISSING:
            raise DataError(f"{where} lacks the entry {key!r}; the file is incomplete or of another version")
    return kind(**{key: _read(hints[key], value, f"{where}.{key}") for key, value in values.items()})


def _read(hint: Any, value: Any, where: str) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value, where)
    if origin is types.UnionType:
        if value is None and type(None) in parts:
            return None
        return _read(next(part for part in parts if part is not type(None)), value, where)
    if origin is tuple and isinstance(value, (list, tuple)):
        return tuple(_read(parts[0], part, f"{where}[{i}]") for i, part in enumerate(value))
    if origin is dict and isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _read(parts[1], part, f"{where}[{key!r}]") for key, part in value.items()}
    if origin is Literal and value in parts:
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise DataError(f"{where} is not a finite number")
        return float(value)
    if hint in (str, bool) and isinstance(value, hint):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    wanted = " or ".join(map(repr, parts)) if origin is Literal else getattr(hint, "__name__", str(hint))
    raise DataError(f"{where} should be {wanted}, not {_named(value)}")


def _named(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"

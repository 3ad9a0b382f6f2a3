"""Settings: frozen dataclasses, filled from a TOML file and `section.key=value` overrides.

A settings class has fields of type bool, int, float, str, tuple[str, ...] (a list of texts), or another settings class
(a section of the file). This file knows no particular setting; the classes stand beside the code they steer.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from eyebright.errors import SettingsError, nearest, printable

S = TypeVar("S")


def load_settings(kind: type[S], *, file: Path | None = None, text: str = "", overrides: Iterable[str] = ()) -> S:
    """Settings from defaults, then a TOML file or its text, then overrides such as "training.lr=0.01"; the last counts.

    Raises:
        SettingsError: the file can't be read, a key is unknown (the nearest is named), or a value has the wrong type.
    """
    values: dict[str, Any] = tomllib.loads(text)
    if file is not None:
        shown = printable(str(file))
        try:
            values = tomllib.loads(file.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise SettingsError(f"the settings file {shown} can't be read: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:  # what tomllib raises, and what it lets through
            raise SettingsError(f"the settings file {shown} is not valid TOML: {error}") from error
    given = deepcopy(values)
    for override in overrides:
        _apply(values, override)
    try:
        return build_settings(kind, values)
    except SettingsError as error:
        if file is not None and _is_refused(kind, given, str(error)):
            raise SettingsError(f"{error} (in {printable(str(file))})") from error
        raise


def _is_refused(kind: type[Any], values: Mapping[str, Any], message: str) -> bool:
    """Whether these values alone are refused, and for that reason."""
    try:
        build_settings(kind, values)
    except SettingsError as error:
        return str(error) == message
    return False


def override_settings(settings: S, overrides: Iterable[str]) -> S:
    """The same settings with overrides such as "training.lr=0.01".

    Raises:
        SettingsError: a key is unknown, or a value has the wrong type or is out of range.
    """
    assert is_dataclass(settings) and not isinstance(settings, type)
    values = asdict(settings)
    for override in overrides:
        _apply(values, override)
    return build_settings(type(settings), values)


def _apply(values: dict[str, Any], override: str) -> None:
    """Put one "section.key=value" into nested dictionaries; the value is read as TOML where it is valid TOML."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise SettingsError(f'"{printable(override)}" is no setting; write it as section.key=value')
    *sections, name = key.strip().split(".")
    place = values
    for section in sections:
        place = place.setdefault(section, {})
        if not isinstance(place, dict):
            raise SettingsError(f"{key.strip()}: {section} is a value, not a section")
    try:
        place[name] = tomllib.loads(f"value = {text.strip()}")["value"]
    except (ValueError, RecursionError):
        place[name] = text.strip()  # a bare word, such as data.fit=crop


def build_settings(kind: type[S], values: Mapping[str, Any], section: str = "") -> S:
    """A settings object from nested plain values; what is left out keeps its default.

    Raises:
        SettingsError: an unknown key (the nearest is named), or a value of the wrong type.
    """
    assert is_dataclass(kind)
    types = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise SettingsError(f'there is no setting "{printable(section + key)}"; {nearest(key, known)}')
        arguments[key] = _convert(types[key], value, section + key)
    return kind(**arguments)


def _convert(kind: Any, value: Any, key: str) -> Any:
    if is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise SettingsError(f"{key} is a section, not a value; write its settings as {key}.name")
        assert isinstance(kind, type)
        return build_settings(kind, value, section=f"{key}.")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**1000 else math.inf
    if kind == tuple[str, ...]:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise SettingsError(f"{key} must be a list of texts, not {value!r}")
        return tuple(texts)
    if type(value) is not kind:
        raise SettingsError(f"{key} must be {_TYPE_NAMES[kind]}, not {value!r}")
    return value


_TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def to_toml(settings: Any) -> str:
    """The settings as a TOML file that `load_settings` reads back, with every value written out."""
    lines: list[str] = []
    sections: list[tuple[str, dict[str, Any]]] = []
    for key, value in asdict(settings).items():
        if isinstance(value, dict):
            sections.append((key, value))
        else:
            lines.append(f"{key} = {toml_value(value)}")
    for name, values in sections:
        lines += ["", f"[{name}]"]
        lines += [f"{key} = {toml_value(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def toml_value(value: bool | int | float | str | tuple[str, ...]) -> str:
    """A value as TOML writes it, such as a text in quotes."""
    # JSON's texts, numbers and booleans are TOML's too, but for the character DEL, for pairs of surrogates (so nothing
    # is escaped that need not be), and for lone ones, which no text file can hold.
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f").encode("utf-8", "replace").decode("utf-8")

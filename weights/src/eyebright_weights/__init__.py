"""Starter weights for Eyebright: data only, found by name.

    >>> from eyebright_weights import names, path
    >>> names()
    ('resnet50', 'vgg16')

Each file is a safetensors file whose int8 tensors have a float32 `NAME.scale` beside them, one for each output channel:
value = int8 * scale. Origin and licence: the NOTICE of this package, and the metadata of each file.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

__all__ = ["names", "path", "sha256"]

_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The networks that there are weights for."""
    return tuple(sorted(_hashes()))


def path(name: str) -> Path:
    """The safetensors file of one network.

    Raises:
        KeyError: there is none by that name.
    """
    return _FOLDER / f"{_known(name)}.safetensors"


def sha256(name: str) -> str:
    """The sha256 that the file was published with, 64 hexadecimal digits.

    Raises:
        KeyError: there is none by that name.
    """
    return _hashes()[_known(name)]


def _known(name: str) -> str:
    if name not in _hashes():
        raise KeyError(f"no starter weights for {name!r}; there are {', '.join(names())}")
    return name


@cache
def _hashes() -> dict[str, str]:
    found: dict[str, str] = json.loads((_FOLDER / "sha256.json").read_text(encoding="utf-8"))
    return found

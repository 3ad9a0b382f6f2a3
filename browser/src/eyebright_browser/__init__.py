"""ONNX Runtime Web for Eyebright's pages: data only, found by name.

    >>> from eyebright_browser import names
    >>> names()
    ('LICENSE.txt', 'ort-wasm-simd-threaded.wasm.gz', 'ort.wasm.bundle.min.mjs', 'third-party-notices.txt.gz')

Origin and licence: the NOTICE of this package.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

__all__ = ["VERSION", "names", "path", "sha256"]

VERSION = "1.30.0"
"""Of onnxruntime-web."""
_FOLDER = Path(__file__).parent


def names() -> tuple[str, ...]:
    """The files that there are."""
    return tuple(sorted(_hashes()))


def path(name: str) -> Path:
    """Where one of the files is.

    Raises:
        KeyError: there is none by that name.
    """
    sha256(name)
    return _FOLDER / name


def sha256(name: str) -> str:
    """The sha256 that the file was published with, 64 hexadecimal digits.

    Raises:
        KeyError: there is none by that name.
    """
    if name not in _hashes():
        raise KeyError(f"there is no {name!r} here; there are {', '.join(names())}")
    return _hashes()[name]


@cache
def _hashes() -> dict[str, str]:
    found: dict[str, str] = json.loads((_FOLDER / "sha256.json").read_text(encoding="utf-8"))
    return found

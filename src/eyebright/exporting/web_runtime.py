"""ONNX Runtime Web, as the package eyebright-browser brings it: whole, or refused. No torch here."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from eyebright.errors import ExportError

PACKAGE = "eyebright_browser"
_SCRIPT, _WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm.gz"
_LICENCE, _NOTICES = "LICENSE.txt", "third-party-notices.txt.gz"


@dataclass(frozen=True, kw_only=True, eq=False)
class WebRuntime:
    """What a page needs to run a network."""

    version: str
    """Of onnxruntime-web."""
    script: str
    """A JavaScript module."""
    wasm: bytes
    """What the module runs, compressed by gzip."""
    licence: str
    """Its text."""
    notices: bytes
    """Those of everything compiled into it, compressed by gzip."""


def read_runtime() -> WebRuntime:
    """The files of the installed package.

    Raises:
        ExportError: it is not installed, or a file of it is absent or altered.
    """
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError as error:
        if error.name != PACKAGE:
            raise
        raise ExportError(
            "a page needs ONNX Runtime Web, and the package eyebright-browser that brings it is not installed; "
            "from a checkout: pip install ./browser"
        ) from error
    script, wasm, notices, licence = (_read(package, name) for name in (_SCRIPT, _WASM, _NOTICES, _LICENCE))
    return WebRuntime(
        version=package.VERSION, script=script.decode(), wasm=wasm, licence=licence.decode(), notices=notices
    )


def _read(package: ModuleType, name: str) -> bytes:
    path: Path = package.path(name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExportError(
            f"{path} can't be read: {error.strerror or error}; install eyebright-browser again"
        ) from error
    if hashlib.sha256(content).hexdigest() != package.sha256(name):
        raise ExportError(f"{path} is not as it was published; install eyebright-browser again")
    return content

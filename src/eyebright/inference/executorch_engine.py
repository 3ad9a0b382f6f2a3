"""Running a program that was exported for ExecuTorch, as a phone would run it; its Python runtime needs torch.

Shapes: N images, C channels, S side that the network sees, D embedding width, K classes.
"""

from __future__ import annotations

import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, suppress
from threading import Lock
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from eyebright.bundle.engines import EXECUTORCH
from eyebright.bundle.manifest import WEIGHTS, Manifest
from eyebright.errors import BundleError, MissingExtraError, printable

ABOUT, FORWARD = "about", "forward"
"""The program's methods: one says, as JSON, what it is; the other takes pixels and gives logits and embedding."""
_LOCK = Lock()


@final
class ExecutorchEngine:
    """A program that `eyebright export` wrote: normalisation is inside it.

    Args:
        content: of the .pte file.
        manifest: of the bundle that it belongs to.
        name: what `--engine` calls it.
        shown: the file, for messages.

    Raises:
        BundleError: the file is no such program, or was exported from another network.
        MissingExtraError: executorch is not installed.
    """

    def __init__(self, content: bytes, manifest: Manifest, *, name: str = EXECUTORCH, shown: str = "") -> None:
        self.name = name
        runtime = import_runtime()
        try:
            with _quiet():
                self._program = runtime.get().load_program(content)
                told = json.loads(self._program.load_method(ABOUT).execute([])[0])
                self._method = self._program.load_method(FORWARD)
                pixels, logits = (
                    self._method.metadata.input_tensor_meta(0),
                    self._method.metadata.output_tensor_meta(0),
                )
            about = dict(told)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            reason = str(error).partition("\n")[0][:120].rstrip(".")
            raise BundleError(f"{shown} can't be run by ExecuTorch ({reason}); export again") from None
        self._most, *shape = pixels.sizes()
        side, channels, classes = (
            manifest.preprocessing.image_size,
            manifest.preprocessing.channels,
            manifest.class_names,
        )
        fits = shape == [channels, side, side] and logits.sizes()[1] == len(classes)
        if not fits or about.get("classes") != list(classes):
            raise BundleError(f"{shown} is not a program that Eyebright exported from this classifier; export again")
        if about.get("weights_sha256") != manifest.files.get(WEIGHTS):
            raise BundleError(f"{shown} was exported from other weights than the bundle's; export again")

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels (N, C, S, S) -> logits (N, K)."""
        return self.run_and_embed(images)[0]

    def run_and_embed(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels (N, C, S, S) -> logits (N, K) and embeddings (N, D); more than the program has room for in parts."""
        logits, embeddings = [], []
        for start in range(0, len(images), self._most):
            part = np.array(images[start : start + self._most], order="C")
            found = self._method.execute([torch.from_numpy(part)])
            # Copied: the next part is written to the same place.
            logits.append(found[0].numpy().copy())
            embeddings.append(found[1].numpy().copy())
        return np.concatenate(logits), np.concatenate(embeddings)


def import_runtime() -> Any:
    """ExecuTorch's `Runtime`, without what it says while it is imported.

    Raises:
        MissingExtraError: it is not installed, or does not fit the torch that is.
    """
    try:
        with _quiet():
            from executorch.runtime import Runtime
    except ImportError as error:
        reason = "" if isinstance(error, ModuleNotFoundError) else printable(str(error).partition("\n")[0])[:200]
        raise MissingExtraError("ExecuTorch", "executorch", reason) from error
    return Runtime


@contextmanager
def without_warnings() -> Iterator[None]:
    """Without what ExecuTorch and what it brings warn of: nothing that a user could change."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """The same, and without what is written past Python to standard error while it looks at the processor; for moments
    only, since this is the whole process's."""
    with _LOCK, without_warnings(), ExitStack() as undone:
        with suppress(OSError):  # where standard error is closed there is nothing to keep quiet
            kept = os.dup(2)
            undone.callback(os.close, kept)
            undone.callback(os.dup2, kept, 2)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            undone.callback(os.close, nowhere)
            os.dup2(nowhere, 2)
        undone.enter_context(redirect_stderr(io.StringIO()))
        yield

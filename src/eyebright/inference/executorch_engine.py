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
from contextlib import contextmanager, redirect_stderr
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from eyebright.bundle.engines import EXECUTORCH
from eyebright.bundle.manifest import WEIGHTS, Manifest
from eyebright.errors import BundleError

ABOUT, FORWARD = "about", "forward"
"""The program's methods: one says, as JSON, what it is; the other takes pixels and gives logits and embedding."""


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
        ModuleNotFoundError: executorch is not installed.
    """

    def __init__(self, content: bytes, manifest: Manifest, *, name: str = EXECUTORCH, shown: str = "") -> None:
        self.name = name
        try:
            with quiet():
                from executorch.runtime import Runtime

                self._program = Runtime.get().load_program(content)
                told = json.loads(self._program.load_method(ABOUT).execute([])[0])
                self._method = self._program.load_method(FORWARD)
                pixels = self._method.metadata.input_tensor_meta(0)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError) as error:
            reason = str(error).partition("\n")[0][:120].rstrip(".")
            raise BundleError(f"{shown} can't be run by ExecuTorch ({reason}); export again") from None
        self._most, *shape = pixels.sizes()
        side, channels = manifest.preprocessing.image_size, manifest.preprocessing.channels
        if shape != [channels, side, side] or told.get("classes") != list(manifest.class_names):
            raise BundleError(f"{shown} is not a program that Eyebright exported from this classifier; export again")
        if told.get("weights_sha256") != manifest.files.get(WEIGHTS):
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


@contextmanager
def quiet() -> Iterator[None]:
    """Without what ExecuTorch and what it brings warn of, and write past Python to standard error while they look at
    the processor: nothing that a user could change."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
        logging.disable(before)

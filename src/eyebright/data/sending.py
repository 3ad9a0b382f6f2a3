"""From NumPy to the device that computes: pixels travel as bytes, and the program goes on while a GPU fetches them.

Shapes: N images, C channels, S side that the network sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eyebright.preprocess import Preprocessing

_SETTING = RLock()


def send(array: NDArray[Any], device: str) -> Tensor:
    """An array as a tensor on a device; on a CPU they share memory."""
    if device.startswith("cuda"):
        # Only from pinned memory, and only in one piece, does a GPU fetch by itself.
        return torch.from_numpy(np.ascontiguousarray(array)).pin_memory().to(device, non_blocking=True)
    return torch.from_numpy(array).to(device)


def send_normalised(images: NDArray[Any], preprocessing: Preprocessing, device: str) -> Tensor:
    """(N, S, S, C) uint8 -> float32 (N, C, S, S) on a device, channels last, as `Preprocessing.normalise` gives it."""
    if not device.startswith("cuda"):
        return send(preprocessing.normalise(images), device)
    scale, shift = (send(part, device) for part in preprocessing.scale_and_shift)
    # A quarter of the bytes; the GPU is faster at the rest, too.
    return send(images, device).float().mul_(scale).add_(shift).permute(0, 3, 1, 2)


@contextmanager
def float32_as(precision: str) -> Iterator[None]:
    """How GPUs multiply float32 inside the block: "ieee", exactly, or "tf32", with 10 bits and several times as fast.

    torch keeps that for the whole process: such blocks of two threads must not overlap, but see `exactly`.
    """
    backends: Any = torch.backends
    settings = (backends.cuda.matmul, backends.cudnn.conv)
    with _SETTING:
        before = [setting.fp32_precision for setting in settings]
        for setting in settings:
            setting.fp32_precision = precision
    try:
        yield
    finally:
        with _SETTING:
            for setting, was in zip(settings, before, strict=True):
                setting.fp32_precision = was


@contextmanager
def exactly() -> Iterator[None]:
    """GPUs multiply float32 exactly inside the block, and no other thread changes that; such blocks must be short."""
    with _SETTING, float32_as("ieee"):
        yield

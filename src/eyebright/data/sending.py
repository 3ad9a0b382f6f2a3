"""From NumPy to the device that computes: pixels travel as bytes, and copies to a GPU overlap with its work.

Shapes: N images, C channels, S side that the network sees.
"""

from __future__ import annotations

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from eyebright.preprocess import Preprocessing


def send(array: NDArray[Any], device: str) -> Tensor:
    """An array as a tensor on a device; on a CPU they share memory."""
    tensor = torch.from_numpy(array)
    if device.startswith("cuda"):
        # Only from pinned memory does a GPU fetch by itself while the program goes on.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def send_normalised(images: NDArray[Any], preprocessing: Preprocessing, device: str) -> Tensor:
    """(N, S, S, C) uint8 -> float32 (N, C, S, S) on a device, channels last, as `Preprocessing.normalise` gives it."""
    if not device.startswith("cuda"):
        return send(preprocessing.normalise(images), device)
    scale, shift = (send(part, device) for part in preprocessing.scale_and_shift)
    # A quarter of the bytes; the GPU is faster at the rest, too.
    return send(images, device).float().mul_(scale).add_(shift).permute(0, 3, 1, 2)

"""Running a network with torch.

Shapes: N images, C channels, S side that the network sees, D embedding width, K classes.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyebright.models.layers import fold_batch_norm
from eyebright.models.protocol import Network


@final
class TorchEngine:
    """A copy of a network in evaluation mode, BatchNorm folded, channels last, float32.

    An image's logits may differ by rounding (about 1e-6) with the number of images that run beside it.

    Args:
        model: a network of the catalogue; it is not changed.
        device: a torch device.
    """

    def __init__(self, model: nn.Module, *, device: str = "cpu") -> None:
        self._model = fold_batch_norm(model).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = device

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C, S, S) -> (N, K)."""
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(device=self._device, memory_format=torch.channels_last)
            logits: NDArray[np.float32] = self._model(batch).float().cpu().numpy()
            return logits

    def run_with_embeddings(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(N, C, S, S) -> (N, K) and (N, D)."""
        assert isinstance(self._model, Network)
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(device=self._device, memory_format=torch.channels_last)
            embeddings = self._model.embed(batch)
            logits = self._model.head(embeddings)
            return logits.float().cpu().numpy(), embeddings.float().cpu().numpy()

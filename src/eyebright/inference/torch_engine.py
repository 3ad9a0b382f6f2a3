"""Running a network with torch. Shapes: N images, C channels, S side that the network sees, D, K classes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.bundle.engines import TORCH, TORCH_BF16, TORCH_CUDA
from eyebright.data.sending import exactly, send
from eyebright.memory import with_fewer
from eyebright.models.layers import fold_batch_norm, lay_channels_last
from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing

CALLS_WITH_FEWER = 100
"""After memory ran out: so many calls take no more images at once than there was room for."""


@final
class TorchEngine:
    """A copy of a network in evaluation mode, BatchNorm folded, channels last, in float32 or bfloat16.

    An image's logits may differ by rounding (about 1e-6) with the number of images that run beside it.

    Args:
        model: a network of the catalogue; it is not changed.
        preprocessing: how pixels are normalised.
        device: a torch device.
        bfloat16: compute in bfloat16, two to three times as fast where the hardware does it; see `computes_bfloat16`.
    """

    def __init__(
        self, model: nn.Module, preprocessing: Preprocessing, *, device: str = "cpu", bfloat16: bool = False
    ) -> None:
        self._type = torch.bfloat16 if bfloat16 else torch.float32
        laid = lay_channels_last(fold_batch_norm(model).to(device, self._type))
        assert isinstance(laid, Network)
        self._model = laid
        self._device = device
        scale, shift = preprocessing.scale_and_shift
        self._scale, self._shift = (torch.from_numpy(v).to(device).view(1, -1, 1, 1) for v in (scale, shift))
        on_gpu = device.startswith("cuda")
        self.name = TORCH_BF16 if bfloat16 else TORCH_CUDA if on_gpu else TORCH
        # A GPU would round float32 to 10 bits, and so answer otherwise than what was trained and saved.
        self._exactly: Callable[[], AbstractContextManager[None]] = exactly if on_gpu else nullcontext
        self._most: int | None = None
        """How many images at once there was room for, if it ran out lately."""
        self._calls = 0
        """How many more calls that holds for: whoever else had the memory may be gone."""

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels (N, C, S, S) -> logits (N, K)."""
        return self.run_and_embed(images)[0]

    def run_and_embed(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Pixels (N, C, S, S) -> logits (N, K) and embeddings (N, D); fewer at once where memory runs out.

        Raises:
            TooLittleMemoryError: memory ran out with a single image.
        """
        count = max(1, len(images))

        def run(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            if size >= count:
                return self._run(images)
            parts = [self._run(images[start : start + size]) for start in range(0, count, size)]
            logits, embeddings = zip(*parts, strict=True)
            return np.concatenate(logits), np.concatenate(embeddings)

        def remember(size: int) -> None:
            self._most, self._calls = size, CALLS_WITH_FEWER

        self._calls -= 1
        most = self._most if self._calls > 0 and self._most is not None else count
        found, _ = with_fewer(run, min(count, most), remember)
        return found

    @torch.inference_mode()
    def _run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Some images at once."""
        given = images if images.flags.writeable else images.copy(order="K")  # torch warns of what it can't write to
        if self.name == TORCH_CUDA:  # as they lie in memory, which is the fastest way there
            pixels = send(np.moveaxis(given, 1, 3), self._device).permute(0, 3, 1, 2)
        else:
            pixels = torch.from_numpy(given).to(device=self._device, memory_format=torch.channels_last)
        batch = (pixels.float() * self._scale + self._shift).to(self._type)
        with self._exactly():
            embedding = self._model.embed(batch)
            logits: Tensor = self._model.head(embedding)
        return logits.float().cpu().numpy(), embedding.float().cpu().numpy()


def count_gpus() -> int:
    """How many GPUs there are that torch can use: of NVIDIA, or of AMD with a torch for ROCm."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0

"""The backbone over many images, once: (N, R, R, C) uint8 squares -> (N, D) embeddings.

Shapes: N images, R side of a square, S side that the network sees, C channels, D embedding width.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.models.layers import fold_batch_norm
from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress, SilentProgress


def embed(
    model: nn.Module,
    squares: NDArray[np.uint8],
    rows: NDArray[np.int64],
    preprocessing: Preprocessing,
    *,
    batch_size: int = 32,
    device: str = "cpu",
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """The embeddings of some rows of a table of squares; the model itself is not changed.

    Args:
        model: a network of the catalogue; a copy of it runs in evaluation mode, BatchNorm folded, channels last, in
            bfloat16 where the processor computes in it.
        squares: (N, R, R, C) uint8.
        rows: (M,) which of them, in which order.
        preprocessing: crops and normalises.
        batch_size: how many images run at once; another number changes results by rounding only.
        device: a torch device.
        progress: shown in images; its `stop_requested` raises KeyboardInterrupt.

    Returns:
        (M, D) float32.
    """
    progress = progress or SilentProgress()
    backbone = fold_batch_norm(model).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert isinstance(backbone, Network)
    embeddings = np.empty((len(rows), backbone.embedding_width), dtype=np.float32)
    progress.start("looking at the images", len(rows))
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=computes_bfloat16(device)):
        for start in range(0, len(rows), batch_size):
            if progress.stop_requested:
                raise KeyboardInterrupt
            batch = preprocessing.normalise(preprocessing.crop(squares[rows[start : start + batch_size]]))
            found: Tensor = backbone.embed(torch.from_numpy(batch).to(device))
            embeddings[start : start + len(batch)] = found.float().cpu().numpy()
            progress.advance(start + len(batch))
    progress.finish()
    return embeddings


def computes_bfloat16(device: str) -> bool:
    """Whether a device multiplies bfloat16 in hardware; elsewhere it would be emulated, and slower than float32."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not device.startswith("cpu"):
        return False
    flags = _cpu_flags()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _cpu_flags() -> frozenset[str]:
    """What the processor says it can do, where the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("flags"):
                    return frozenset(line.split(":", 1)[1].split())
    except OSError:
        pass
    return frozenset()

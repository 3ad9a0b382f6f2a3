"""The backbone over many images, once: (N, R, R, C) uint8 squares -> (N, D) embeddings.

Shapes: N images, R side of a square, S side that the network sees, C channels, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.data.sending import send_normalised
from eyebright.distributed.ranks import Ranks
from eyebright.memory import with_fewer
from eyebright.models.layers import fold_batch_norm, lay_channels_last
from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing
from eyebright.processor import has_bfloat16
from eyebright.progress import Progress, SilentProgress


@dataclass(kw_only=True)
class EmbeddingsSoFar:
    """What is done of a long look, so that it can be gone on with."""

    embeddings: NDArray[np.float32]
    """(M, D); rows that are still to come are zero, as are those that another rank looks at."""
    done: int = 0
    """How many rows, from the first, are done."""


def embed(
    model: nn.Module,
    squares: NDArray[np.uint8],
    rows: NDArray[np.int64],
    preprocessing: Preprocessing,
    *,
    batch_size: int | None = None,
    device: str = "cpu",
    bfloat16: bool | None = None,
    ranks: Ranks | None = None,
    so_far: EmbeddingsSoFar | None = None,
    keep: Callable[[EmbeddingsSoFar, bool], object] = lambda _, __: None,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """The embeddings of some rows of a table of squares; the model itself is not changed.

    Args:
        model: a network of the catalogue; a copy of it runs in evaluation mode, BatchNorm folded, channels last.
        squares: (N, R, R, C) uint8.
        rows: (M,) which of them, in which order.
        preprocessing: crops and normalises.
        batch_size: how many images run at once; another number changes results by rounding only. By default 32, and
            on a GPU 256. Where memory runs out it is halved, and that is said.
        device: a torch device.
        bfloat16: whether to compute in it; None where the processor does.
        ranks: the processes that look together: each takes whole batches, so the result is the same bit for bit.
        so_far: where an earlier look was, to go on from there.
        keep: given what is done so far before each batch, and whether a stop was requested.
        progress: shown in images; its `stop_requested` raises KeyboardInterrupt, after `keep`.

    Returns:
        (M, D) float32, on every rank.

    Raises:
        TooLittleMemoryError: memory ran out with a single image.
    """
    progress, ranks = progress or SilentProgress(), ranks or Ranks()
    backbone = lay_channels_last(fold_batch_norm(model).to(device))
    assert isinstance(backbone, Network)
    if so_far is None:
        so_far = EmbeddingsSoFar(embeddings=np.zeros((len(rows), backbone.embedding_width), dtype=np.float32))
    if bfloat16 is None:
        bfloat16 = computes_bfloat16(device)
    if batch_size is None:
        batch_size = 256 if device.startswith("cuda") else 32
    together, at_once = batch_size * ranks.size, batch_size

    def show(done: int) -> NDArray[np.uint8]:
        """This rank's share of what comes after so many rows, as the network sees it."""
        start = done + ranks.rank * batch_size
        return preprocessing.crop(squares[rows[start : start + batch_size]])

    def look(seen: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
        found = []
        for first in range(0, len(seen), size):
            answers: Tensor = backbone.embed(send_normalised(seen[first : first + size], preprocessing, device))
            found.append(answers.float().cpu().numpy())
        return np.concatenate(found)

    def say_fewer(size: int) -> None:
        progress.warn(f"out of memory: on with {size} image{'s' * (size > 1)} at once")

    progress.start("looking at the images", len(rows))
    # A GPU looks at some while a thread takes the next from the table; a CPU has enough to do.
    pool = ThreadPoolExecutor(1, thread_name_prefix="show") if device.startswith("cuda") else None
    with (
        pool or nullcontext(),
        torch.inference_mode(),
        torch.autocast(device.split(":")[0], torch.bfloat16, enabled=bfloat16),
    ):
        shown = None if pool is None else pool.submit(show, so_far.done)
        while so_far.done < len(rows):
            (stop,) = ranks.any(progress.stop_requested)
            keep(so_far, stop)
            if stop:
                raise KeyboardInterrupt
            seen = show(so_far.done) if shown is None else shown.result()
            shown = None if pool is None else pool.submit(show, so_far.done + together)
            start = so_far.done + ranks.rank * batch_size
            if len(seen):
                found, at_once = with_fewer(partial(look, seen), at_once, say_fewer)
                so_far.embeddings[start : start + len(seen)] = found
            so_far.done = min(so_far.done + together, len(rows))
            progress.advance(so_far.done)
    progress.finish()
    return put_together(so_far.embeddings, ranks)


def put_together(embeddings: NDArray[np.float32], ranks: Ranks) -> NDArray[np.float32]:
    """What all ranks have found, each of which has zeros where another has looked."""
    if ranks.size == 1:
        return embeddings
    whole = torch.from_numpy(embeddings.copy())
    ranks.add(torch.split(whole, 4096))
    return whole.numpy()


def computes_bfloat16(device: str) -> bool:
    """Whether a device multiplies bfloat16 in hardware; elsewhere it would be emulated, and slower than float32."""
    if device.startswith("cuda"):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if not device.startswith("cpu"):
        return False
    return has_bfloat16()

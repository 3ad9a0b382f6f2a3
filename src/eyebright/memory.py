"""When memory runs out: fewer samples at once, and the same result."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from eyebright.errors import EyebrightError

T = TypeVar("T")

_SIGNS = (
    *("can't allocate memory", "cannot allocate memory", "out of memory", "not enough memory"),
    # oneDNN, of a convolution's scratch space.
    *("could not create a primitive", "could not create a memory"),
    # A GPU's libraries find no room for what they work with; cuDNN 9 says "…_DEVICE_ALLOCATION_FAILED".
    *("cudnn_status_alloc_failed", "cublas_status_alloc_failed", "allocation_failed", "cublas_status_not_initialized"),
    *("unable to find an engine to execute", "unable to find a valid cudnn algorithm"),
)


class TooLittleMemoryError(EyebrightError):
    """Not even one sample fits into memory."""


def with_fewer(work: Callable[[int], T], most: int, say: Callable[[int], object]) -> tuple[T, int]:
    """Do some work on so many samples at once, and on half as many each time that memory runs out.

    Args:
        work: called with how many samples to take at once; it must be able to begin anew.
        most: how many to begin with.
        say: told how many are tried next.

    Returns:
        What `work` returned, and how many samples at once it could take.

    Raises:
        TooLittleMemoryError: memory ran out with a single sample.
    """
    while True:
        try:
            return work(most), most
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # Only here, where the error and all that it held on to are gone, is there room again.
        if most <= 1:
            raise TooLittleMemoryError(
                "out of memory with a single image at a time; try smaller images, such as --set data.image_size=128, "
                "or a smaller network"
            )
        most = max(1, most // 2)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        say(most)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a processor's or GPU's memory is used up."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = str(error).lower()
    return any(sign in words for sign in _SIGNS)

"""What becomes of memory that is given back. The command line may decide that, since the whole process is its own.

A step of training on a CPU frees about a gigabyte and asks for it again. In between, glibc hands it to the system and
gets it anew, page by page, each filled with zeros first: a fifth of a step of ResNet-50 in float32 (docs/log.md).
"""

from __future__ import annotations

import ctypes
import os

# The numbers of mallopt's options in glibc's malloc.h, and "never" for both.
_TRIM_THRESHOLD, _NEVER_TRIM = -1, -1
_MMAP_MAX, _NEVER_MAP = -4, 0


def keep_freed_memory() -> bool:
    """Let the process keep what it frees for what it needs next; the most that it needs at a time stays the same.

    Nothing is changed where the C library is not glibc, or where the environment tells it what to do.

    Returns:
        Whether it was arranged.
    """
    told = os.environ.get("GLIBC_TUNABLES", "")
    if "malloc" in told or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        library = ctypes.CDLL(None)
        if not hasattr(library, "gnu_get_libc_version"):
            return False
        return bool(library.mallopt(_TRIM_THRESHOLD, _NEVER_TRIM) and library.mallopt(_MMAP_MAX, _NEVER_MAP))
    except (OSError, AttributeError, TypeError):  # Windows has no library without a name
        return False

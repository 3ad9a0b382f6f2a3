"""A lock that only a living process holds: one that is killed lets it go. No torch here."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform != "win32":  # there, two processes at one thing are not noticed
    import fcntl

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)
"""What a system says of a lock that another holds; anything else means that it can't lock there at all."""


@contextmanager
def locked(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock file `path` while the block runs; it is gone afterwards.

    Args:
        path: the lock file; its folder must exist.
        wait: until another process, or another thread, lets it go.

    Raises:
        BlockingIOError: another holds it, and there is to be no waiting.
        OSError: the file can't be made, or there are no locks there.
    """
    if sys.platform == "win32":
        yield
        return
    file = _take(path, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        file.close()


def is_locked(path: Path) -> bool:
    """Whether another holds the lock file."""
    if sys.platform == "win32":
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        return error.errno in _HELD
    return False


def _take(path: Path, how: int) -> IO[bytes]:
    """The open file that has the lock and is still the one of that name."""
    while True:
        file = path.open("ab")
        try:
            fcntl.flock(file.fileno(), how)
        except OSError as error:
            file.close()
            if error.errno not in _HELD:
                raise
            raise BlockingIOError(error.errno, error.strerror) from error
        with suppress(OSError):
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        file.close()  # it was removed by its last holder in between

"""The folder of what can be computed again and is kept so that it need not be: files of limited size together.

A file carries what it is in its first 64 bytes, and its name is made of everything that decides what is in it. It
grows as NAME.UNIQUE.part under a lock that dies with its process, and takes its name when it is whole; two processes
that want the same one each write it, and the second replaces the first. What a killed process left is told by its
lock, which nobody holds. Whether a file's content is right is for its reader to check: see `disk_cache` and
`checking.kept_looks`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import struct
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, final

import PIL
import simplejpeg

from eyebright.errors import SettingsError, printable

FOLDER = "squares"  # in the folder of everything that can be fetched or computed again
LIMIT_VARIABLE = "EYEBRIGHT_CACHE_GB"
DEFAULT_LIMIT = 10_000_000_000  # bytes
SHARE_OF_DISK = 0.25  # of what is free, the cache's own files counted as free
GIGABYTE = 1_000_000_000
SQUARES, LOOKS, PART = ".squares", ".looks", ".part"

_HEADER = struct.Struct("<8sQII32s8x")
_MAGIC = {SQUARES: b"EYESQR01", LOOKS: b"EYELOK01"}
_ABANDONED_AFTER = 86_400.0  # seconds; where there are no locks to tell


@dataclass(frozen=True, kw_only=True)
class KeptFile:
    """A file of the cache, as `eyebright cache` shows it."""

    path: Path
    kind: str
    """SQUARES or LOOKS; empty if its header can't be read."""
    num_images: int
    side: int
    """R in pixels; 0 where there are no pixels in it."""
    size_bytes: int
    used: float
    """When it was last used, in seconds since 1970."""
    state: str
    """"whole", "being built" or "unfinished"."""


@final
@dataclass(frozen=True)
class KeptFiles:
    """A folder of limited size: the least recently used files go first.

    Args:
        folder: is made when needed, by who writes into it.
        limit: in bytes; None takes $EYEBRIGHT_CACHE_GB, or 10 GB but never more than a quarter of what is free.
    """

    folder: Path
    limit: int | None = None

    def limit_bytes(self) -> int:
        """How much all files together may take.

        Raises:
            SettingsError: $EYEBRIGHT_CACHE_GB is no number.
        """
        if self.limit is not None:
            return self.limit
        wanted = os.environ.get(LIMIT_VARIABLE, "").strip()
        if wanted:
            try:
                value = float(wanted)
                if value >= 0:
                    return int(min(value * GIGABYTE, 1 << 62))
            except (ValueError, OverflowError):
                pass
            raise SettingsError(
                f'{LIMIT_VARIABLE} is "{printable(wanted)}"; it is a number of gigabytes, 0 for no cache'
            )
        own = sum(file.size_bytes for file in self.list_files())
        return int(min(DEFAULT_LIMIT, SHARE_OF_DISK * (own + _free_bytes(self.folder))))

    def list_files(self) -> tuple[KeptFile, ...]:
        """Every file, the last used first."""
        found = []
        for path in self.paths():
            with contextlib.suppress(OSError):  # gone in the meantime
                about = path.stat()
                with path.open("rb") as file:
                    header = Header.read(file)
                    state = "whole" if path.suffix != PART else "unfinished" if is_dead(path, file) else "being built"
                found.append(
                    KeptFile(
                        path=path,
                        kind=header.kind if header else "",
                        num_images=header.count if header else 0,
                        side=header.side if header else 0,
                        size_bytes=about.st_size,
                        used=about.st_mtime,
                        state=state,
                    )
                )
        return tuple(sorted(found, key=lambda file: (-file.used, file.path)))

    def paths(self) -> Iterator[Path]:
        """Our own files in the folder, whole or not, by name."""
        try:
            yield from sorted(path for path in self.folder.iterdir() if path.suffix in (SQUARES, LOOKS, PART))
        except (FileNotFoundError, NotADirectoryError):
            return

    def clear(self) -> tuple[KeptFile, ...]:
        """Remove every file but those that are being built; returns what was removed."""
        return tuple(file for file in self.list_files() if file.state != "being built" and remove(file.path))

    def evict(self, room: int) -> None:
        """Remove the least recently used files until all together take at most `room` bytes."""
        files = self.list_files()
        total = sum(file.size_bytes for file in files)
        for file in reversed(files):
            if total <= room:
                break
            if file.state != "being built" and remove(file.path):
                total -= file.size_bytes


@dataclass(frozen=True, kw_only=True)
class Header:
    """The first 64 bytes of a file: what it is, N, R, C, and the key of all that decides what stands in it."""

    kind: str
    """SQUARES or LOOKS."""
    count: int
    key: bytes
    """32 bytes."""
    side: int = 0
    channels: int = 0

    SIZE = _HEADER.size

    def to_bytes(self) -> bytes:
        """(64 bytes)"""
        return _HEADER.pack(_MAGIC[self.kind], self.count, self.side, self.channels, self.key)

    @classmethod
    def read(cls, file: IO[bytes]) -> Header | None:
        """The header that a file begins with; None if it has none of ours."""
        content = file.read(_HEADER.size)
        if len(content) < _HEADER.size:
            return None
        magic, count, side, channels, key = _HEADER.unpack(content)
        kinds = [kind for kind, known in _MAGIC.items() if known == magic]
        return cls(kind=kinds[0], count=count, side=side, channels=channels, key=key) if kinds else None


def part_of(target: Path) -> Path:
    """A name under which a file can grow that shall be `target` once it is whole; no two are equal."""
    return target.with_name(f"{target.stem}.{uuid.uuid4().hex[:12]}{PART}")


@cache
def hash_code(extra: tuple[Path, ...] = ()) -> str:
    """The decoders' versions, and the sha256 of our own code: nobody has to remember to count a number up.

    Args:
        extra: files whose code counts beside that which reads images.
    """
    found = hashlib.sha256(f"{PIL.__version__} {simplejpeg.__version__} {sys.byteorder}".encode())
    here = Path(__file__).parent
    for path in [*sorted(here.glob("*.py")), here.parent / "preprocess.py", *extra]:
        found.update(path.name.encode() + path.read_bytes())
    return found.hexdigest()


def remove(path: Path) -> bool:
    """Whether a file is gone by our doing."""
    try:
        path.unlink()
    except OSError:  # gone already, or in use on a system that minds
        return False
    return True


def _free_bytes(folder: Path) -> int:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def create_locked(path: Path) -> IO[bytes]:
    """A new file that is locked before anyone can see it under its name.

    Raises:
        OSError: it can't be written.
    """
    if sys.platform == "win32":
        return path.open("w+b")
    import fcntl

    unseen = path.with_suffix(".new")
    file = unseen.open("w+b")
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX)
        os.rename(unseen, path)
    except BaseException:
        file.close()
        remove(unseen)
        raise
    return file


def is_dead(path: Path, file: IO[bytes]) -> bool:
    """Whether nobody is filling this part any more."""
    if sys.platform == "win32":
        return time.time() - path.stat().st_mtime > _ABANDONED_AFTER
    import fcntl

    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    fcntl.flock(file.fileno(), fcntl.LOCK_UN)
    return True

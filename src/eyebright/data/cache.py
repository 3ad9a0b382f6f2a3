"""Every image decoded once, in threads, into one array of squares; and the same as a stream for prediction.

With a `SquareCache` the array is a file that the next run finds again; see `disk_cache`.

N images, B images of a batch, R side after resizing, C channels.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.data.decode import decode_content
from eyebright.data.disk_cache import SquareArray, SquareCache
from eyebright.data.samples import ImageStore, SampleTable
from eyebright.errors import ImageError, OutputError
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress, SilentProgress

_ROWS_PER_TASK = 8
_DIGESTS_PER_STEP = 256
_TASKS_AHEAD = 4  # for each thread: enough to keep it busy, few enough that Ctrl-C is quick


@dataclass(frozen=True, kw_only=True, eq=False)
class Squares:
    """N images, resized and cropped to squares, before any augmentation."""

    images: NDArray[np.uint8]
    """(N, R, R, C); rows that could not be read are zero."""
    readable: NDArray[np.bool_]
    """(N,)"""
    errors: dict[int, ImageError]
    """Row -> why it could not be read, in order of rows."""
    digests: tuple[str, ...]
    """sha256 of each sample's content, 64 hexadecimal digits; empty where it could not even be fetched."""
    fingerprint: str
    """sha256 over every sample's name, content and class name, whatever their order."""


def read_squares(
    table: SampleTable,
    preprocessing: Preprocessing,
    *,
    progress: Progress | None = None,
    threads: int | None = None,
    memory_limit: int = 1 << 30,
    digests: Sequence[str] | None = None,
    cache: SquareCache | None = None,
) -> Squares:
    """Decode every image of a table and bring it to R x R pixels; the same result on any number of threads.

    With a cache the images are mapped from its file, decoded only where it does not have them yet, and otherwise the
    same to the bit.

    Args:
        threads: None takes one for each CPU.
        memory_limit: in bytes; a larger array lives in a temporary file that is gone when the array is.
        digests: (N,) what `digest_table` has found, if it has been asked; only used with a cache.
        cache: keeps decoded images for the next run.

    Raises:
        OutputError: the temporary file does not fit on the disk.
        KeyboardInterrupt: the user asked to stop.
    """
    progress = progress or SilentProgress()
    count, side = len(table), preprocessing.resize
    kept: SquareArray | None = None
    found = [b""] * count
    if cache is not None:
        if digests is None:
            digests = digest_table(table, progress=progress, threads=threads)
        found = [bytes.fromhex(digest) for digest in digests]
        kept = cache.open(found, preprocessing, warn=progress.warn)
    images = _empty((count, side, side, preprocessing.channels), memory_limit) if kept is None else kept.images
    errors: dict[int, ImageError] = {}

    def read(rows: range) -> None:
        for row in rows:
            if kept is not None and kept.fetch(row):
                continue
            found[row], square = _read_one(table.store, table.names[row], preprocessing)
            if isinstance(square, ImageError):
                errors[row] = square
                if kept is not None:
                    images[row] = 0
            else:
                images[row] = square
                if kept is not None:
                    kept.keep(row, found[row])

    threads = threads or os.cpu_count() or 1
    waiting: deque[tuple[range, Future[None]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
    progress.start("reading images", count)
    whole = False
    try:
        for start in range(0, count, _ROWS_PER_TASK):
            rows = range(start, min(start + _ROWS_PER_TASK, count))
            waiting.append((rows, pool.submit(read, rows)))
            if len(waiting) >= threads * _TASKS_AHEAD:
                _finish_one(waiting, progress)
        while waiting:
            _finish_one(waiting, progress)
        whole = True
    finally:
        pool.shutdown(cancel_futures=True)
        progress.finish()
        if kept is not None:
            kept.finish(whole=whole)
            images = kept.images

    readable = np.ones(count, dtype=np.bool_)
    readable[list(errors)] = False
    return Squares(
        images=images,
        readable=readable,
        errors=dict(sorted(errors.items())),
        digests=tuple(digest.hex() for digest in found),
        fingerprint=_fingerprint(table, found),
    )


def digest_table(
    table: SampleTable, *, progress: Progress | None = None, threads: int | None = None
) -> tuple[str, ...]:
    """(N,) the sha256 of each sample's content, 64 hexadecimal digits; empty where it can't be fetched.

    Raises:
        KeyboardInterrupt: the user asked to stop.
    """
    progress = progress or SilentProgress()

    def digest(name: str) -> str:
        try:
            return hash_content(table.store.read(name)).hex()
        except ImageError:
            return ""

    digests: list[str] = []
    pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="digest")
    progress.start("recognising images by their content", len(table))
    try:
        for start in range(0, len(table), _DIGESTS_PER_STEP):
            if progress.stop_requested:
                raise KeyboardInterrupt
            digests += pool.map(digest, table.names[start : start + _DIGESTS_PER_STEP])
            progress.advance(len(digests))
    finally:
        pool.shutdown(cancel_futures=True)
        progress.finish()
    return tuple(digests)


def iter_squares(
    store: ImageStore,
    names: Sequence[str],
    preprocessing: Preprocessing,
    *,
    batch_size: int = 32,
    threads: int | None = None,
) -> Iterator[tuple[NDArray[np.uint8], dict[int, ImageError]]]:
    """Decode images batch by batch, in order, at most two batches ahead of who takes them.

    Yields:
        (B, R, R, C) uint8, B = batch_size except for the last; and position in the batch -> why that image could not
        be read, its pixels being zero.
    """
    assert batch_size >= 1
    threads = threads or os.cpu_count() or 1
    ahead = max(2 * batch_size, threads)
    waiting: deque[Future[NDArray[np.uint8] | ImageError]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read")
    submitted = 0

    def read(name: str) -> NDArray[np.uint8] | ImageError:
        return _read_one(store, name, preprocessing, hashed=False)[1]

    try:
        for start in range(0, len(names), batch_size):
            size = min(batch_size, len(names) - start)
            images = np.zeros((size, preprocessing.resize, preprocessing.resize, preprocessing.channels), np.uint8)
            errors: dict[int, ImageError] = {}
            for position in range(size):
                while submitted < len(names) and len(waiting) < ahead:
                    waiting.append(pool.submit(read, names[submitted]))
                    submitted += 1
                square = waiting.popleft().result()
                if isinstance(square, ImageError):
                    errors[position] = square
                else:
                    images[position] = square
            yield images, errors
    finally:
        pool.shutdown(cancel_futures=True)


def _finish_one(waiting: deque[tuple[range, Future[None]]], progress: Progress) -> None:
    if progress.stop_requested:
        raise KeyboardInterrupt
    rows, future = waiting.popleft()
    future.result()
    progress.advance(rows.stop)


def _read_one(
    store: ImageStore, name: str, preprocessing: Preprocessing, *, hashed: bool = True
) -> tuple[bytes, NDArray[np.uint8] | ImageError]:
    """sha256 of the content (empty if it can't even be fetched), and (R, R, C) or what is wrong with the image."""
    digest = b""
    try:
        content = store.read(name)
        if hashed:
            digest = hash_content(content)
        place, channels = store.locate(name), preprocessing.channels
        image = decode_content(content, place, channels=channels, short_side=preprocessing.short_side)
        return digest, preprocessing.square(image)
    except ImageError as error:
        return digest, error


def hash_content(content: bytes | NDArray[Any]) -> bytes:
    """The sha256 of an image file's bytes, or of an array with its shape and type: 32 bytes."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).digest()
    kind = f"{content.dtype.str} {content.shape}".encode()
    return hashlib.sha256(kind + np.ascontiguousarray(content).tobytes()).digest()


def _fingerprint(table: SampleTable, digests: Sequence[bytes]) -> str:
    lines = (
        b"\0".join((name.encode("utf-8", "surrogateescape"), *labels, digest.hex().encode()))
        for name, labels, digest in zip(table.names, _spell_labels(table), digests, strict=True)
    )
    return hashlib.sha256(b"\0\0".join(sorted(lines))).hexdigest()


def _spell_labels(table: SampleTable) -> Iterator[list[bytes]]:
    for row in range(len(table)):
        yield [label.encode() for label in table.labels_of(row)]


def _empty(shape: tuple[int, ...], memory_limit: int) -> NDArray[np.uint8]:
    """Zeros, in memory or in a file that has no name."""
    size = int(np.prod(shape, dtype=np.int64))
    if size <= memory_limit:
        return np.zeros(shape, dtype=np.uint8)
    with tempfile.TemporaryFile(prefix="eyebright-") as file:
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)  # a full disk shows now, not as a crash while writing
            else:
                file.truncate(size)
        except OSError as error:
            raise OutputError(
                f"{tempfile.gettempdir()}: no room for {size / 1e9:.1f} GB of decoded images ({error.strerror}); "
                "free some, or set TMPDIR to a folder on a larger disk"
            ) from None
        return np.memmap(file, dtype=np.uint8, mode="r+", shape=shape)

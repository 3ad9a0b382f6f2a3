"""One pass over all images: each is read and decoded once, measured, and let go again.

What is kept of an image is some 300 bytes of numbers, never its pixels, so that a million images fit in memory.

N images, H x W pixels, F = 8 frequencies along each side.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.data.cache import hash_content
from eyebright.data.decode import decode, decode_for_show
from eyebright.data.headers import ImageHeader, read_header
from eyebright.data.samples import SampleTable
from eyebright.errors import ImageError
from eyebright.progress import Progress, SilentProgress

SHORT_SIDE = 256
"""Large JPEGs are decoded at a reduced scale that still has as many pixels along the shorter side."""
F = 8
_SIDE = 32
_MEASURED = 256
_ROWS_PER_TASK = 16
_TASKS_AHEAD = 4
_BLANK_SHAPE = 1.5
"""Grey levels; an image that varies less, once it is shrunk to 32 x 32, has no shape to be known by."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Looks:
    """What was measured of N images. Rows of images that could not be read hold zeros, and stand in `errors`."""

    digests: tuple[str, ...]
    """sha256 of each sample's content, 64 hexadecimal digits; empty where it could not even be fetched."""
    errors: dict[int, ImageError]
    """Row -> why it could not be read, in order of rows."""
    readable: NDArray[np.bool_]
    """(N,)"""
    kinds: NDArray[np.int16]
    """(N,) indices into `headers`; -1 for arrays and for files whose header can't be read."""
    headers: tuple[tuple[str, str, bool], ...]
    """Format, mode and whether it has several frames, of every combination that occurs."""
    sizes: NDArray[np.int32]
    """(N, 2) width and height in pixels, upright."""
    lengths: NDArray[np.int64]
    """(N,) bytes of the file."""
    brightness: NDArray[np.float32]
    """(N,) mean grey level, 0 to 255."""
    contrast: NDArray[np.float32]
    """(N,) standard deviation of the grey levels, and of colours where they vary more."""
    sharpness: NDArray[np.float32]
    """(N,) how strong an image's strongest edges are: the 99th percentile of the Laplacian's size, at 256 pixels."""
    shapes: NDArray[np.float16]
    """(N, F * F) the lowest frequencies of the grey image, of length 1; zeros where it is blank."""


def look(
    table: SampleTable,
    *,
    known: Looks | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
) -> Looks:
    """Read, decode and measure every image of a table; the same result on any number of threads.

    It goes on past any image that can't be read. No file is changed.

    Args:
        known: of the same table: its readable images are taken as they are there, and not opened.
        threads: None takes one for each CPU.

    Raises:
        KeyboardInterrupt: the user asked to stop.
    """
    progress = progress or SilentProgress()
    count = len(table)
    digests = [""] * count
    errors: dict[int, ImageError] = {}
    kinds = np.full(count, -1, dtype=np.int16)
    numbers: dict[tuple[str, str, bool], int] = {}
    sizes = np.zeros((count, 2), dtype=np.int32)
    lengths = np.zeros(count, dtype=np.int64)
    measured = np.zeros((3, count), dtype=np.float32)
    shapes = np.zeros((count, F * F), dtype=np.float16)
    todo = np.arange(count)
    if known is not None:
        taken = np.flatnonzero(known.readable)
        for row in taken.tolist():
            digests[row] = known.digests[row]
        numbers = {kind: number for number, kind in enumerate(known.headers)}
        kinds[taken], sizes[taken], lengths[taken] = known.kinds[taken], known.sizes[taken], known.lengths[taken]
        measured[:, taken] = np.stack([known.brightness, known.contrast, known.sharpness])[:, taken]
        shapes[taken] = known.shapes[taken]
        todo = np.flatnonzero(~known.readable)

    def look_at(rows: Sequence[int]) -> list[tuple[int, tuple[str, str, bool]]]:
        found = []
        for row in rows:
            name = table.names[row]
            place = table.store.locate(name)
            try:
                content = table.store.read(name)
                digests[row] = hash_content(content).hex()
                if isinstance(content, bytes):
                    lengths[row] = len(content)
                    header = read_header(content, place)
                    found.append((row, (header.format, header.mode, header.frames > 1)))
                    sizes[row] = _upright_size(header)
                    image = decode(content, place, short_side=SHORT_SIDE)
                else:
                    lengths[row] = content.nbytes
                    image = decode_for_show(content, place)
                    sizes[row] = image.shape[1], image.shape[0]
                grey = Image.fromarray(image).convert("L")
                measured[:, row] = _measure(image, grey)
                shapes[row] = measure_shape(grey)
            except ImageError as error:
                errors[row] = error
        return found

    threads = threads or os.cpu_count() or 1
    waiting: deque[tuple[int, Future[list[tuple[int, tuple[str, str, bool]]]]]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="look")

    def finish_one() -> None:
        if progress.stop_requested:
            raise KeyboardInterrupt
        done, future = waiting.popleft()
        for row, kind in future.result():
            kinds[row] = numbers.setdefault(kind, len(numbers))
        progress.advance(done)

    progress.start("looking at images", len(todo))
    try:
        for start in range(0, len(todo), _ROWS_PER_TASK):
            rows = todo[start : start + _ROWS_PER_TASK].tolist()
            waiting.append((start + len(rows), pool.submit(look_at, rows)))
            if len(waiting) >= threads * _TASKS_AHEAD:
                finish_one()
        while waiting:
            finish_one()
    finally:
        pool.shutdown(cancel_futures=True)
        progress.finish()

    readable = np.ones(count, dtype=np.bool_)
    readable[list(errors)] = False
    return Looks(
        digests=tuple(digests),
        errors=dict(sorted(errors.items())),
        readable=readable,
        kinds=kinds,
        headers=tuple(numbers),
        sizes=sizes,
        lengths=lengths,
        brightness=measured[0],
        contrast=measured[1],
        sharpness=measured[2],
        shapes=shapes,
    )


def measure_shape(grey: Image.Image) -> NDArray[np.float32]:
    """(F * F,) the lowest frequencies along each side but for the mean, scaled to length 1; zeros if it is blank.

    Brightness and contrast do not count, nor do size and proportions. Source: the discrete cosine transform, type II.
    """
    small = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX), dtype=np.float32)
    if small.std() < _BLANK_SHAPE:
        return np.zeros(F * F, dtype=np.float32)
    waves = (_WAVES @ small @ _WAVES.T).ravel()
    waves[0] = 0
    length = float(np.linalg.norm(waves))
    return (waves / length if length > 0 else waves).astype(np.float32)


def mirror_shapes(shapes: NDArray[np.floating]) -> NDArray[np.float32]:
    """(N, F * F) -> the shapes of the same images mirrored left to right: every odd frequency changes its sign."""
    signs = np.tile(np.where(np.arange(F) % 2, -1, 1), F).astype(np.float32)
    return shapes.astype(np.float32) * signs


def _waves() -> NDArray[np.float32]:
    """(F, 32) one cosine for each frequency."""
    places = (np.arange(_SIDE) + 0.5) * np.pi / _SIDE
    waves = np.cos(np.arange(F)[:, None] * places[None])
    waves[0] /= np.sqrt(2)
    return np.asarray(waves * np.sqrt(2 / _SIDE), dtype=np.float32)


_WAVES = _waves()


def _upright_size(header: ImageHeader) -> tuple[int, int]:
    size = (header.width, header.height)
    return size if header.orientation < 5 else (size[1], size[0])


def _measure(image: NDArray[np.uint8], grey: Image.Image) -> tuple[float, float, float]:
    """Brightness, contrast and sharpness of a (H, W, 3) image and its grey version."""
    longest = max(grey.size)
    if longest > _MEASURED:
        scale = _MEASURED / longest
        size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
        grey = grey.resize(size, Image.Resampling.BOX)
    values = np.asarray(grey, dtype=np.int16)
    contrast = float(values.std())
    if contrast < 4:  # colours of one lightness are no blank image
        contrast = max(contrast, float(image.std(axis=(0, 1)).max()))
    return float(values.mean()), contrast, _sharpness(values)


def _sharpness(values: NDArray[np.int16]) -> float:
    """The 99th percentile of the Laplacian's size; 0 for images of under 3 pixels a side."""
    if min(values.shape) < 3:
        return 0.0
    inner = values[1:-1, 1:-1]
    edges = np.abs(4 * inner - values[:-2, 1:-1] - values[2:, 1:-1] - values[1:-1, :-2] - values[1:-1, 2:]).ravel()
    place = int(0.99 * (len(edges) - 1))
    return float(np.partition(edges, place)[place])

"""What a look at images found, kept beside the decoded ones: a second run on the same images compares none anew.

One file holds what `look` measured of the images of one table and what their second looks said. Its name is made of
the code that measures and compares and of the sha256 of every image in order. Images that another file of the same
code knows are taken from there, so a folder that grows costs only its new images. An image that could not be read is
looked at every time.

    64 bytes  what it is (`kept_files.Header`)
    32 bytes  sha256 of all other bytes
    8 bytes   P
    N x 190   an image, see _IMAGE
    P x 10    a pair of images and what the second look said, see _PAIR
    a text    format, mode and whether there are several frames, of every combination that occurs: JSON

A file whose sha256 is not right counts for nothing and is removed: a flipped bit or a torn write costs looking again.
N images, P pairs.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, final

import numpy as np
from numpy.typing import NDArray

from eyebright.checking.duplicates import Verdicts, group_duplicates
from eyebright.checking.look import F, Looks, look
from eyebright.data.kept_files import LOOKS, PART, Header, KeptFiles, create_locked, hash_code, is_dead, part_of, remove
from eyebright.data.samples import SampleTable
from eyebright.errors import printable
from eyebright.progress import Progress, SilentProgress

_COUNT = struct.Struct("<Q")
_HASH = 32
_IMAGE = np.dtype(
    [
        ("digest", np.uint8, (32,)),
        ("kind", np.int16),
        ("size", np.int32, (2,)),
        ("length", np.int64),
        ("measured", np.float32, (3,)),  # brightness, contrast, sharpness
        ("shape", np.float16, (F * F,)),
    ]
)
_PAIR = np.dtype([("one", np.int32), ("other", np.int32), ("mirrored", np.uint8), ("same", np.uint8)])


def look_and_group(
    table: SampleTable,
    *,
    digests: Sequence[str] | None = None,
    cache: LookCache | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
) -> tuple[Looks, list[list[int]]]:
    """What `look` measures of every image, and the rows that `group_duplicates` finds to show the same image.

    With a cache it is the same, but only images and pairs that no earlier run has seen are opened.

    Args:
        digests: (N,) what `digest_table` has found; without it there is no cache.

    Raises:
        SettingsError: $EYEBRIGHT_CACHE_GB is no number.
        KeyboardInterrupt: the user asked to stop.
    """
    progress = progress or SilentProgress()
    kept = None if cache is None or digests is None else cache.open(digests, warn=progress.warn)
    if kept is None:
        looks = look(table, progress=progress, threads=threads)
        return looks, group_duplicates(table, looks, progress=progress, threads=threads)
    looks = look(table, known=kept.looks, progress=progress, threads=threads)
    try:
        groups = group_duplicates(table, looks, verdicts=kept.verdicts, progress=progress, threads=threads)
    finally:  # what has been measured and compared until then is true, whatever ended it
        kept.save(looks)
    return looks, groups


@final
@dataclass(frozen=True)
class LookCache:
    """What was found by looking, in the folder of what is kept.

    Args:
        folder, limit: as for `KeptFiles`.
    """

    folder: Path
    limit: int | None = None

    @property
    def files(self) -> KeptFiles:
        """The folder, with all that is in it."""
        return KeptFiles(self.folder, self.limit)

    def open(self, digests: Sequence[str], *, warn: Callable[[str], None]) -> KeptLooks | None:
        """What is known of these images.

        Args:
            digests: N sha256 of 64 hexadecimal digits, or empty where an image can't be fetched.
            warn: is told if nothing can be kept.

        Returns:
            None if nothing may be kept.

        Raises:
            SettingsError: $EYEBRIGHT_CACHE_GB is no number.
        """
        if not digests or self.files.limit_bytes() == 0:
            return None
        here = Path(__file__).parent
        code = hash_code(tuple(here / name for name in ("look.py", "alignment.py", "duplicates.py", "kept_looks.py")))
        key = hashlib.sha256(f"{code} {np.__version__}".encode()).digest()
        name = hashlib.sha256(" ".join(digests).encode()).hexdigest()[:32]
        target = self.folder / f"{key.hex()[:16]}-{name}{LOOKS}"
        kept = KeptLooks(self.files, target, key, tuple(digests), warn)
        kept.load()
        return kept


@final
class KeptLooks:
    """What is known of the N images of a table: `looks` has the images that are known as readable ones."""

    looks: Looks
    verdicts: Verdicts

    def __init__(
        self, files: KeptFiles, target: Path, key: bytes, digests: tuple[str, ...], warn: Callable[[str], None]
    ) -> None:
        self._files = files
        self._target = target
        self._key = key
        self._digests = digests
        self._warn = warn
        self._used_up: list[Path] = []
        self._whole = False
        self.looks = _unknown(len(digests))
        self.verdicts = Verdicts(len(digests))

    def load(self) -> None:
        """Take what this table's own file says, or else what those of other tables do."""
        rows_of: dict[bytes, list[int]] = {}
        for row, digest in enumerate(self._digests):
            if digest:
                rows_of.setdefault(bytes.fromhex(digest), []).append(row)
        rows = _Rows(self._digests)
        self._whole = self._take(self._target, rows, rows_of)
        if not self._whole:
            others = [file for file in self._files.list_files() if file.kind == LOOKS and file.path.suffix == LOOKS]
            for file in others:
                if file.path.name.startswith(self._target.name[:17]) and file.path != self._target:
                    self._take(file.path, rows, rows_of)
        self.looks = rows.to_looks()
        self.verdicts.forget_news()

    def _take(self, path: Path, rows: _Rows, rows_of: dict[bytes, list[int]]) -> bool:
        """Whether there is such a file and it is right; what it knows of our images is noted in `rows`."""
        try:
            with path.open("rb") as file:
                content = _read(file, self._key)
            if content is None:
                remove(path)
                return False
            os.utime(path)
        except OSError:
            return False
        row_of = np.full(len(content.images), -1, dtype=np.int64)
        for number, digest in enumerate(content.images["digest"]):
            found = rows_of.get(digest.tobytes(), [])
            if found:
                row_of[number] = found[0]
                rows.note(found, content.images[number], content.headers)
        if path != self._target and (row_of >= 0).all():
            self._used_up.append(path)
        pairs = np.stack([row_of[content.pairs["one"]], row_of[content.pairs["other"]], content.pairs["mirrored"]], 1)
        ours = (pairs[:, 0] >= 0) & (pairs[:, 0] < pairs[:, 1])  # the second look is not quite the same in turned order
        self.verdicts.learn(pairs[ours], content.pairs["same"][ours] != 0)
        return True

    def save(self, looks: Looks) -> None:
        """Write down what is known now, if that is more than before; if it can't be written, say so and go on."""
        first_of: dict[str, int] = {}
        for row in np.flatnonzero(looks.readable).tolist():
            first_of.setdefault(looks.digests[row], row)
        rows = np.array(list(first_of.values()), dtype=np.int64)
        seen = {self.looks.digests[row] for row in np.flatnonzero(self.looks.readable).tolist()}
        if self._whole and not self.verdicts.news and first_of.keys() <= seen:
            return
        content = self._encode(looks, rows)
        try:
            limit = self._files.limit_bytes()
            if len(content) > limit:
                return
            self._files.folder.mkdir(parents=True, exist_ok=True)
            self._remove_dead_parts()
            self._files.evict(limit - len(content))
            part = part_of(self._target)
            with create_locked(part) as file:
                try:
                    file.write(content)
                    file.flush()
                    os.replace(part, self._target)
                except BaseException:
                    remove(part)
                    raise
            for path in self._used_up:
                remove(path)
        except OSError as error:
            self._warn(
                f"{printable(str(self._files.folder))}: what was found can't be kept there "
                f"({error.strerror or error}); going on without"
            )

    def _encode(self, looks: Looks, rows: NDArray[np.int64]) -> bytes:
        images = np.zeros(len(rows), dtype=_IMAGE)
        joined = b"".join(bytes.fromhex(looks.digests[row]) for row in rows.tolist())
        images["digest"] = np.frombuffer(joined, dtype=np.uint8).reshape(-1, 32)
        images["kind"] = looks.kinds[rows]
        images["size"] = looks.sizes[rows]
        images["length"] = looks.lengths[rows]
        images["measured"] = np.stack([looks.brightness, looks.contrast, looks.sharpness], axis=1)[rows]
        images["shape"] = looks.shapes[rows]
        number_of = np.full(len(looks.digests), -1, dtype=np.int64)
        number_of[rows] = np.arange(len(rows))
        known, same = self.verdicts.known()
        pairs = np.zeros(len(known), dtype=_PAIR)
        pairs["one"], pairs["other"] = number_of[known[:, 0]], number_of[known[:, 1]]
        pairs["mirrored"], pairs["same"] = known[:, 2], same
        pairs = pairs[(pairs["one"] >= 0) & (pairs["other"] >= 0)]  # of images that have changed since
        text = json.dumps(looks.headers).encode()
        rest = _COUNT.pack(len(pairs)) + images.tobytes() + pairs.tobytes() + text
        header = Header(kind=LOOKS, count=len(rows), key=self._key).to_bytes()
        return header + hashlib.sha256(header + rest).digest() + rest

    def _remove_dead_parts(self) -> None:
        """What a killed process left of such a file is of no use."""
        for path in self._files.paths():
            with contextlib.suppress(OSError):
                if path.suffix == PART and path.name.startswith(self._target.name[:17]):
                    with path.open("rb") as file:
                        dead = is_dead(path, file)
                    if dead:
                        remove(path)


class _Rows:
    """The N images of a table as they become known."""

    def __init__(self, digests: tuple[str, ...]) -> None:
        self._digests = digests
        self._images = np.zeros(len(digests), dtype=_IMAGE)
        self._known = np.zeros(len(digests), dtype=np.bool_)
        self._numbers: dict[tuple[str, str, bool], int] = {}

    def note(self, rows: Sequence[int], image: Any, headers: Sequence[tuple[str, str, bool]]) -> None:
        kind = int(image["kind"])
        for row in rows:
            self._images[row] = image
            if kind >= 0:
                self._images["kind"][row] = self._numbers.setdefault(headers[kind], len(self._numbers))
        self._known[rows] = True

    def to_looks(self) -> Looks:
        return _looks_of(self._digests, self._images, self._known, tuple(self._numbers))


def _unknown(count: int) -> Looks:
    return _looks_of(("",) * count, np.zeros(count, dtype=_IMAGE), np.zeros(count, dtype=np.bool_), ())


def _looks_of(
    digests: tuple[str, ...],
    images: NDArray[Any],
    known: NDArray[np.bool_],
    headers: tuple[tuple[str, str, bool], ...],
) -> Looks:
    return Looks(
        digests=digests,
        errors={},
        readable=known,
        kinds=images["kind"].copy(),
        headers=headers,
        sizes=images["size"].copy(),
        lengths=images["length"].copy(),
        brightness=images["measured"][:, 0].copy(),
        contrast=images["measured"][:, 1].copy(),
        sharpness=images["measured"][:, 2].copy(),
        shapes=images["shape"].copy(),
    )


@dataclass(frozen=True, eq=False)
class _Content:
    images: NDArray[Any]
    """(N,) of _IMAGE"""
    pairs: NDArray[Any]
    """(P,) of _PAIR"""
    headers: tuple[tuple[str, str, bool], ...]


def _read(file: IO[bytes], key: bytes) -> _Content | None:
    """What a file says; None if it is not what was written."""
    header = Header.read(file)
    told = file.read(_HASH)
    rest = file.read()
    if header is None or (header.kind, header.key) != (LOOKS, key) or len(rest) < _COUNT.size:
        return None
    if hashlib.sha256(header.to_bytes() + rest).digest() != told:
        return None
    (num_pairs,) = _COUNT.unpack_from(rest)
    end = _COUNT.size + header.count * _IMAGE.itemsize
    pairs = np.frombuffer(rest, dtype=_PAIR, count=num_pairs, offset=end)
    text = rest[end + num_pairs * _PAIR.itemsize :]
    return _Content(
        images=np.frombuffer(rest, dtype=_IMAGE, count=header.count, offset=_COUNT.size),
        pairs=pairs,
        headers=tuple((str(name), str(mode), bool(several)) for name, mode, several in json.loads(text)),
    )

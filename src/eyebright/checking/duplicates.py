"""The same image more than once: byte for byte, or resized, cropped a little, recompressed, mirrored or brightened.

Every image's coarse shape is compared with every other's, among very many images with those in its neighbourhood, so
that neither memory nor time grows with N x N. What is near enough is opened again for a second look, which decides.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.checking.alignment import Thumbnail, compare_all, mirror, shrink
from eyebright.checking.findings import Decision, Finding, Kind
from eyebright.checking.look import SHORT_SIDE, Looks, mirror_shapes
from eyebright.data.cache import hash_content
from eyebright.data.decode import decode, decode_for_show
from eyebright.data.folders import listed
from eyebright.data.samples import SampleTable
from eyebright.data.unions import Unions
from eyebright.errors import ImageError
from eyebright.progress import Progress, SilentProgress

KINDS = (
    Kind(
        name="two-classes",
        title="The same image under two classes",
        severity="wrong",
        reason="At most one of the labels can be right, and the images can't say which. Leave all of them out, or keep "
        "those whose label you know to be right.",
    ),
    Kind(
        name="duplicate",
        title="The same file more than once",
        severity="doubtful",
        reason="It counts several times in training, and a copy in the test split is no test. Keep one.",
    ),
    Kind(
        name="near-duplicate",
        title="Nearly the same image more than once",
        severity="doubtful",
        reason="A copy that was resized, cropped, mirrored or saved anew; a second shot of the same thing looks like "
        "one too. In train and test at once, they make the result look better than it is. Keep the best.",
    ),
)

NEAR = 0.87
"""Coarse shapes at least as alike as this get a second look."""
COARSE = 0.9
DETAIL = 0.8
"""What the second look must find; among trashnet's pairs of different photos the most alike reaches 0.74."""
NEIGHBOURS = 5
"""Of each image at the most so many others, the nearest of those behind it in the table, get a second look."""
SMALLEST = 64
"""Pixels of the shorter side; of smaller images only equal files are found. At 28 x 28, 143 trousers of Fashion-MNIST
passed for one."""
LIST = 1024
"""So many images share a centre, on average."""
PROBES = 16
"""Of so many centres the lists are looked through."""
_SAMPLE = 20
_ROUNDS = 3
_BLOCK = 1024
_WIDE = 4096
_FARTHEST_BEHIND = PROBES * LIST
"""In a longer list only so many are compared that come next: a hundred thousand frames of one camera are all alike."""
_PAIRS_PER_STEP = 256
_PAIRS_AT_ONCE = 64


def find_duplicates(
    table: SampleTable,
    looks: Looks,
    *,
    groups: Sequence[Sequence[int]] | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
) -> list[Finding]:
    """One finding for each group of copies; those under more than one class are a kind of their own.

    The proposal keeps one image of a group: of the last split (test before val before train), then the one of most
    pixels, then the largest file. Under two classes nothing tells which label is right, so none is kept.

    Args:
        groups: what `group_duplicates` found, if it has been asked.

    Raises:
        KeyboardInterrupt: the user asked to stop.
    """
    if groups is None:
        groups = group_duplicates(table, looks, progress=progress, threads=threads)
    return [_finding(table, looks, rows) for rows in groups]


@final
class Verdicts:
    """What second looks have said of pairs of N rows (row, larger row, 1 if one is mirrored).

    Args:
        count: N.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._keys = np.zeros(0, dtype=np.int64)  # sorted
        self._same = np.zeros(0, dtype=np.bool_)
        self.news = 0
        """How many have been learned since `forget_news`."""

    def recall(self, pairs: NDArray[np.int64]) -> NDArray[np.int8]:
        """(P, 3) -> (P,) 1 the same image, 0 not the same, -1 not known."""
        keys = self._pack(pairs)
        found = np.full(len(pairs), -1, dtype=np.int8)
        if len(self._keys):
            places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            there = self._keys[places] == keys
            found[there] = self._same[places[there]]
        return found

    def learn(self, pairs: NDArray[np.int64], same: NDArray[np.bool_]) -> None:
        """Note what was found of (P, 3) pairs; of a pair that is known the first verdict stays."""
        keys, first = np.unique(np.concatenate([self._keys, self._pack(pairs)]), return_index=True)
        self._same = np.concatenate([self._same, same])[first]
        self.news += len(keys) - len(self._keys)
        self._keys = keys

    def known(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(P, 3) all pairs, sorted, and (P,) whether they are the same image."""
        rows, mirrored = np.divmod(self._keys, 2)
        return np.stack([*np.divmod(rows, self._count), mirrored], axis=1), self._same

    def forget_news(self) -> None:
        """Count from here."""
        self.news = 0

    def _pack(self, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
        packed: NDArray[np.int64] = (pairs[:, 0] * self._count + pairs[:, 1]) * 2 + pairs[:, 2]
        return packed


def group_duplicates(
    table: SampleTable,
    looks: Looks,
    *,
    verdicts: Verdicts | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
) -> list[list[int]]:
    """Rows of the table that show the same image: each group sorted, of at least two, in order of their first rows.

    Args:
        verdicts: what was found out before, which is believed; what is found out now is noted there.

    Raises:
        KeyboardInterrupt: the user asked to stop.
    """
    progress = progress or SilentProgress()
    unions = Unions(len(table))
    find, join = unions.find, unions.join

    first_of: dict[str, int] = {}
    for row in np.flatnonzero(looks.readable).tolist():
        join(first_of.setdefault(looks.digests[row], row), row)
    rows = np.array(sorted(first_of.values()), dtype=np.int64)
    rows = rows[looks.shapes[rows].any(axis=1)]  # blank images are alike without being copies
    rows = rows[looks.sizes[rows].min(axis=1) >= SMALLEST]
    pairs = near_pairs(looks.shapes[rows], progress=progress)
    pairs[:, :2] = rows[pairs[:, :2]]
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]

    known = np.full(len(pairs), -1, dtype=np.int8) if verdicts is None else verdicts.recall(pairs)
    asked: list[int] = []
    pool = ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="compare")
    progress.start("comparing those alike", len(pairs))
    try:
        for start in range(0, len(pairs), _PAIRS_PER_STEP):
            if progress.stop_requested:
                raise KeyboardInterrupt
            end = min(start + _PAIRS_PER_STEP, len(pairs))
            # Those that earlier pairs have joined already need no look.
            step = [i for i in range(start, end) if find(int(pairs[i, 0])) != find(int(pairs[i, 1]))]
            new = [i for i in step if known[i] < 0]
            known[new] = _confirm(table, looks.digests, pairs[new].tolist(), pool)
            asked += [i for i in new if known[i] >= 0]
            for i in step:
                if known[i] == 1:
                    join(int(pairs[i, 0]), int(pairs[i, 1]))
            progress.advance(end)
    finally:
        pool.shutdown(cancel_futures=True)
        progress.finish()
        if verdicts is not None:
            verdicts.learn(pairs[asked], known[asked] == 1)

    groups: dict[int, list[int]] = {}
    for row in np.flatnonzero(looks.readable).tolist():
        groups.setdefault(find(row), []).append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def near_pairs(shapes: NDArray[np.float16], *, progress: Progress | None = None) -> NDArray[np.int64]:
    """Pairs whose coarse shapes are alike, as they are or with one of them mirrored.

    Up to PROBES * LIST shapes are compared each with each. More are divided into lists around as many centres, and
    each is compared with those in the lists of the PROBES centres most like it: the time grows with N and not with
    its square, and a pair is missed only if the other's own centre is none of these.

    Args:
        shapes: (N, F * F), each of length 1.

    Returns:
        (P, 3) the smaller row, the larger row, and 1 if one must be mirrored, sorted; P is at most 2 * NEIGHBOURS * N.

    Raises:
        KeyboardInterrupt: the user asked to stop.

    Source:
        An inverted file, as in Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", 2011.
    """
    progress = progress or SilentProgress()
    plain = shapes.astype(np.float32)
    centres = _centres(plain)
    own = _most_alike(plain, centres, 1)[:, 0]
    members = np.split(np.argsort(own, kind="stable"), np.cumsum(np.bincount(own, minlength=len(centres)))[:-1])
    found = []
    progress.start("comparing images", len(plain))
    try:
        for mirrored, asking in ((0, plain), (1, mirror_shapes(plain))):
            nearest = _Nearest(len(plain))
            probes = _most_alike(asking, centres, min(PROBES, len(centres)))
            by_list = np.argsort(probes.ravel(), kind="stable") // probes.shape[1]
            askers = np.split(by_list, np.cumsum(np.bincount(probes.ravel(), minlength=len(centres)))[:-1])
            for number in range(len(centres)):
                for start in range(0, len(askers[number]), _BLOCK):
                    if progress.stop_requested:
                        raise KeyboardInterrupt
                    _compare(askers[number][start : start + _BLOCK], members[number], asking, plain, nearest)
                progress.advance(len(plain) * (mirrored * len(centres) + number + 1) // (2 * len(centres)))
            pairs = nearest.pairs()
            found.append(np.concatenate([pairs, np.full((len(pairs), 1), mirrored)], axis=1))
    finally:
        progress.finish()
    together = np.concatenate(found).astype(np.int64)
    return together[np.lexsort((together[:, 2], together[:, 1], together[:, 0]))]


def _centres(shapes: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, F * F) shapes of length 1 that lie among the others as densely as these: a few rounds of k-means on a sample.

    Nothing is drawn at random: the same shapes give the same centres.
    """
    count = len(shapes) // LIST if len(shapes) > PROBES * LIST else 1
    sample = shapes[np.linspace(0, len(shapes) - 1, min(len(shapes), count * _SAMPLE)).astype(np.int64)]
    centres = sample[np.linspace(0, len(sample) - 1, min(len(sample), count)).astype(np.int64)]
    for _ in range(_ROUNDS if count > 1 else 0):
        sums = np.zeros_like(centres)
        np.add.at(sums, _most_alike(sample, centres, 1)[:, 0], sample)
        lengths = np.linalg.norm(sums, axis=1)
        centres = np.where(lengths[:, None] > 0, sums / np.maximum(lengths, 1e-9)[:, None], centres)
    return centres


def _most_alike(shapes: NDArray[np.float32], centres: NDArray[np.float32], count: int) -> NDArray[np.int32]:
    """(N, count) the centres most like each shape, in no order."""
    found = np.zeros((len(shapes), count), dtype=np.int32)
    if len(centres) > 1:
        for start in range(0, len(shapes), _BLOCK):
            alike = shapes[start : start + _BLOCK] @ centres.T
            found[start : start + _BLOCK] = (
                alike.argmax(axis=1)[:, None] if count == 1 else np.argpartition(-alike, count - 1, axis=1)[:, :count]
            )
    return found


def _compare(
    askers: NDArray[np.int64],
    members: NDArray[np.int64],
    asking: NDArray[np.float32],
    plain: NDArray[np.float32],
    nearest: _Nearest,
) -> None:
    """Note for each of a block of rows the nearest of a list's rows behind it. Both are sorted."""
    first = int(np.searchsorted(members, askers[0], side="right"))
    last = int(np.searchsorted(members, askers[-1], side="right")) + _FARTHEST_BEHIND
    for start in range(first, min(last, len(members)), _WIDE):
        behind = members[start : min(start + _WIDE, last)]
        alike = asking[askers] @ plain[behind].T
        near = alike > NEAR
        if not near.any():
            continue
        near &= behind > askers[:, None]
        crowded = np.flatnonzero(near.sum(axis=1) > NEIGHBOURS)  # else a million like images give 10^12 pairs
        if len(crowded):
            of_crowded = np.where(near[crowded], alike[crowded], 0)
            keep = np.argpartition(-of_crowded, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
            near[crowded] = False
            near[crowded[:, None], keep] = True
        one, other = np.nonzero(near)
        nearest.note(askers[one], behind[other], alike[one, other])


class _Nearest:
    """For each of N rows the NEIGHBOURS nearest among those noted."""

    def __init__(self, count: int) -> None:
        self._most = 4 * NEIGHBOURS * count
        self._noted: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []
        self._num_noted = 0

    def note(self, ones: NDArray[np.int64], others: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        self._noted.append((ones, others, values))
        self._num_noted += len(ones)
        if self._num_noted > self._most:
            self._forget()

    def pairs(self) -> NDArray[np.int64]:
        """(P, 2) row and other row, sorted by row."""
        self._forget()
        ones, others, _ = self._noted[0]
        return np.stack([ones, others], axis=1)

    def _forget(self) -> None:
        nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        ones, others, values = (np.concatenate(parts) for parts in zip(nothing, *self._noted, strict=True))
        order = np.lexsort((others, -values, ones))
        ones, others, values = ones[order], others[order], values[order]
        kept = np.arange(len(ones)) - np.searchsorted(ones, ones) < NEIGHBOURS  # by place among those of the same row
        self._noted = [(ones[kept], others[kept], values[kept])]
        self._num_noted = int(kept.sum())


def _confirm(
    table: SampleTable, digests: Sequence[str], pairs: Sequence[Sequence[int]], pool: ThreadPoolExecutor
) -> list[int]:
    """Whether each pair (row, row, mirrored) is the same image, by opening both once more: 1 yes, 0 no; -1 where one
    is no longer what was looked at."""

    def shrink_row(row: int) -> Thumbnail | None:
        name = table.names[row]
        try:
            content = table.store.read(name)
            if hash_content(content).hex() != digests[row]:
                return None
            if isinstance(content, bytes):
                image = decode(content, name, short_side=SHORT_SIDE)
            else:
                image = decode_for_show(content, name)
        except ImageError:  # gone since it was looked at
            return None
        return shrink(Image.fromarray(image).convert("L"))

    rows = sorted({row for a, b, _ in pairs for row in (a, b)})
    shrunk = zip(rows, pool.map(shrink_row, rows), strict=True)
    thumbnails = {row: thumbnail for row, thumbnail in shrunk if thumbnail is not None}

    def judge(some: Sequence[Sequence[int]]) -> list[int]:
        there = [i for i, (a, b, _) in enumerate(some) if a in thumbnails and b in thumbnails]
        ones = [mirror(thumbnails[some[i][0]]) if some[i][2] else thumbnails[some[i][0]] for i in there]
        verdicts = [-1] * len(some)
        for i, likeness in zip(there, compare_all(ones, [thumbnails[some[i][1]] for i in there]), strict=True):
            verdicts[i] = int(likeness.coarse >= COARSE and likeness.detail >= DETAIL)
        return verdicts

    parts = [pairs[i : i + _PAIRS_AT_ONCE] for i in range(0, len(pairs), _PAIRS_AT_ONCE)]
    return [verdict for part in pool.map(judge, parts) for verdict in part]


def _finding(table: SampleTable, looks: Looks, rows: Sequence[int]) -> Finding:
    names = [table.names[row] for row in rows]
    classes = sorted({" and ".join(table.labels_of(row)) for row in rows})
    exact = len({looks.digests[row] for row in rows}) == 1
    if len(classes) > 1:
        kind, leaving = "two-classes", list(rows)
        likeness = "The same file stands" if exact else "The same image stands"
        words = (
            f"{likeness} under {listed(classes)}: {listed(names)}. Nothing tells which label is right; "
            "if you accept, all are left out."
        )
    else:
        kind = "duplicate" if exact else "near-duplicate"
        best = max(
            rows,
            key=lambda row: (int(table.splits[row]), int(looks.sizes[row].prod()), int(looks.lengths[row]), -row),
        )
        leaving = [row for row in rows if row != best]
        likeness = "The same file" if exact else "Nearly the same image"
        words = f"{likeness} {len(rows)} times: {listed(names)}. If you accept, {listed([table.names[best]])} is kept."
    return Finding(
        kind=kind,
        words=words,
        samples=tuple(names),
        score=len(rows) + (0.5 if exact else 0.0),
        proposal=tuple(
            Decision(sample=table.names[row], digest=looks.digests[row], action="exclude", reason=kind)
            for row in leaving
        ),
    )

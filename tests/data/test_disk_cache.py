from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyebright.data import cache as reading
from eyebright.data import disk_cache
from eyebright.data.cache import Squares, digest_table, read_squares
from eyebright.data.disk_cache import SquareCache
from eyebright.data.samples import SampleTable
from eyebright.data.sources import read_samples
from eyebright.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from eyebright.progress import SilentProgress

WriteImages = Callable[[Path, Iterable[str]], None]
PREPROCESSING = Preprocessing(image_size=8, resize=10)


@pytest.fixture
def photos(tmp_path: Path, write_images: WriteImages) -> Path:
    """40 images of two classes, of which cat/03.png is empty, dog/11.png cut in half and dog/12.png leads nowhere."""
    root = tmp_path / "photos"
    write_images(root, [f"{label}/{i:02}.png" for label in ("cat", "dog") for i in range(20)])
    (root / "cat" / "03.png").write_bytes(b"")
    whole = (root / "dog" / "11.png").read_bytes()
    (root / "dog" / "11.png").write_bytes(whole[: len(whole) // 2])
    (root / "dog" / "12.png").unlink()
    (root / "dog" / "12.png").symlink_to("nowhere")
    return root


@pytest.fixture
def cache(tmp_path: Path) -> SquareCache:
    return SquareCache(tmp_path / "squares", limit=10_000_000)


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that were decoded, as they are."""
    names: list[str] = []
    original = reading._read_one

    def counted(store: Any, name: str, *arguments: Any, **options: Any) -> Any:
        names.append(name)
        return original(store, name, *arguments, **options)

    monkeypatch.setattr(reading, "_read_one", counted)
    return names


def assert_same(one: Squares, other: Squares) -> None:
    assert np.array_equal(one.images, other.images)
    assert np.array_equal(one.readable, other.readable)
    assert {row: str(error) for row, error in one.errors.items()} == {
        row: str(error) for row, error in other.errors.items()
    }
    assert list(one.errors) == list(other.errors)
    assert (one.digests, one.fingerprint) == (other.digests, other.fingerprint)


@pytest.mark.parametrize("threads", [1, 4])
def test_the_cache_changes_nothing(photos: Path, cache: SquareCache, threads: int) -> None:
    table = read_samples(photos)
    plain = read_squares(table, PREPROCESSING)
    assert len(plain.errors) == 3
    for _ in range(3):
        assert_same(read_squares(table, PREPROCESSING, cache=cache, threads=threads), plain)
    assert_same(read_squares(table, PREPROCESSING, cache=cache, digests=digest_table(table)), plain)


def test_a_second_read_decodes_only_what_was_unreadable(photos: Path, cache: SquareCache, decoded: list[str]) -> None:
    table = read_samples(photos)
    read_squares(table, PREPROCESSING, cache=cache)
    assert len(decoded) == 40
    decoded.clear()
    read_squares(table, PREPROCESSING, cache=cache)
    assert sorted(decoded) == ["cat/03.png", "dog/11.png", "dog/12.png"]


def test_a_changed_file_is_never_taken_for_the_old_one(photos: Path, cache: SquareCache, decoded: list[str]) -> None:
    table = read_samples(photos)
    read_squares(table, PREPROCESSING, cache=cache)
    path = photos / "cat" / "05.png"
    before = path.stat()
    content = (photos / "dog" / "07.png").read_bytes()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    decoded.clear()
    again = read_squares(table, PREPROCESSING, cache=cache)
    assert_same(again, read_squares(table, PREPROCESSING))
    assert np.array_equal(again.images[5], again.images[27])
    assert "cat/05.png" not in decoded[:3]  # its new content was there already, under the name of another


def test_a_file_that_changes_after_it_was_hashed_is_not_kept(photos: Path, cache: SquareCache) -> None:
    table = read_samples(photos)
    digests = digest_table(table)
    original = (photos / "cat" / "05.png").read_bytes()
    (photos / "cat" / "05.png").write_bytes((photos / "dog" / "07.png").read_bytes())
    changed = read_squares(table, PREPROCESSING, cache=cache, digests=digests)
    assert_same(changed, read_squares(table, PREPROCESSING))
    (photos / "cat" / "05.png").write_bytes(original)
    assert_same(read_squares(table, PREPROCESSING, cache=cache), read_squares(table, PREPROCESSING))


def test_a_renamed_folder_and_a_grown_one_cost_only_what_is_new(
    photos: Path, cache: SquareCache, decoded: list[str], write_images: WriteImages, tmp_path: Path
) -> None:
    for name in ("cat/03.png", "dog/11.png", "dog/12.png"):
        (photos / name).unlink()
    read_squares(read_samples(photos), PREPROCESSING, cache=cache)
    moved = photos.rename(tmp_path / "elsewhere")
    decoded.clear()
    read_squares(read_samples(moved), PREPROCESSING, cache=cache)
    assert decoded == []
    content = (moved / "cat" / "00.png").read_bytes()
    write_images(moved, ["cat/new.png"])
    (moved / "cat" / "new.png").write_bytes(content + b"something behind the image")
    grown = read_samples(moved)
    squares = read_squares(grown, PREPROCESSING, cache=cache)
    assert decoded == ["cat/new.png"]
    assert_same(squares, read_squares(grown, PREPROCESSING))


@pytest.mark.parametrize(
    "other",
    [
        Preprocessing(image_size=8, resize=12),
        Preprocessing(image_size=8, resize=10, fit="squash"),
        Preprocessing(image_size=8, resize=10, interpolation="bicubic"),
        Preprocessing(image_size=8, resize=10, mean=IMAGENET_MEAN[:1], std=IMAGENET_STD[:1]),
    ],
)
def test_another_preprocessing_is_another_array(photos: Path, cache: SquareCache, other: Preprocessing) -> None:
    table = read_samples(photos)
    read_squares(table, PREPROCESSING, cache=cache)
    assert_same(read_squares(table, other, cache=cache), read_squares(table, other))
    assert len(cache.files.list_files()) == 2


def test_another_crop_and_scale_take_the_same_array(photos: Path, cache: SquareCache) -> None:
    table = read_samples(photos)
    for size, mean in ((8, IMAGENET_MEAN), (9, (0.5, 0.5, 0.5))):
        read_squares(table, Preprocessing(image_size=size, resize=10, mean=mean), cache=cache)
    assert len(cache.files.list_files()) == 1


def test_newer_code_decodes_anew(photos: Path, cache: SquareCache, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_samples(photos)
    read_squares(table, PREPROCESSING, cache=cache)
    monkeypatch.setattr(disk_cache, "hash_code", lambda: "newer")
    read_squares(table, PREPROCESSING, cache=cache)
    assert len(cache.files.list_files()) == 2


def test_what_a_program_writes_into_its_images_does_not_reach_the_cache(photos: Path, cache: SquareCache) -> None:
    table = read_samples(photos)
    plain = read_squares(table, PREPROCESSING)
    for _ in range(3):
        squares = read_squares(table, PREPROCESSING, cache=cache)
        assert_same(squares, plain)
        squares.images[:] = 77


# Damage


def damaged_copies(content: bytes, count: int) -> Iterable[bytes]:
    random = np.random.default_rng(0)
    for _ in range(count):
        changed = bytearray(content)
        bit = int(random.integers(0, 8 * len(changed)))
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)
    for length in (0, 1, 63, 64, 1000, len(content) // 2, len(content) - 1):
        yield content[:length]
    yield content + b"\0"
    yield bytes(len(content))


def test_every_flipped_bit_and_every_cut_costs_a_rebuild_and_nothing_else(photos: Path, cache: SquareCache) -> None:
    table = read_samples(photos)
    plain = read_squares(table, PREPROCESSING)
    read_squares(table, PREPROCESSING, cache=cache)
    [array] = cache.files.list_files()
    content = array.path.read_bytes()
    for damaged in damaged_copies(content, 150):
        array.path.write_bytes(damaged)
        assert_same(read_squares(table, PREPROCESSING, cache=cache), plain)


def test_a_damaged_row_is_decoded_once_and_mended(photos: Path, cache: SquareCache, decoded: list[str]) -> None:
    table = read_samples(photos)
    read_squares(table, PREPROCESSING, cache=cache)
    [array] = cache.files.list_files()
    content = bytearray(array.path.read_bytes())
    content[-5 * 300] ^= 4
    array.path.write_bytes(content)
    counts = []
    for _ in range(2):
        decoded.clear()
        read_squares(table, PREPROCESSING, cache=cache)
        counts.append(len(decoded))
    assert counts == [4, 3]  # three can't be read at any time


# Killed, and two at once

BUILD = """
    import sys, time
    from pathlib import Path
    from eyebright.data import cache as reading
    from eyebright.data.disk_cache import SquareCache
    from eyebright.data.sources import read_samples
    from eyebright.preprocess import Preprocessing
    photos, folder, pause = sys.argv[1:]
    original = reading._read_one
    def slow(*arguments, **options):
        time.sleep(float(pause))
        return original(*arguments, **options)
    reading._read_one = slow
    sys.stdout.write("ready\\n"); sys.stdout.flush()
    squares = reading.read_squares(
        read_samples(photos), Preprocessing(image_size=8, resize=10), cache=SquareCache(Path(folder), limit=10_000_000),
        threads=2,
    )
    import hashlib
    sys.stdout.write(hashlib.sha256(squares.images.tobytes()).hexdigest() + "\\n")
"""


def start_building(photos: Path, cache: SquareCache, pause: float) -> subprocess.Popen[str]:
    code = textwrap.dedent(BUILD)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(photos), str(cache.folder), str(pause)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("wait", [0.0, 0.15, 0.3])
def test_a_kill_in_the_middle_loses_only_what_was_not_done(
    photos: Path, cache: SquareCache, decoded: list[str], wait: float
) -> None:
    process = start_building(photos, cache, 0.02)
    deadline = time.monotonic() + 20
    while not cache.files.list_files() and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    [part] = cache.files.list_files()
    assert part.state == "unfinished"
    table = read_samples(photos)
    assert_same(read_squares(table, PREPROCESSING, cache=cache), read_squares(table, PREPROCESSING))
    [array] = [array for array in cache.files.list_files() if array.state == "whole"]
    fresh = len(decoded) - 40  # the comparison decodes all
    if wait:
        assert 3 <= fresh < 40
        assert cache.files.list_files() == (array,)  # what was killed has been used up


def test_two_processes_at_once_get_the_same(photos: Path, cache: SquareCache) -> None:
    both = [start_building(photos, cache, 0.01) for _ in range(2)]
    answers = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(answers) == 1
    [array] = cache.files.list_files()
    assert array.state == "whole"
    table = read_samples(photos)
    assert_same(read_squares(table, PREPROCESSING, cache=cache), read_squares(table, PREPROCESSING))


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks that end with their process")
def test_what_is_being_built_is_neither_cleared_nor_removed_for_room(photos: Path, cache: SquareCache) -> None:
    process = start_building(photos, cache, 0.02)
    while not cache.files.list_files():
        time.sleep(0.002)
    assert [array.state for array in cache.files.list_files()] == ["being built"]
    assert cache.files.clear() == ()
    cache.files.evict(0)
    assert len(cache.files.list_files()) == 1
    process.communicate(timeout=60)
    assert [array.state for array in cache.files.list_files()] == ["whole"]
    assert len(cache.files.clear()) == 1
    assert cache.files.list_files() == ()


class Stopping:
    """Asks to stop once some images are read."""

    stop_requested = False

    def __init__(self) -> None:
        self.stage = ""

    def start(self, stage: str, total: int) -> None:
        self.stage = stage

    def advance(self, done: int, note: str = "") -> None:
        self.stop_requested = self.stage == "reading images" and done >= 16

    def finish(self) -> None: ...

    def say(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


def test_ctrl_c_keeps_what_is_done_for_the_next_run(photos: Path, cache: SquareCache, decoded: list[str]) -> None:
    table = read_samples(photos)
    with pytest.raises(KeyboardInterrupt):
        read_squares(table, PREPROCESSING, cache=cache, progress=Stopping(), threads=1)
    before = set(decoded)
    assert 16 <= len(before) < 40
    decoded.clear()
    read_squares(table, PREPROCESSING, cache=cache)
    unreadable = {"cat/03.png", "dog/11.png", "dog/12.png"}
    assert set(decoded) == set(table.names) - before | unreadable
    assert [array.state for array in cache.files.list_files()] == ["whole"]


# Size


class Listening:
    stop_requested = False

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def start(self, stage: str, total: int) -> None: ...

    def advance(self, done: int, note: str = "") -> None: ...

    def finish(self) -> None: ...

    def say(self, text: str) -> None: ...

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def read_with_side(table: SampleTable, side: int, cache: SquareCache) -> None:
    read_squares(table, Preprocessing(image_size=8, resize=side), cache=cache)


def test_the_least_recently_used_goes_first(photos: Path, tmp_path: Path) -> None:
    table = read_samples(photos)
    cache = SquareCache(tmp_path / "squares", limit=70_000)
    for side in (10, 11, 12):  # 16, 18.6 and 21 kB
        read_with_side(table, side, cache)
    for array in cache.files.list_files():
        os.utime(array.path, (array.side, array.side))
    read_with_side(table, 10, cache)  # used again
    time.sleep(0.05)
    read_with_side(table, 13, cache)  # 24 kB: room only once the 11 is gone
    assert [array.side for array in cache.files.list_files()] == [13, 10, 12]
    assert sum(array.size_bytes for array in cache.files.list_files()) <= 70_000


def test_what_is_larger_than_the_limit_is_not_kept_and_said(photos: Path, tmp_path: Path) -> None:
    table = read_samples(photos)
    cache = SquareCache(tmp_path / "squares", limit=10_000)
    listening = Listening()
    assert_same(read_squares(table, PREPROCESSING, cache=cache, progress=listening), read_squares(table, PREPROCESSING))
    assert cache.files.list_files() == ()
    assert len(listening.warnings) == 1
    assert "are not kept: the limit of the cache is 10 kB; EYEBRIGHT_CACHE_GB sets another" in listening.warnings[0]


def test_a_limit_of_nothing_keeps_nothing_and_says_nothing(photos: Path, tmp_path: Path) -> None:
    listening = Listening()
    cache = SquareCache(tmp_path / "squares", limit=0)
    read_squares(read_samples(photos), PREPROCESSING, cache=cache, progress=listening)
    assert not cache.folder.exists()
    assert listening.warnings == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs a system that can reserve disk space")
def test_a_full_disk_costs_only_the_cache(photos: Path, cache: SquareCache, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_samples(photos)
    plain = read_squares(table, PREPROCESSING)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    listening = Listening()
    assert_same(read_squares(table, PREPROCESSING, cache=cache, progress=listening), plain)
    assert listening.warnings == [
        f"{cache.folder}: decoded images can't be kept there (No space left on device); going on without"
    ]
    assert list(cache.folder.iterdir()) == []


def test_a_folder_that_can_not_be_made_costs_only_the_cache(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    listening = Listening()
    table = read_samples(photos)
    squares = read_squares(
        table, PREPROCESSING, cache=SquareCache(tmp_path / "file" / "squares", limit=1 << 30), progress=listening
    )
    assert_same(squares, read_squares(table, PREPROCESSING))
    assert "decoded images can't be kept there" in listening.warnings[0]


def test_arrays_can_be_kept_too(tmp_path: Path, decoded: list[str]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 9, 9, 3), dtype=np.uint8)
    cache = SquareCache(tmp_path / "squares", limit=1 << 30)
    table = read_samples((images, ["a", "b"] * 6))
    plain = read_squares(table, PREPROCESSING)
    read_squares(table, PREPROCESSING, cache=cache)
    decoded.clear()
    assert_same(read_squares(table, PREPROCESSING, cache=cache, progress=SilentProgress()), plain)
    assert decoded == []

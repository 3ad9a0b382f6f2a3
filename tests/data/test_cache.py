from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyebright.data.cache import iter_squares, read_squares
from eyebright.data.decode import decode_anything
from eyebright.data.samples import SampleTable
from eyebright.data.sources import read_samples, read_unlabelled
from eyebright.errors import OutputError
from eyebright.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing

WriteImages = Callable[[Path, Iterable[str]], None]
PREPROCESSING = Preprocessing(image_size=8, resize=10)


@pytest.fixture
def photos(tmp_path: Path, write_images: WriteImages) -> Path:
    """40 images of two classes, of which cat/03.png is empty and dog/11.png cut in half."""
    root = tmp_path / "photos"
    write_images(root, [f"{label}/{i:02}.png" for label in ("cat", "dog") for i in range(20)])
    (root / "cat" / "03.png").write_bytes(b"")
    whole = (root / "dog" / "11.png").read_bytes()
    (root / "dog" / "11.png").write_bytes(whole[: len(whole) // 2])
    return root


class Recorder:
    """Remembers what it was told, and asks to stop after so many steps."""

    def __init__(self, stop_after: int = 1 << 30) -> None:
        self.stages: list[tuple[str, int]] = []
        self.steps: list[int] = []
        self.finished = 0
        self.stop_after = stop_after

    @property
    def stop_requested(self) -> bool:
        return bool(self.steps) and self.steps[-1] >= self.stop_after

    def start(self, stage: str, total: int) -> None:
        self.stages.append((stage, total))

    def advance(self, done: int, note: str = "") -> None:
        self.steps.append(done)

    def finish(self) -> None:
        self.finished += 1

    def say(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


def test_every_row_is_its_own_image_resized(photos: Path) -> None:
    table = read_samples(photos)
    squares = read_squares(table, PREPROCESSING)
    assert squares.images.shape == (40, 10, 10, 3)
    assert squares.images.dtype == np.uint8
    for row in np.flatnonzero(squares.readable):
        expected = PREPROCESSING.square(decode_anything(photos / table.names[row]))
        assert np.array_equal(squares.images[row], expected)


def test_unreadable_images_are_named_and_stay_zero(photos: Path) -> None:
    squares = read_squares(read_samples(photos), PREPROCESSING)
    assert np.flatnonzero(~squares.readable).tolist() == [3, 31]
    assert {row: str(error) for row, error in squares.errors.items()} == {
        3: f"{photos}/cat/03.png: is empty",
        31: f"{photos}/dog/11.png: is truncated",
    }
    assert not squares.images[[3, 31]].any()


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_number_of_threads_changes_nothing(photos: Path, threads: int) -> None:
    table = read_samples(photos)
    one, many = read_squares(table, PREPROCESSING, threads=1), read_squares(table, PREPROCESSING, threads=threads)
    assert np.array_equal(one.images, many.images)
    assert np.array_equal(one.readable, many.readable)
    assert list(one.errors) == list(many.errors)
    assert one.fingerprint == many.fingerprint


def test_a_large_array_lives_in_a_file_that_leaves_nothing_behind(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    table = read_samples(photos)
    on_disk = read_squares(table, PREPROCESSING, memory_limit=1000)
    assert isinstance(on_disk.images, np.memmap)
    assert list(folder.iterdir()) == []
    assert np.array_equal(on_disk.images, read_squares(table, PREPROCESSING).images)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs a system that can reserve disk space")
def test_a_full_disk_is_told_with_what_to_do(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match=r"no room for 0\.0 GB of decoded images .*set TMPDIR"):
        read_squares(read_samples(photos), PREPROCESSING, memory_limit=1000)


def test_grey_networks_get_one_channel(photos: Path) -> None:
    grey = Preprocessing(image_size=8, resize=8, mean=IMAGENET_MEAN[:1], std=IMAGENET_STD[:1])
    assert read_squares(read_samples(photos), grey).images.shape == (40, 8, 8, 1)


def test_progress_is_told_throughout(photos: Path) -> None:
    recorder = Recorder()
    read_squares(read_samples(photos), PREPROCESSING, progress=recorder, threads=2)
    assert recorder.stages == [("reading images", 40)]
    assert recorder.steps == sorted(recorder.steps)
    assert len(recorder.steps) >= 4
    assert recorder.steps[-1] == 40
    assert recorder.finished == 1


def test_a_wish_to_stop_is_heard_at_the_next_step(photos: Path) -> None:
    recorder = Recorder(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        read_squares(read_samples(photos), PREPROCESSING, progress=recorder, threads=1)
    assert len(recorder.steps) == 1
    assert recorder.finished == 1


# The fingerprint


def fingerprint(table: SampleTable) -> str:
    return read_squares(table, PREPROCESSING).fingerprint


def test_the_fingerprint_does_not_depend_on_order_or_preprocessing(photos: Path) -> None:
    table = read_samples(photos)
    expected = fingerprint(table)
    assert len(expected) == 64
    assert fingerprint(table.take(range(39, -1, -1))) == expected
    other = Preprocessing(image_size=12, resize=12)
    assert read_squares(table, other).fingerprint == expected


def test_the_fingerprint_changes_with_content_name_label_and_count(photos: Path) -> None:
    table = read_samples(photos)
    seen = {fingerprint(table), fingerprint(table.take(range(39)))}
    content = bytearray((photos / "cat" / "00.png").read_bytes())
    content[-1] ^= 1  # nothing that a decoder would notice
    (photos / "cat" / "00.png").write_bytes(content)
    seen.add(fingerprint(read_samples(photos)))
    (photos / "cat" / "00.png").rename(photos / "cat" / "99.png")
    seen.add(fingerprint(read_samples(photos)))
    (photos / "cat" / "99.png").rename(photos / "dog" / "99.png")
    seen.add(fingerprint(read_samples(photos)))
    assert len(seen) == 5


def test_arrays_have_a_fingerprint_of_content_and_shape() -> None:
    images = np.arange(96, dtype=np.uint8).reshape(2, 6, 8)
    one = fingerprint(read_samples((images, ["a", "b"])))
    assert fingerprint(read_samples((images.copy(order="F"), ["a", "b"]))) == one
    assert fingerprint(read_samples((images, ["b", "a"]))) != one
    assert fingerprint(read_samples((images.reshape(2, 8, 6), ["a", "b"]))) != one


# The stream


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("batch_size", [1, 7, 40, 100])
def test_the_stream_gives_the_same_squares_in_order(photos: Path, batch_size: int, threads: int) -> None:
    store, names = read_unlabelled([photos])
    batches = list(iter_squares(store, names, PREPROCESSING, batch_size=batch_size, threads=threads))
    assert [len(images) for images, _ in batches[:-1]] == [batch_size] * (len(batches) - 1)
    together = read_squares(read_samples(photos), PREPROCESSING)
    assert np.array_equal(np.concatenate([images for images, _ in batches]), together.images)
    unreadable = {i * batch_size + position for i, (_, errors) in enumerate(batches) for position in errors}
    assert unreadable == {3, 31}


def test_the_stream_names_what_can_not_be_read(photos: Path) -> None:
    store, names = read_unlabelled([photos / "cat" / "01.png", "gone.png"])
    [(images, errors)] = iter_squares(store, names, PREPROCESSING)
    assert images[0].any()
    assert not images[1].any()
    assert str(errors[1]) == "gone.png: does not exist"


def test_no_names_give_no_batches(photos: Path) -> None:
    store, _ = read_unlabelled([photos])
    assert list(iter_squares(store, [], PREPROCESSING)) == []


def test_the_stream_reads_at_most_two_batches_ahead(photos: Path) -> None:
    read: list[str] = []

    class Counting:
        def read(self, name: str) -> np.ndarray[Any, Any]:
            read.append(name)
            return np.zeros((4, 4), np.uint8)

        def locate(self, name: str) -> str:
            return name

    stream = iter_squares(Counting(), [str(i) for i in range(1000)], PREPROCESSING, batch_size=10, threads=2)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert 10 <= len(read) <= 30


def test_a_bug_in_a_store_is_not_taken_for_a_bad_image(photos: Path) -> None:
    class Broken:
        def read(self, name: str) -> bytes:
            raise ZeroDivisionError

        def locate(self, name: str) -> str:
            return name

    with pytest.raises(ZeroDivisionError):
        list(iter_squares(Broken(), ["a"], PREPROCESSING))

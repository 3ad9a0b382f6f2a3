from __future__ import annotations

import threading
import weakref
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from eyebright.data.augment import FINE_TUNING, FLIP, draw_uniform
from eyebright.data.loader import Batch, Batches
from eyebright.distributed.ranks import Ranks
from eyebright.preprocess import Preprocessing
from eyebright.training.step import list_own_samples

ROWS = np.arange(3, 50)
TAUGHT = np.random.default_rng(1).normal(size=(2, 60, 60)).astype(np.float32)
BATCHES = Batches(
    squares=np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8),
    targets=np.eye(60, dtype=np.float32),  # each sample's own class, to recognise it by
    rows=ROWS,
    preprocessing=Preprocessing(image_size=16, resize=16),
    augmentation=FINE_TUNING,
    batch_size=8,
    seed=0,
)


def rows_of(batch: Batch) -> list[int]:
    return batch.targets.argmax(dim=1).tolist()


def epoch_of(batches: Batches, number: int, start: int = 0) -> list[int]:
    return [row for batch, _ in batches.epoch(number, start) for row in rows_of(batch)]


def test_every_training_sample_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    first, second = epoch_of(BATCHES, 1), epoch_of(BATCHES, 2)
    assert sorted(first) == sorted(second) == ROWS.tolist()
    assert first != second
    assert first == epoch_of(BATCHES, 1)
    assert first != epoch_of(replace(BATCHES, seed=1), 1)


def test_batches_are_as_many_as_promised_and_of_almost_equal_size() -> None:
    sizes = [len(batch) for batch, _ in BATCHES.epoch(1)]
    assert [size for _, size in BATCHES.epoch(1)] == sizes
    assert len(sizes) == BATCHES.per_epoch == 6
    assert max(sizes) - min(sizes) <= 1
    assert replace(BATCHES, batch_size=1000).per_epoch == 1


def test_another_batch_size_changes_neither_order_nor_images() -> None:
    small, large = BATCHES, replace(BATCHES, batch_size=47)
    images = np.concatenate([batch.images.numpy() for batch, _ in small.epoch(4)])
    ((whole, size),) = large.epoch(4)
    assert size == 47
    assert rows_of(whole) == epoch_of(small, 4)
    np.testing.assert_array_equal(images, whole.images.numpy())


def test_the_same_sample_looks_different_in_another_epoch() -> None:
    seen = []
    for epoch in (1, 2):
        batches = [batch for batch, _ in BATCHES.epoch(epoch)]
        seen.append({row: image for batch in batches for row, image in zip(rows_of(batch), batch.images, strict=True)})
    assert all((seen[0][row] - seen[1][row]).abs().mean() > 0.01 for row in ROWS.tolist())


MIXED = replace(BATCHES, augmentation=replace(FINE_TUNING, mixup=0.4, cutmix=1.0), taught=TAUGHT)


@pytest.mark.parametrize("batches", [BATCHES, MIXED, replace(BATCHES, chances=np.linspace(1, 5, 47))])
def test_workers_and_a_late_start_change_not_a_bit(batches: Batches) -> None:
    plain = [batch for batch, _ in batches.epoch(3)]
    for workers in (0, 2, 4):
        for start in (0, 2, 6):
            again = [batch for batch, _ in replace(batches, workers=workers).epoch(3, start)]
            assert len(again) == 6 - start
            for one, other in zip(again, plain[start:], strict=True):
                assert torch.equal(one.images, other.images)
                assert torch.equal(one.targets, other.targets)
                assert batches.taught is None or torch.equal(one.taught, other.taught)  # type: ignore[arg-type]


@pytest.mark.parametrize("batches", [BATCHES, MIXED])
@pytest.mark.parametrize("size", [2, 3, 9])
def test_the_shares_of_all_ranks_are_the_whole(batches: Batches, size: int) -> None:
    whole = [batch for batch, _ in batches.epoch(2)]
    shares = []
    for rank in range(size):
        share = partial(list_own_samples, micro_batch=3, ranks=Ranks(rank=rank, size=size))
        shares.append(list(replace(batches, share=share).epoch(2)))
    for number, batch in enumerate(whole):
        assert all(parts[number][1] == len(batch) for parts in shares)
        parts = [parts[number][0] for parts in shares]
        assert torch.equal(torch.cat([part.images for part in parts if len(part)]), batch.images)
        assert torch.equal(torch.cat([part.targets for part in parts]), batch.targets)


def test_balanced_sampling_shows_rare_rows_more_often_and_never_twice_alike() -> None:
    chances = np.where(ROWS < 8, 8.0, 1.0)  # 5 of 47 rows
    batches = replace(BATCHES, chances=chances)
    drawn = epoch_of(batches, 1)
    assert len(drawn) == 47
    expected = 47 * chances / chances.sum()
    for row, often in zip(ROWS.tolist(), expected, strict=True):
        assert abs(drawn.count(row) - often) < 1
    images = torch.cat([batch.images for batch, _ in batches.epoch(1)])
    one = [image for image, row in zip(images, drawn, strict=True) if row == 3]
    assert len(one) >= 4
    assert all((a - b).abs().mean() > 0.01 for number, a in enumerate(one) for b in one[:number])
    assert drawn != epoch_of(batches, 2)


def test_epochs_have_sizes_of_their_own_and_the_last_one_stays() -> None:
    batches = replace(BATCHES, sides=(8, 12))
    assert [next(batches.epoch(number))[0].images.shape[-1] for number in (1, 2, 3)] == [8, 12, 12]


def test_a_teacher_is_heard_on_the_side_that_is_shown() -> None:
    for batch, _ in replace(BATCHES, taught=TAUGHT).epoch(1):
        assert batch.taught is not None
        rows = batch.targets.argmax(dim=1)
        mirrored = draw_uniform(0, 1, rows.numpy(), FLIP) < 0.5
        expected = torch.from_numpy(TAUGHT[mirrored.astype(int), rows.numpy()])
        assert torch.equal(batch.taught, expected)
        assert 0 < mirrored.sum() < len(rows)


def test_a_batch_for_which_a_gpu_had_no_room_is_prepared_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = epoch_of(BATCHES, 1)
    plain = Batches._batch
    refused: list[weakref.ref[torch.Tensor]] = []

    def batch(self: Batches, *given: Any) -> Batch:
        if threading.current_thread().name.startswith("augment"):
            if len(refused) < 3:
                half_done = torch.ones(3)
                refused.append(weakref.ref(half_done))
                raise RuntimeError("CUDA error: out of memory")
        else:
            assert all(each() is None for each in refused)  # or there would be no room again
        return plain(self, *given)

    monkeypatch.setattr(Batches, "_batch", batch)
    assert epoch_of(replace(BATCHES, workers=2), 1) == expected
    assert len(refused) == 3


def test_another_error_in_a_thread_is_not_taken_for_too_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def batch(self: Batches, *given: Any) -> Batch:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(Batches, "_batch", batch)
    with pytest.raises(RuntimeError, match="no kernel image"):
        epoch_of(replace(BATCHES, workers=2), 1)


def test_a_batch_is_split_into_runs_of_neighbours() -> None:
    (batch, _), *_ = MIXED.epoch(1)
    parts = batch.split([3, 3, 2])
    assert [len(part) for part in parts] == [3, 3, 2]
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert torch.equal(torch.cat([part.taught for part in parts]), batch.taught)  # type: ignore[arg-type, misc]

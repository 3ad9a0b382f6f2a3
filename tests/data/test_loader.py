from __future__ import annotations

from dataclasses import replace

import numpy as np

from eyebright.data.augment import AugmentationSettings
from eyebright.data.loader import Batches
from eyebright.preprocess import Preprocessing

ROWS = np.arange(3, 50)
BATCHES = Batches(
    squares=np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8),
    labels=np.arange(60),  # each sample's own number, to recognise it by
    rows=ROWS,
    preprocessing=Preprocessing(image_size=16, resize=16),
    augmentation=AugmentationSettings(),
    batch_size=8,
    seed=0,
)


def labels_of(batches: Batches, epoch: int) -> list[int]:
    return [int(label) for _, labels in batches.epoch(epoch) for label in labels]


def test_every_training_sample_comes_once_an_epoch_in_an_order_of_its_own() -> None:
    first, second = labels_of(BATCHES, 1), labels_of(BATCHES, 2)
    assert sorted(first) == sorted(second) == ROWS.tolist()
    assert first != second
    assert first == labels_of(BATCHES, 1)
    assert first != labels_of(replace(BATCHES, seed=1), 1)


def test_batches_are_as_many_as_promised_and_of_almost_equal_size() -> None:
    sizes = [len(labels) for _, labels in BATCHES.epoch(1)]
    assert len(sizes) == BATCHES.per_epoch == 6
    assert max(sizes) - min(sizes) <= 1
    assert replace(BATCHES, batch_size=1000).per_epoch == 1


def test_another_batch_size_changes_neither_order_nor_images() -> None:
    small, large = BATCHES, replace(BATCHES, batch_size=47)
    images = np.concatenate([batch.numpy() for batch, _ in small.epoch(4)])
    (whole, labels), *others = large.epoch(4)
    assert not others
    assert labels.tolist() == labels_of(small, 4)
    np.testing.assert_allclose(images, whole.numpy(), atol=1e-5)


def test_the_same_sample_looks_different_in_another_epoch() -> None:
    seen = []
    for epoch in (1, 2):
        batches = BATCHES.epoch(epoch)
        seen.append({int(row): image for images, rows in batches for image, row in zip(images, rows, strict=True)})
    assert all((seen[0][row] - seen[1][row]).abs().mean() > 0.01 for row in ROWS.tolist())

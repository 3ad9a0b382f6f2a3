from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from eyebright.data.augment import FINE_TUNING, AugmentationSettings
from eyebright.data.mixing import draw_beta, mix

MANY = np.arange(4000)
MIXUP = replace(FINE_TUNING, mixup=0.4)
CUTMIX = replace(FINE_TUNING, cutmix=1.0)
ONES, ZEROS = torch.ones(200, 3, 20, 20), torch.zeros(200, 3, 20, 20)


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 2.0])
def test_shares_follow_a_beta_distribution(alpha: float) -> None:
    found = draw_beta(alpha, 1, 2, MANY)
    assert stats.kstest(found, stats.beta(alpha, alpha).cdf).pvalue > 0.001
    assert np.array_equal(draw_beta(alpha, 1, 2, MANY[7:9]), found[7:9])
    assert not np.array_equal(draw_beta(alpha, 1, 3, MANY), found)


def test_mixup_blends_images_as_it_blends_labels() -> None:
    images, kept = mix(ONES, ZEROS, MANY[:200], MIXUP, seed=0, epoch=1)
    torch.testing.assert_close(images, kept[:, None, None, None].expand_as(images))
    assert ((kept > 0.01) & (kept < 0.99)).any()


def test_cutmix_pastes_a_rectangle_and_mixes_labels_by_its_area() -> None:
    images, kept = mix(ONES, ZEROS, MANY[:200], CUTMIX, seed=0, epoch=1)
    assert set(np.unique(images).tolist()) == {0.0, 1.0}
    torch.testing.assert_close(images.mean(dim=(1, 2, 3)), kept)
    for image in images[:, 0]:
        rows, columns = (image == 0).any(dim=1), (image == 0).any(dim=0)
        assert (image == 0).sum() == rows.sum() * columns.sum()  # one rectangle, and nothing else
    assert 0.3 < kept.mean() < 0.8


def test_with_both_on_each_takes_about_half() -> None:
    images, _ = mix(ONES, ZEROS, MANY[:200], replace(MIXUP, cutmix=1.0), seed=0, epoch=1)
    pasted = sum(set(np.unique(image).tolist()) == {0.0, 1.0} for image in images)
    assert 60 < pasted < 140


@pytest.mark.parametrize("settings", [MIXUP, CUTMIX])
def test_a_sample_is_mixed_the_same_whatever_comes_beside_it(settings: AugmentationSettings) -> None:
    images, kept = mix(ONES, ZEROS, MANY[:200], settings, seed=5, epoch=3)
    some, some_kept = mix(ONES[:9], ZEROS[:9], MANY[40:49], settings, seed=5, epoch=3)
    assert torch.equal(some, images[40:49])
    assert torch.equal(some_kept, kept[40:49])

from __future__ import annotations

import pytest

from eyebright.data.augment import LIGHT, AugmentationSettings
from eyebright.errors import SettingsError
from eyebright.settings import build_settings
from eyebright.training.settings import Settings, resolve


@pytest.mark.parametrize(
    ("pretrained", "effort", "short_side", "size"),
    [
        (True, "quick", 28, 48),
        (True, "quick", 288, 128),
        (True, "standard", 288, 160),
        (True, "standard", 4000, 160),
        (False, "quick", 32, 32),
        (False, "quick", 3000, 64),
        (False, "standard", 3000, 96),
        (False, "quick", 4, 16),
    ],
)
def test_the_size_follows_the_images_and_the_effort(pretrained: bool, effort: str, short_side: int, size: int) -> None:
    resolved = resolve(Settings(effort=effort), pretrained=pretrained, short_side=short_side, num_train=1000)
    assert resolved.data.image_size == size


def test_what_was_said_is_left_alone() -> None:
    said = build_settings(
        Settings,
        {
            "data": {"image_size": 224},
            "network": {"embed_stages": 1},
            "training": {"epochs": 3, "batch_size": 5, "micro_batch": 2, "lr": 0.5},
            "augmentation": {"rotate": 90},
        },
    )
    assert resolve(said, pretrained=True, short_side=28, num_train=10) == said
    assert resolve(said, pretrained=False, short_side=28, num_train=10) == said


def test_a_resolved_setting_stays_as_it_is() -> None:
    once = resolve(Settings(effort="standard"), pretrained=True, short_side=300, num_train=500)
    assert resolve(once, pretrained=True, short_side=100, num_train=9) == once


def test_quick_training_of_a_pretrained_network_is_its_head_alone() -> None:
    assert resolve(Settings(), pretrained=True, short_side=300, num_train=500).training.epochs == 0
    assert resolve(Settings(effort="standard"), pretrained=True, short_side=300, num_train=500).training.epochs > 0


def test_a_batch_is_computed_in_parts_only_where_no_statistics_are_learned_over_it() -> None:
    for pretrained, micro_batch in ((True, 8), (False, 64)):
        training = resolve(Settings(), pretrained=pretrained, short_side=300, num_train=5000).training
        assert training.micro_batch == micro_batch


def test_a_network_that_learns_from_nothing_gets_light_augmentation_unless_another_was_asked_for() -> None:
    plain = resolve(Settings(), pretrained=False, short_side=30, num_train=500)
    assert plain.augmentation == LIGHT
    still = build_settings(Settings, {"augmentation": {"flip": False}})
    assert resolve(still, pretrained=False, short_side=30, num_train=500).augmentation.flip is False
    assert resolve(Settings(), pretrained=True, short_side=30, num_train=500).augmentation == AugmentationSettings()


@pytest.mark.parametrize(
    "values",
    [
        {"data": {"image_size": 4}},
        {"data": {"fit": "stretch"}},
        {"network": {"embed_stages": 9}},
        {"training": {"epochs": -1}},
        {"training": {"lr": -0.1}},
        {"training": {"warmup": 1.0}},
        {"training": {"label_smoothing": 1.0}},
        {"effort": "best"},
        {"seed": -1},
    ],
)
def test_out_of_range_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        build_settings(Settings, values)

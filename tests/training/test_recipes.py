from __future__ import annotations

from dataclasses import replace

import pytest

from eyebright.data.augment import FINE_TUNING, LIGHT, LIMITS
from eyebright.settings import build_settings
from eyebright.training.recipes import PRETRAINED, SCRATCH, list_sides, resolve
from eyebright.training.settings import OptimiserSettings, Settings


@pytest.mark.parametrize(
    ("pretrained", "effort", "short_side", "size"),
    [
        (True, "quick", 28, 48),
        (True, "quick", 288, 128),
        (True, "standard", 288, 192),
        (True, "standard", 4000, 192),
        (True, "best", 288, 256),
        (False, "quick", 32, 32),
        (False, "quick", 3000, 64),
        (False, "standard", 3000, 96),
        (False, "quick", 4, 16),
    ],
)
def test_the_size_follows_the_images_and_the_effort(pretrained: bool, effort: str, short_side: int, size: int) -> None:
    resolved = resolve(Settings(effort=effort), pretrained=pretrained, short_side=short_side, num_train=1000)
    assert resolved.data.image_size == size


def test_a_pretrained_vgg_without_batchnorm_learns_slower_than_a_resnet() -> None:
    def rate(model: str, pretrained: bool) -> float:
        settings = Settings(model=model, effort="standard")
        return resolve(settings, pretrained=pretrained, short_side=288, num_train=1000).training.lr

    assert rate("vgg16", True) == pytest.approx(0.3 * rate("resnet50", True))
    assert rate("vgg16_bn", True) == rate("resnet50", True)
    assert rate("vgg16", False) == rate("resnet50", False)


def test_what_was_said_is_left_alone() -> None:
    said = build_settings(
        Settings,
        {
            "data": {"image_size": 224, "channels": 3},
            "network": {"embed_stages": 1},
            "training": {
                "epochs": 3,
                "batch_size": 5,
                "micro_batch": 2,
                "optimiser": "sgd",
                "lr": 0.5,
                "layer_decay": 0.5,
                "weight_decay": 0.0,
                "label_smoothing": 0.0,
                "average": 0.0,
                "patience": 0,
                "first_size": 64,
                "last_size": 96,
                "balance": "none",
            },
            "augmentation": dict.fromkeys(LIMITS, 0.0),
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


def test_a_network_that_learns_from_nothing_gets_light_augmentation_unless_another_was_asked_for() -> None:
    plain = resolve(Settings(), pretrained=False, short_side=30, num_train=500)
    assert plain.augmentation == LIGHT
    still = build_settings(Settings, {"augmentation": {"flip": False}})
    assert resolve(still, pretrained=False, short_side=30, num_train=500).augmentation.flip is False
    assert resolve(Settings(), pretrained=True, short_side=30, num_train=500).augmentation == FINE_TUNING


@pytest.mark.parametrize(
    ("effort", "short_side", "width", "lr"),
    [
        ("standard", 32, "base", 3e-3),
        ("best", 32, "deep", 2e-3),
        ("best", 64, "deep", 2e-3),
        ("best", 300, "base", 3e-3),
    ],
)
def test_the_cnn_is_deep_where_there_is_time_for_it(effort: str, short_side: int, width: str, lr: float) -> None:
    found = resolve(Settings(model="cnn", effort=effort), pretrained=False, short_side=short_side, num_train=9000)
    assert (found.network.width, found.training.lr) == (width, lr)
    assert found.network.dropout == (0.5 if width == "deep" else 0.3)


def test_the_cnn_keeps_the_width_that_was_asked_for_or_comes_with_its_weights() -> None:
    asked = build_settings(Settings, {"model": "cnn", "effort": "best", "network": {"width": "small"}})
    assert resolve(asked, pretrained=False, short_side=32, num_train=9000).network.width == "small"
    given = Settings(model="cnn", effort="best")
    assert resolve(given, pretrained=True, short_side=32, num_train=9000).network.width == ""


def test_one_changed_augmentation_leaves_the_others_to_the_recipe() -> None:
    said = build_settings(Settings, {"augmentation": {"rotate": 90}, "effort": "best"})
    found = resolve(said, pretrained=True, short_side=300, num_train=500).augmentation
    assert found.rotate == 90
    assert found.mixup == PRETRAINED["best"].augmentation.mixup > 0


@pytest.mark.parametrize("recipes", [PRETRAINED, SCRATCH])
@pytest.mark.parametrize("effort", ["quick", "standard", "best"])
def test_every_recipe_leaves_nothing_to_choose(recipes: object, effort: str) -> None:
    once = resolve(
        Settings(effort=effort),
        pretrained=recipes is PRETRAINED,
        short_side=300,
        num_train=500,
        class_counts=[250, 250],
    )
    again = resolve(once, pretrained=recipes is PRETRAINED, short_side=9, num_train=9, class_counts=[1, 99])
    assert again == once
    sides = list_sides(once, pretrained=recipes is PRETRAINED)
    assert len(sides) == once.training.epochs
    assert list(sides) == sorted(sides)
    assert all(side <= once.data.image_size for side in sides)


def test_sizes_grow_in_steps_that_a_network_can_halve() -> None:
    said = build_settings(Settings, {"training": {"epochs": 5, "first_size": 96, "last_size": 160}})
    settings = resolve(said, pretrained=True, short_side=300, num_train=500)
    assert list_sides(settings, pretrained=True) == (96, 112, 128, 144, 160)


@pytest.mark.parametrize(("counts", "balance"), [((100, 90), "none"), ((100, 10), "weights"), ((100, 0, 50), "none")])
def test_rare_classes_are_helped_only_where_they_are_rare(counts: tuple[int, ...], balance: str) -> None:
    found = resolve(Settings(), pretrained=True, short_side=300, num_train=110, class_counts=counts)
    assert found.training.balance == balance


@pytest.mark.parametrize(
    ("effort", "num_train", "epochs"),
    [
        ("quick", 30, 95),
        ("quick", 1900, 41),
        ("quick", 9000, 36),
        ("quick", 36_000, 18),
        ("quick", 10**6, 10),
        ("standard", 1900, 113),
        ("standard", 9000, 52),
        ("best", 100, 530),
    ],
)
def test_from_scratch_fewer_images_are_seen_more_often(effort: str, num_train: int, epochs: int) -> None:
    settings = Settings(model="cnn", effort=effort)
    assert resolve(settings, pretrained=False, short_side=32, num_train=num_train).training.epochs == epochs


@pytest.mark.parametrize(("epochs", "patience"), [(0, 8), (60, 20), (4, 3)])
def test_the_longest_recipe_ends_where_nothing_is_gained_any_more(epochs: int, patience: int) -> None:
    said = Settings(effort="best", training=OptimiserSettings(epochs=epochs))
    assert resolve(said, pretrained=True, short_side=300, num_train=2000).training.patience == patience
    standard = resolve(replace(said, effort="standard"), pretrained=True, short_side=300, num_train=2000)
    assert standard.training.patience == 0


@pytest.mark.parametrize(
    ("model", "effort", "mixes"),
    [
        ("vgg16", "standard", False),
        ("vgg16_bn", "standard", True),
        ("resnet50", "standard", True),
        ("vgg16", "best", True),
    ],
)
def test_a_plain_vgg_sees_mixed_images_only_where_it_has_time_for_them(model: str, effort: str, mixes: bool) -> None:
    said = Settings(model=model, effort=effort)
    found = resolve(said, pretrained=True, short_side=300, num_train=2000).augmentation
    assert (found.mixup > 0, found.cutmix > 0) == (mixes, mixes)
    asked = replace(said, augmentation=replace(said.augmentation, cutmix=0.5))
    assert resolve(asked, pretrained=True, short_side=300, num_train=2000).augmentation.cutmix == 0.5

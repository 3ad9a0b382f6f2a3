"""The recipes behind the one dial, and how they become settings.

The rules depend on the network, the effort and the data, never on the machine (but for the precision), so that the
same seed gives the same run everywhere, but for rounding. Numbers come from measurements in docs/log.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter

from eyebright.data.augment import FINE_TUNING, LIGHT, AugmentationSettings
from eyebright.training.settings import Settings

IMBALANCED = 10.0
"""So many times the images of the smallest class in the largest, and rare classes are helped."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What one effort means for one kind of start. Sizes are in pixels."""

    epochs: int
    """Of the whole network; 0: only a head is fitted. From scratch it is for 9,000 images: the more, the fewer."""
    small_epochs: int = 0
    """From scratch on few images: this times the root of 9,000 over their number, if that is more than `epochs`."""
    test_size: int
    """What the network sees in the end, if the images are as large."""
    first_size: int = 0
    """Of the first epoch, and of the last; 0: as large as in the end."""
    last_size: int = 0
    batch_size: int
    optimiser: str = "adamw"
    lr: float
    layer_decay: float = 1.0
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    average: float = 0.0
    patience: float = 0.0
    """This share of the epochs without a lower validation loss ends training; 0: nothing does."""
    augmentation: AugmentationSettings
    vgg_mixes: bool = True
    """Whether a VGG without BatchNorm sees mixed images, too: in few epochs they cost it more than they teach."""


STRONG = replace(FINE_TUNING, colour=0.2, mixup=0.2, cutmix=1.0)

PRETRAINED = {
    "quick": Recipe(epochs=0, test_size=128, batch_size=32, lr=4e-5, augmentation=FINE_TUNING),
    "standard": Recipe(
        epochs=11,
        test_size=192,
        first_size=128,
        last_size=160,
        batch_size=32,
        lr=1e-4,
        layer_decay=0.7,
        average=1.0,
        augmentation=STRONG,
        vgg_mixes=False,
    ),
    "best": Recipe(
        epochs=24,
        test_size=256,
        first_size=160,
        last_size=224,
        batch_size=32,
        lr=1.5e-4,
        layer_decay=0.7,
        average=1.0,
        patience=1 / 3,
        augmentation=STRONG,
    ),
}
SCRATCH = {
    "quick": Recipe(epochs=36, small_epochs=19, test_size=64, batch_size=64, lr=1e-3, augmentation=LIGHT),
    "standard": Recipe(epochs=52, small_epochs=52, test_size=96, batch_size=64, lr=1e-3, augmentation=LIGHT),
    "best": Recipe(
        epochs=106,
        small_epochs=106,
        test_size=128,
        batch_size=64,
        lr=1e-3,
        average=1.0,
        patience=1 / 3,
        augmentation=replace(LIGHT, light=0.2, colour=0.2, erase=0.5),
    ),
}
SHORTEST_PATIENCE = 3
"""In epochs: one or two that are no better mean nothing."""
CNN_LR = 3e-3
DEEP_LR = 2e-3
CNN_DROPOUT = 0.3
DEEP_DROPOUT = 0.5
VGG_SHARE = 0.3
"""Of a recipe's learning rate: the weights of VGG-16, which no BatchNorm keeps in tune, lose what they knew by more."""
DEEP_UP_TO = 64
"""Pixels: `best` trains the deep CNN up to this size; by its multiply-adds, 128 pixels would take it over an hour."""


def resolve(
    settings: Settings,
    *,
    pretrained: bool,
    short_side: int,
    num_train: int,
    class_counts: Sequence[int] = (),
    channels: int = 3,
) -> Settings:
    """The same settings with every "choose" replaced by a value, but for those that depend on the machine.

    Args:
        settings: as the user gave them.
        pretrained: whether the network starts from pretrained weights.
        short_side: the median shorter side of the images in pixels.
        num_train: how many training samples there are.
        class_counts: (K,) how many of them each class has.
        channels: C of the images.
    """
    recipe = (PRETRAINED if pretrained else SCRATCH)[settings.effort]
    data, network, training = settings.data, settings.network, settings.training
    if data.image_size == 0:
        data = replace(data, image_size=_choose_size(recipe, pretrained, short_side))
    data = replace(data, channels=data.channels or channels)
    if network.embed_stages == 0:
        network = replace(network, embed_stages=2 if pretrained else 1)
    is_plain_vgg = settings.model.startswith("vgg") and not settings.model.endswith("_bn")
    lr = recipe.lr * (VGG_SHARE if pretrained and is_plain_vgg else 1)
    if settings.model == "cnn":
        if not network.width and not pretrained:
            is_deep = settings.effort == "best" and data.image_size <= DEEP_UP_TO
            network = replace(network, width="deep" if is_deep else "base")
        lr = DEEP_LR if network.width == "deep" else CNN_LR
        if network.dropout == -1:
            network = replace(network, dropout=DEEP_DROPOUT if network.width == "deep" else CNN_DROPOUT)
    batch_size = 32 if num_train < 1000 else recipe.batch_size
    epochs = training.epochs or (recipe.epochs if pretrained else _choose_epochs(recipe, num_train))
    training = replace(
        training,
        epochs=epochs,
        batch_size=training.batch_size or batch_size,
        optimiser=training.optimiser or recipe.optimiser,
        lr=training.lr or lr,
        layer_decay=training.layer_decay or recipe.layer_decay,
        weight_decay=recipe.weight_decay if training.weight_decay < 0 else training.weight_decay,
        label_smoothing=recipe.label_smoothing if training.label_smoothing < 0 else training.label_smoothing,
        average=recipe.average if training.average < 0 else training.average,
        patience=_choose_patience(recipe, epochs) if training.patience < 0 else training.patience,
        first_size=training.first_size or _shrunk(recipe.first_size, recipe, data.image_size),
        last_size=training.last_size or _shrunk(recipe.last_size, recipe, data.image_size),
        balance=training.balance or choose_balance(class_counts),
    )
    augmentation = recipe.augmentation
    if is_plain_vgg and not recipe.vgg_mixes:
        augmentation = replace(augmentation, mixup=0.0, cutmix=0.0)
    augmentation = settings.augmentation.filled(augmentation)
    return replace(settings, data=data, network=network, training=training, augmentation=augmentation)


def list_unused(given: Settings, resolved: Settings) -> list[str]:
    """What was asked for and means nothing where no epoch trains the network.

    Args:
        given: as the user gave them; where they were resolved before, nothing is told again.
        resolved: what became of them.
    """
    if resolved.training.epochs or given.training.precision:
        return []
    plain = Settings()
    names = [f"augmentation.{field.name}" for field in fields(AugmentationSettings)]
    names += [f"training.{name}" for name in ("teacher", "optimiser", "lr", "layer_decay", "weight_decay", "average")]
    names += [
        f"training.{name}" for name in ("label_smoothing", "patience", "first_size", "last_size", "freeze_stages")
    ]
    unused = [name for name in names if attrgetter(name)(given) != attrgetter(name)(plain)]
    return unused + ["training.balance"] * (given.training.balance == "sampling")


def list_sides(settings: Settings, *, pretrained: bool) -> tuple[int, ...]:
    """S of each epoch: from the first size to the last, in steps that a network halves without a rest.

    Args:
        settings: resolved.
        pretrained: whether the network halves the resolution five times, as VGG and ResNet do.
    """
    training = settings.training
    step = 16 if pretrained else 4
    sides = []
    for epoch in range(training.epochs):
        done = epoch / max(training.epochs - 1, 1)
        side = training.first_size + (training.last_size - training.first_size) * done
        exact = training.first_size == training.last_size
        sides.append(training.first_size if exact else max(step, round(side / step) * step))
    return tuple(sides)


def _choose_size(recipe: Recipe, pretrained: bool, short_side: int) -> int:
    """S: no larger than the images are worth, and no larger than the effort allows."""
    if not pretrained:
        return max(16, min(short_side, recipe.test_size))
    # Small images are enlarged by half: a pretrained network expects objects of more than a few pixels.
    wanted = -(-short_side * 3 // 2 // 16) * 16
    return max(48, min(wanted, recipe.test_size))


def _shrunk(wanted: int, recipe: Recipe, image_size: int) -> int:
    """A training size in the recipe's proportion to the size in the end."""
    if wanted == 0:
        return image_size
    return max(16, round(image_size * wanted / recipe.test_size / 16) * 16)


def _choose_epochs(recipe: Recipe, num_train: int) -> int:
    """From scratch: the fewer images, the more often each is seen."""
    times = math.sqrt(9000 / max(num_train, 1))
    if times <= 1:
        return max(10, round(recipe.epochs * times))
    return max(recipe.epochs, min(round(recipe.small_epochs * times), 5 * recipe.small_epochs))


def _choose_patience(recipe: Recipe, epochs: int) -> int:
    return max(SHORTEST_PATIENCE, math.ceil(recipe.patience * epochs)) if recipe.patience else 0


def choose_balance(class_counts: Sequence[int]) -> str:
    """How rare classes are helped where nobody says it.

    Args:
        class_counts: (K,) how many training samples each class has.
    """
    counts = [count for count in class_counts if count]
    return "weights" if counts and max(counts) >= IMBALANCED * min(counts) else "none"

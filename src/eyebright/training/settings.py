"""Everything that steers a training run, and how "choose for me" becomes a number.

Zero (or an empty text) means: choose. `resolve` puts the chosen values in their place, so that the settings a run
keeps say exactly what it did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from eyebright.data.augment import LIGHT, AugmentationSettings
from eyebright.errors import SettingsError, nearest

EFFORTS = ("quick", "standard")
FITS = ("squash", "crop")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """How the images are split and what the network sees of them."""

    test_fraction: float = 0.2
    """The share of all samples that is locked away for the final test, where the data bring no test split."""
    val_fraction: float = 0.1
    """The share of the remaining samples that is held out to choose by, where the data bring no validation split."""
    keep_duplicates_together: bool = True
    """Whether near-duplicates are looked for, so that none is tested while the other was trained on."""
    image_size: int = 0
    """S in pixels; 0 chooses by network, effort and how large the images are."""
    fit: str = "squash"
    """How an oblong image becomes a square: "squash" keeps all of it, "crop" keeps its proportions."""
    cache: bool = True
    """Whether decoded images are kept on disk for the next run; `eyebright cache` shows and clears them."""

    def __post_init__(self) -> None:
        if self.image_size != 0 and not 8 <= self.image_size <= 1024:
            raise SettingsError(f"data.image_size is 0 (choose) or between 8 and 1024 pixels, not {self.image_size}")
        if self.fit not in FITS:
            raise SettingsError(f'data.fit is "squash" or "crop", not "{self.fit}"')


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Which weights the network starts from, and its form."""

    weights: str = ""
    """"none" (from scratch), a name such as "resnet50.tv_v2", a file, or a run's folder; empty chooses."""
    stride_in: str = ""
    """ResNet weights from a file that does not say its layout: "3x3" or "1x1"."""
    width: str = "base"
    """The plain CNN's width: "small", "base" or "large"."""
    embed_stages: int = 0
    """How many of the last stages a new head looks at (VGG and ResNet); 0 takes 2 for pretrained networks, else 1."""

    def __post_init__(self) -> None:
        if not 0 <= self.embed_stages <= 4:
            raise SettingsError(f"network.embed_stages is between 0 (choose) and 4, not {self.embed_stages}")


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """The training loop: how long, how fast, on what."""

    epochs: int = 0
    """How often every image is seen; 0 chooses."""
    batch_size: int = 0
    """How many images make one step; 0 chooses."""
    micro_batch: int = 0
    """How many images of a step are computed at once: fewer take less memory and give the same step; 0 chooses."""
    lr: float = 0.0
    """The highest learning rate of AdamW; 0 chooses."""
    weight_decay: float = 0.05
    """AdamW's decay of all weights but biases and BatchNorm."""
    warmup: float = 0.15
    """The share of all steps in which the learning rate rises, before it falls along a cosine."""
    label_smoothing: float = 0.05
    """The share of every label that is spread over all classes."""
    device: str = ""
    """"cpu", "cuda" or "mps"; empty takes a GPU where there is one."""
    threads: int = 0
    """How many threads read images; 0 takes one per core."""

    def __post_init__(self) -> None:
        checks = {
            "epochs": 0 <= self.epochs <= 100_000,
            "batch_size": 0 <= self.batch_size <= 65_536,
            "micro_batch": 0 <= self.micro_batch <= 65_536,
            "lr": 0 <= self.lr <= 100,
            "weight_decay": 0 <= self.weight_decay <= 10,
            "warmup": 0 <= self.warmup < 1,
            "label_smoothing": 0 <= self.label_smoothing < 1,
            "threads": 0 <= self.threads <= 1024,
        }
        for name, fine in checks.items():
            if not fine:
                raise SettingsError(f"training.{name} is out of range: {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a run."""

    model: str = "resnet50"
    """A network that `eyebright models` lists."""
    effort: str = "quick"
    """"quick": fit a head on a pretrained network; "standard": then fine-tune all of it, at a larger size."""
    seed: int = 0
    """Decides the split, the order, every random change and every first weight."""
    data: DataSettings = field(default_factory=DataSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: OptimiserSettings = field(default_factory=OptimiserSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)

    def __post_init__(self) -> None:
        if self.effort not in EFFORTS:
            raise SettingsError(f'there is no effort "{self.effort}"; {nearest(self.effort, EFFORTS)}')
        if not 0 <= self.seed < 2**63:
            raise SettingsError(f"the seed is a whole number of at least 0, not {self.seed}")


def resolve(settings: Settings, *, pretrained: bool, short_side: int, num_train: int) -> Settings:
    """The same settings with every "choose" replaced by a value.

    The rules depend on the network, the effort and the data, never on the machine, so that the same seed gives
    the same run everywhere.

    Args:
        settings: as the user gave them.
        pretrained: whether the network starts from pretrained weights.
        short_side: the median shorter side of the images in pixels.
        num_train: how many training samples there are.
    """
    data, network, training = settings.data, settings.network, settings.training
    quick = settings.effort == "quick"
    if data.image_size == 0:
        data = replace(data, image_size=_choose_size(pretrained, quick, short_side))
    if network.embed_stages == 0:
        network = replace(network, embed_stages=2 if pretrained else 1)
    if training.epochs == 0:
        epochs = (0 if quick else 8) if pretrained else _choose_epochs(quick, num_train)
        training = replace(training, epochs=epochs)
    if training.batch_size == 0:
        training = replace(training, batch_size=32 if pretrained or num_train < 1000 else 64)
    if training.micro_batch == 0:
        # BatchNorm that learns its statistics needs the whole batch; a pretrained network keeps those it has.
        training = replace(training, micro_batch=min(training.batch_size, 8 if pretrained else training.batch_size))
    if training.lr == 0:
        training = replace(training, lr=4e-5 if pretrained else 3e-3 if settings.model == "cnn" else 1e-3)
    augmentation = settings.augmentation
    if not pretrained and replace(augmentation, flip=True) == AugmentationSettings():
        augmentation = replace(LIGHT, flip=augmentation.flip)
    return replace(settings, data=data, network=network, training=training, augmentation=augmentation)


def _choose_size(pretrained: bool, quick: bool, short_side: int) -> int:
    """S: no larger than the images are worth, and no larger than the effort allows."""
    if not pretrained:
        return max(16, min(short_side, 64 if quick else 96))
    # Small images are enlarged by half: a pretrained network expects objects of more than a few pixels.
    wanted = -(-short_side * 3 // 2 // 16) * 16
    return max(48, min(wanted, 128 if quick else 160))


def _choose_epochs(quick: bool, num_train: int) -> int:
    """From scratch: the fewer images, the more often each is seen: 19 epochs for 9,000 images, 38 for 2,250."""
    epochs = round(1800 / math.sqrt(max(num_train, 1))) * (1 if quick else 3)
    return max(10, min(epochs, 100 if quick else 300))

"""Everything that steers a training run.

Zero, -1 where zero has a meaning, or an empty text means: choose. `recipes.resolve` puts the chosen values in their
place, so that the settings a run keeps say exactly what it did.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from eyebright.data.augment import CHOOSE, AugmentationSettings
from eyebright.errors import SettingsError, nearest, printable
from eyebright.preprocess import MOST_CHANNELS
from eyebright.training.optim import OPTIMISERS

EFFORTS = ("quick", "standard", "best")
FITS = ("squash", "crop")
BALANCES = ("none", "weights", "sampling")
PRECISIONS = ("float32", "bfloat16")


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
    channels: int = 0
    """C, what the network sees: 1 (grey), 3 (colour), or as many as arrays have; 0 takes 3, or those of arrays that are
    no pictures in grey or colour. Arrays of 4 are colour with opacity unless 4 is given."""
    cache: bool = True
    """Whether decoded images are kept on disk for the next run; `eyebright cache` shows and clears them."""

    slices: tuple[str, ...] = ()
    """The columns of a list of images for whose values results are told; empty takes each that has few values."""

    def __post_init__(self) -> None:
        if self.image_size != 0 and not 8 <= self.image_size <= 1024:
            raise SettingsError(f"data.image_size is 0 (choose) or between 8 and 1024 pixels, not {self.image_size}")
        if not 0 <= self.channels <= MOST_CHANNELS:
            raise SettingsError(f"data.channels is 0 (choose) or between 1 and {MOST_CHANNELS}, not {self.channels}")
        if self.fit not in FITS:
            raise SettingsError(f'data.fit is "squash" or "crop", not "{self.fit}"')


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Which weights the network starts from, and its form."""

    weights: str = ""
    """"none" (from scratch), a name such as "resnet50.tv_v2", a file, or a run's folder; empty chooses."""
    stride_in: str = ""
    """ResNet weights from a file that does not say its layout: "3x3" or "1x1"."""
    width: str = ""
    """The plain CNN's: "small", "base", "large", or "deep" (two convolutions a stage, worth a long training); empty
    chooses."""
    embed_stages: int = 0
    """How many of the last stages a new head looks at (VGG and ResNet); 0 takes 2 for pretrained networks, else 1."""

    dropout: float = -1.0
    """The share of a fully connected layer's units that is dropped while training (the plain CNN, the classic head of
    VGG; others have no such layer), in [0, 1); -1 chooses."""

    def __post_init__(self) -> None:
        if not 0 <= self.embed_stages <= 4:
            raise SettingsError(f"network.embed_stages is between 0 (choose) and 4, not {self.embed_stages}")
        if not (0 <= self.dropout < 1 or self.dropout == -1):
            raise SettingsError(f"network.dropout is at least 0 and below 1, or -1 (choose), not {self.dropout}")


@dataclass(frozen=True, kw_only=True)
class OptimiserSettings:
    """The training loop: how long, how fast, on what."""

    epochs: int = 0
    """How often every image is seen; 0 chooses."""
    batch_size: int = 0
    """How many images make one step; 0 chooses."""
    micro_batch: int = 0
    """How many images of a step are computed at once: fewer take less memory and give the same step; 0 chooses."""
    optimiser: str = ""
    """"adamw" or "sgd" (with Nesterov's momentum of 0.9); empty chooses."""
    lr: float = 0.0
    """The highest learning rate; 0 chooses."""
    layer_decay: float = 0.0
    """Each stage below the head learns at this fraction of the rate of the one above, in (0, 1]; 0 chooses."""
    freeze_stages: int = 0
    """How many of the first stages stay as they came in."""
    weight_decay: float = -1.0
    """Decay of all weights but biases and BatchNorm; -1 chooses."""
    warmup: float = 0.15
    """The share of all steps in which the learning rate rises, before it falls along a cosine."""
    label_smoothing: float = -1.0
    """The share of every label that is spread over all classes; -1 chooses."""
    average: float = -1.0
    """Over about how many epochs weights are averaged into those that are measured and kept; 0: none, -1 chooses."""
    patience: int = -1
    """After so many epochs without a lower validation loss training ends early; 0: never, -1 chooses."""
    first_size: int = 0
    """S in pixels of the first epoch; it grows towards `last_size`. 0 chooses."""
    last_size: int = 0
    """S in pixels of the last epoch; testing is at `data.image_size` throughout. 0 chooses."""
    balance: str = ""
    """How rare classes are helped: "none", "weights" (they count more), "sampling" (they are seen more often); empty
    chooses "weights" where one class has many times the images of another."""
    teacher: str = ""
    """A run's folder whose network is learned from beside the labels."""
    teacher_share: float = 0.7
    """How much of the loss is the teacher's, in [0, 1]."""
    temperature: float = 3.0
    """What logits are divided by before the teacher and the network are compared."""
    precision: str = ""
    """"float32" (exact on a GPU as well) or "bfloat16" (half the memory traffic, where the processor computes in it);
    empty takes what the machine is fast in. VGG and ResNet take float32 on a CPU for images of fewer than 32 pixels."""
    compile: bool = False
    """Whether `torch.compile` makes the network's steps. It takes half a minute and more; on a CPU it gains nothing."""
    device: str = ""
    """"cpu", "cuda" or "mps"; empty takes a GPU where there is one."""
    threads: int = 0
    """How many threads read images; 0 takes one per core."""
    workers: int = -1
    """How many threads prepare batches ahead; the result is the same. -1 chooses."""
    checkpoint_seconds: float = 60.0
    """How much work may be lost: a checkpoint is written this long after the last one, or a little later where writing
    takes long. 0: as often as that takes no more than some 3 % of the time."""
    tensorboard: bool = False
    """Whether losses and accuracies also go to RUN/tensorboard."""
    mlflow: bool = False
    """Whether they also go to MLflow: to where $MLFLOW_TRACKING_URI says, by default the folder mlruns here."""

    def __post_init__(self) -> None:
        ranges = {
            "epochs": (0, 100_000),
            "batch_size": (0, 65_536),
            "micro_batch": (0, 65_536),
            "lr": (0, 100),
            "layer_decay": (0, 1),
            "freeze_stages": (0, 5),
            "weight_decay": (0, 10),
            "label_smoothing": (0, 0.999),
            "warmup": (0, 0.999),
            "average": (0, 1000),
            "patience": (-1, 100_000),
            "first_size": (8, 1024),
            "last_size": (8, 1024),
            "teacher_share": (0, 1),
            "temperature": (0.1, 100),
            "threads": (0, 1024),
            "workers": (-1, 1024),
            "checkpoint_seconds": (0, 86_400),
        }
        choosing = {
            "weight_decay": CHOOSE,
            "label_smoothing": CHOOSE,
            "average": CHOOSE,
            "first_size": 0,
            "last_size": 0,
        }
        for name, (lowest, highest) in ranges.items():
            value = getattr(self, name)
            if not lowest <= value <= highest and value != choosing.get(name):
                chosen = f", or {choosing[name]:g}, which chooses" if name in choosing else ""
                raise SettingsError(
                    f"training.{name} is out of range: {value!r}; it lies between {lowest} and {highest}{chosen}"
                )
        for name, choices in (("optimiser", OPTIMISERS), ("balance", BALANCES), ("precision", PRECISIONS)):
            value = getattr(self, name)
            if value and value not in choices:
                raise SettingsError(
                    f'training.{name} can\'t be "{printable(value)}"; {nearest(value, choices)}, or leave it out'
                )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a run."""

    model: str = "resnet50"
    """A network that `eyebright models` lists."""
    effort: str = "quick"
    """"quick": fit a head on a pretrained network; "standard": then fine-tune all of it, at a larger size; "best": for
    longer, with all that helps."""
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

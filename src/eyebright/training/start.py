"""Where training begins: the device, the weights, the network and the samples that can be used.

Shapes: N samples, R side of the cached square, C channels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyebright.data.cache import Squares
from eyebright.data.decode import decode, decode_for_show
from eyebright.data.samples import SampleTable
from eyebright.distributed.ranks import Ranks
from eyebright.embedding.embed import computes_bfloat16
from eyebright.errors import DataError, ImageError, SettingsError, WeightsError, printable
from eyebright.models.catalog import build_model, find_model
from eyebright.models.cnn import CNN
from eyebright.models.published import default_weights
from eyebright.models.weights import LoadedWeights, load_pretrained
from eyebright.preprocess import IN_COLOUR, Preprocessing
from eyebright.progress import Progress
from eyebright.training.settings import DataSettings, Settings

SIZES_PROBED = 64
_INDEX = re.compile("[0-9]{1,4}")
FEW = 16
"""Images that go through a pretrained network at once on a CPU."""
SMALLEST_BFLOAT16 = 32
"""In pixels. On smaller images the last stage of a network that halves five times convolves a single pixel, with a
stride: most of a 3x3 kernel never meets it, and there oneDNN (torch 2.13, on a CPU) leaves the bfloat16 gradient of the
weights unwritten, so that it is whatever was in memory before."""


def choose_device(wanted: str) -> str:
    """The device asked for, or the best there is: "cpu", "mps", "cuda", or "cuda:" and a number.

    Raises:
        SettingsError: there is no such device here.
    """
    if not wanted:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, colon, number = wanted.partition(":")
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in there or (colon and not _INDEX.fullmatch(number)):
        raise SettingsError(f'training.device is "cpu", "cuda" or "mps", not "{printable(wanted)}"')
    if not there[kind]:
        raise SettingsError(f'there is no training.device="{wanted}" on this machine; leave it out to train on the CPU')
    if kind != "cuda":
        return kind
    if colon and int(number) >= torch.cuda.device_count():
        there_are = ", ".join(f"cuda:{place}" for place in range(torch.cuda.device_count()))
        raise SettingsError(f'there is no training.device="{wanted}" on this machine, only {there_are}')
    return wanted


def find_device(settings: Settings, ranks: Ranks) -> str:
    """The device that this process trains on: of several with GPUs, each has its own.

    Raises:
        SettingsError: see `choose_device`.
    """
    device = choose_device(settings.training.device)
    return ranks.device if device.startswith("cuda") and ranks.size > 1 else device


def find_answering_device(settings: Settings, ranks: Ranks) -> str:
    """Where this process asks trained networks: on its GPU, or on the CPU."""
    device = find_device(settings, ranks)
    return device if device.startswith("cuda") else "cpu"


def choose_precision(settings: Settings, device: str, sides: Sequence[int]) -> str:
    """What the forward pass computes in.

    Args:
        settings: resolved, but for the precision.
        device: trained on.
        sides: S of each epoch.
    """
    if device == "cpu" and settings.model != "cnn" and min(sides, default=SMALLEST_BFLOAT16) < SMALLEST_BFLOAT16:
        return "float32"
    return settings.training.precision or ("bfloat16" if computes_bfloat16(device) else "float32")


def choose_micro_batch(settings: Settings, device: str, *, pretrained: bool, processes: int = 1) -> int:
    """How many samples go through the network at once; a step is the same either way.

    Args:
        settings: resolved, but for this.
        device: trained on.
        pretrained: whether BatchNorm keeps the statistics it has; to learn new ones it needs the whole batch.
        processes: that share each step.
    """
    training = settings.training
    if training.micro_batch:
        return training.micro_batch
    # A CPU is as fast on a few, which take less memory; a GPU would idle. Where its memory runs out, it is halved.
    few = pretrained and not device.startswith("cuda")
    return max(1, min(training.batch_size // processes, FEW if few else training.batch_size))


def choose_weights(settings: Settings) -> str | None:
    """Which weights to start from; None is from scratch."""
    wanted = settings.network.weights
    if wanted == "none":
        return None
    if wanted:
        return wanted
    entry = default_weights(settings.model)
    if entry is not None:
        return entry.name
    if settings.model == "cnn":
        return None
    raise WeightsError(f"there are no pretrained weights of {settings.model}; ask for network.weights=none")


def median_short_side(table: SampleTable) -> int:
    """The median shorter side in pixels of some samples spread evenly over the table."""
    sides = []
    for row in np.unique(np.linspace(0, len(table) - 1, num=min(SIZES_PROBED, len(table))).astype(np.int64)):
        name = table.names[row]
        try:
            content = table.store.read(name)
            image = decode(content, name) if isinstance(content, bytes) else decode_for_show(content, name)
        except ImageError:
            continue  # named when all are read
        sides.append(min(image.shape[:2]))
    if not sides:
        raise DataError("none of the first images looked at could be read; are these image files?")
    return int(np.median(sides))


def build_network(table: SampleTable, settings: Settings, source: str | None, progress: Progress) -> LoadedWeights:
    """The network as it starts, with the preprocessing that it will always have."""
    size, channels = settings.data.image_size, settings.data.channels
    fit: Literal["crop", "squash"] = "crop" if settings.data.fit == "crop" else "squash"
    if source is not None:
        loaded = load_pretrained(
            settings.model,
            source,
            num_classes=len(table.classes),
            in_channels=channels,
            class_names=table.classes,
            stride_in=settings.network.stride_in or None,
            embed_stages=None if settings.model == "cnn" else settings.network.embed_stages,
            progress=progress,
        )
        if channels not in IN_COLOUR and settings.training.epochs == 0:
            progress.warn(
                f"the first convolution knows colours; its weights were shared out over {channels} channels, which it "
                "can't tell apart until it is trained, as with --effort standard"
            )
        if loaded.head_loaded:  # a classifier of these very classes: train it on, as it is
            return loaded
        return replace(loaded, preprocessing=replace(loaded.preprocessing, image_size=size, resize=size, fit=fit))
    options: dict[str, Any] = {"in_channels": channels}
    if settings.model == "cnn":
        options["width"] = settings.network.width
    else:
        options["embed_stages"] = settings.network.embed_stages
    if find_model(settings.model).family == "vgg":
        options["head"] = "pooled"  # the classic head's 120 million parameters would have to be learned from nothing
    if find_model(settings.model).family == "resnet":
        options["stride_in"] = settings.network.stride_in or "3x3"
    return LoadedWeights(
        model=build_model(settings.model, num_classes=len(table.classes), **options),
        preprocessing=Preprocessing(image_size=size, resize=size, fit=fit).with_channels(channels),
        description="from scratch",
        class_names=None,
        head_loaded=False,
        stride_in=options.get("stride_in"),
    )


def keep_own_view(start: LoadedWeights, given: Settings) -> tuple[LoadedWeights, Settings]:
    """A classifier that is trained on sees images as it always has, but for what was asked for; and settings to resolve
    that say so, and what the network is.

    Args:
        start: what weights were loaded into; with a new head it sees images as the settings say.
        given: as the user gave them.

    Raises:
        SettingsError: it is a plain CNN of another width than was asked for.
    """
    own, data, network = start.preprocessing, given.data, given.network
    if isinstance(start.model, CNN):
        if network.width not in ("", start.model.width):
            raise SettingsError(
                f'the plain CNN in {printable(network.weights)} has network.width="{start.model.width}", which '
                f'network.width="{network.width}" can\'t change; leave it out'
            )
        network = replace(network, width=start.model.width)
    if not start.head_loaded:
        return start, replace(given, network=network)
    size = data.image_size or own.image_size
    fit = own.fit if data.fit == DataSettings().fit else data.fit
    if (size, fit) != (own.image_size, own.fit):
        own = replace(own, image_size=size, resize=size, fit="crop" if fit == "crop" else "squash")
    data = replace(data, image_size=size, fit=fit, channels=own.channels)
    return replace(start, preprocessing=own), replace(given, data=data, network=network)


def set_dropout(model: nn.Module, share: float) -> None:
    """Drop another share of units while training; -1 leaves the network its own."""
    if share == -1:
        return
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


def usable_rows(table: SampleTable, squares: Squares) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of the readable training and validation samples.

    Raises:
        DataError: nothing readable to train or to choose on, or a class of which nothing readable is left.
    """
    train_rows, val_rows = (rows[squares.readable[rows]] for rows in (table.rows("train"), table.rows("val")))
    absent = [name for name, count in table.take(train_rows).counts().items() if not count]
    if absent:
        first = next(iter(squares.errors.values()), None)
        raise DataError(
            f"no readable training image is left of {', '.join(map(printable, absent))}"
            + (f" (such as {first})" if first else "")
            + "; replace the damaged images, or take the class out"
        )
    if len(val_rows) == 0:
        raise DataError("no readable validation image is left to choose by; replace the damaged images")
    return train_rows, val_rows


def measure_colours(squares: NDArray[np.uint8], rows: NDArray[np.int64], preprocessing: Preprocessing) -> Preprocessing:
    """The preprocessing with mean and standard deviation of up to 5,000 training images."""
    chosen = rows[np.linspace(0, len(rows) - 1, num=min(5000, len(rows))).astype(np.int64)]
    pixels = squares[chosen].reshape(-1, squares.shape[-1])
    mean = pixels.mean(axis=0, dtype=np.float64) / 255
    std = pixels.std(axis=0, dtype=np.float64) / 255
    return replace(
        preprocessing,
        mean=tuple(round(float(value), 4) for value in mean),
        std=tuple(round(max(float(value), 0.02), 4) for value in std),
    )
